//! Query parameters of the read side, checked: unknown ones, those of another representation, and bad values are refused
//! by name.

use std::time::Duration;

use tidings_log::hub::TopicHandle;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::echo;
use tidings_protocol::filter::{FILTER_WORDS_MAX, Filter, Lane};
use tidings_protocol::frames::{After, Lag, SnapshotWish};
use tidings_protocol::problem::{FieldProblem, Problem};
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;

use super::accept::Representation;

/// Events that a poll returns when it does not say how many.
pub(crate) const LIMIT_DEFAULT: usize = 100;

/// Events that a poll returns at most.
pub(crate) const LIMIT_MAX: usize = 1_000;

/// Longest wait of a long-poll: below what common proxies allow.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(25);

/// How long a request waits for the store before it is refused.
const STORE_WAIT: Duration = Duration::from_secs(5);

/// The parameters of a read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Read {
    /// Where to start.
    pub after: Option<After>,
    /// History backwards from here.
    pub before: Option<After>,
    /// How many events.
    pub limit: usize,
    /// How long to wait for one.
    pub wait: Duration,
    /// What to leave out.
    pub filter: Filter,
    /// What happens to a backlog.
    pub lag: Lag,
    /// Whether the stream follows snapshots.
    pub snapshot: SnapshotWish,
}

/// Which way of reading events is asked for: each has parameters of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Face {
    /// Server-sent events.
    Stream,
    /// What lies behind a position, with or without a wait.
    Poll,
    /// What lies before one.
    History,
}

impl Face {
    const ALL: [Face; 3] = [Face::Stream, Face::Poll, Face::History];

    fn parameters(self) -> &'static [&'static str] {
        match self {
            Face::Stream => &["after", "types", "sessions", "agents", "lanes", "lag", "snapshot"],
            Face::Poll => &["after", "limit", "wait", "types", "sessions", "agents", "lanes"],
            Face::History => &["before", "limit", "types", "sessions", "agents", "lanes"],
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Face::Stream => "streams (text/event-stream)",
            Face::Poll => "polls (application/json)",
            Face::History => "history (application/json, with before)",
        }
    }

    /// Why this face has no such parameter, and who has it.
    fn lacks(self, name: &str) -> Refused {
        let faces = Face::ALL.iter().filter(|face| face.parameters().contains(&name));
        match faces.map(|face| face.as_str()).collect::<Vec<_>>().join(" and ") {
            nobody if nobody.is_empty() => unknown(name, self.parameters()),
            others => invalid(name, &format!("only for {others}; this is {}", self.as_str())),
        }
    }
}

fn unknown(name: &str, allowed: &[&str]) -> Refused {
    match allowed {
        [] => invalid(name, "unknown; this route has no parameters"),
        _ => invalid(name, &format!("unknown; there are {}", allowed.join(", "))),
    }
}

/// The pairs of a query, refused if one is not `allowed` or comes twice.
pub(crate) fn pairs(query: Option<&str>, allowed: &[&str]) -> Result<Vec<(String, String)>, Refused> {
    let pairs = distinct(query)?;
    match pairs.iter().find(|(name, _)| !allowed.contains(&name.as_str())) {
        Some((name, _)) => Err(unknown(name, allowed)),
        None => Ok(pairs),
    }
}

/// The pairs of a query, refused if one comes twice.
fn distinct(query: Option<&str>) -> Result<Vec<(String, String)>, Refused> {
    let query = query.unwrap_or_default();
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, value) in form_pairs(query) {
        if pairs.iter().any(|(other, _)| *other == name) {
            return Err(invalid(&name, "given twice"));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// The pairs of a query as they are, for routes whose clients may say more than is looked at.
pub(crate) fn all_pairs(query: Option<&str>) -> Vec<(String, String)> {
    form_pairs(query.unwrap_or_default()).collect()
}

/// Reads `application/x-www-form-urlencoded` pairs.
fn form_pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// A parameter that cannot be understood.
pub(crate) fn invalid(name: &str, detail: &str) -> Refused {
    let name = echo::text(name);
    let fault = FieldProblem {
        index: None,
        field: Some(name.clone()),
        code: ErrorCode::InvalidParameter.as_str().into(),
        limit: None,
        actual: None,
        detail: Some(detail.to_owned().into()),
    };
    Refused::from(Problem::new(ErrorCode::InvalidParameter, format!("{name}: {detail}")).with(fault))
}

/// A project's name from a path.
pub(crate) fn project(name: &str) -> Result<Project, Refused> {
    name.parse().map_err(|error: tidings_protocol::project::ProjectError| {
        Refused::new(ErrorCode::InvalidProject, error.to_string())
    })
}

/// Reads the parameters of `GET events`, answered as `representation`.
pub(crate) fn read(query: Option<&str>, representation: Representation) -> Result<Read, Refused> {
    let pairs = distinct(query)?;
    let has = |name: &str| pairs.iter().any(|(other, _)| other == name);
    let face = match representation {
        Representation::Stream => Face::Stream,
        Representation::Json if has("before") => Face::History,
        Representation::Json => Face::Poll,
    };
    if face == Face::History && has("after") {
        return Err(invalid("before", "not together with after"));
    }
    let mut read = Read::default();
    for (name, value) in pairs {
        if !face.parameters().contains(&name.as_str()) {
            return Err(face.lacks(&name));
        }
        read.set(&name, &value)?;
    }
    Ok(read)
}

impl Default for Read {
    fn default() -> Read {
        Read {
            after: None,
            before: None,
            limit: LIMIT_DEFAULT,
            wait: Duration::ZERO,
            filter: Filter::default(),
            lag: Lag::Full,
            snapshot: SnapshotWish::No,
        }
    }
}

impl Read {
    /// Takes the value of a parameter that the face has.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        match name {
            "after" => self.after = Some(place(name, value)?),
            "before" => self.before = Some(place(name, value)?),
            "limit" => self.limit = number(name, value, 1, LIMIT_MAX)?,
            "wait" => {
                let seconds = number(name, value, 0, usize::try_from(WAIT_MAX.as_secs()).unwrap_or(25))?;
                self.wait = Duration::from_secs(seconds as u64);
            }
            "types" => self.filter.types = words(name, value)?,
            "sessions" => self.filter.sessions = words(name, value)?,
            "agents" => self.filter.agents = words(name, value)?,
            "lanes" => {
                let lane = |word: &String| {
                    Lane::parse(word).ok_or_else(|| invalid(name, "lanes are control, delta and latest"))
                };
                self.filter.lanes = words(name, value)?.iter().map(lane).collect::<Result<_, _>>()?;
            }
            "lag" => {
                self.lag = match value {
                    "full" => Lag::Full,
                    "compact" => Lag::Compact,
                    _ => return Err(invalid(name, "full or compact")),
                }
            }
            "snapshot" => {
                self.snapshot = match value {
                    "true" => SnapshotWish::Now,
                    "false" => SnapshotWish::No,
                    "after_gap" => SnapshotWish::AfterGap,
                    _ => return Err(invalid(name, "true, false or after_gap")),
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A place to start.
pub(crate) fn place(name: &str, value: &str) -> Result<After, Refused> {
    value.parse().map_err(|error: tidings_protocol::frames::AfterError| {
        let problem = Problem::new(ErrorCode::InvalidPosition, format!("{name}: {error}"));
        Refused::from(problem.with(FieldProblem {
            index: None,
            field: Some(name.to_owned()),
            code: ErrorCode::InvalidPosition.as_str().into(),
            limit: None,
            actual: None,
            detail: None,
        }))
    })
}

/// A whole number in bounds.
pub(crate) fn number(name: &str, value: &str, least: usize, most: usize) -> Result<usize, Refused> {
    let fault = || invalid(name, &format!("a whole number from {least} to {most}"));
    let digits = !value.is_empty() && value.len() < 10 && value.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { value.parse().map_err(|_| fault())? } else { return Err(fault()) };
    if (least..=most).contains(&number) { Ok(number) } else { Err(fault()) }
}

fn words(name: &str, value: &str) -> Result<Vec<String>, Refused> {
    let words: Vec<String> = value.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    if words.len() > FILTER_WORDS_MAX {
        return Err(invalid(name, &format!("at most {FILTER_WORDS_MAX} words")));
    }
    Ok(words)
}

/// Waits until the topic knows its log, or refuses: the store is away.
pub(crate) async fn started(topic: &TopicHandle) -> Result<(), Refused> {
    within(topic.started()).await
}

/// Waits for something that the store gives, or refuses.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> Result<T, Refused> {
    tokio::time::timeout(STORE_WAIT, what).await.map_err(|_| away())
}

/// The store is away.
pub(crate) fn away() -> Refused {
    Refused::new(ErrorCode::RedisAway, "the store does not answer").retry_after(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(representation: Representation, query: &str, code: ErrorCode, field: &str) {
        let refused = read(Some(query), representation).expect_err(query);
        let problem = refused.problem();
        assert_eq!(problem.code, code.as_str(), "{query}");
        assert_eq!(problem.errors[0].field.as_deref(), Some(field), "{query}");
    }

    #[test]
    fn parameters_are_read_and_bad_ones_refused_by_name() {
        use Representation::{Json, Stream};
        let good = read(Some("after=-5m&limit=7&types=agent,log&lanes=delta&wait=3"), Json).expect("taken");
        assert_eq!((good.after, good.limit, good.filter.types.len()), (Some(After::Ago(300_000)), 7, 2));
        let good = read(Some("after=start&lag=compact&snapshot=after_gap"), Stream).expect("taken");
        assert_eq!((good.lag, good.snapshot), (Lag::Compact, SnapshotWish::AfterGap));
        check(Json, "afther=now", ErrorCode::InvalidParameter, "afther");
        check(Json, "limit=0", ErrorCode::InvalidParameter, "limit");
        check(Json, "limit=1001", ErrorCode::InvalidParameter, "limit");
        check(Json, "limit=1&limit=2", ErrorCode::InvalidParameter, "limit");
        check(Json, "wait=26", ErrorCode::InvalidParameter, "wait");
        check(Json, "after=tomorrow", ErrorCode::InvalidPosition, "after");
        check(Json, "after=now&before=now", ErrorCode::InvalidParameter, "before");
        check(Json, "lanes=fast", ErrorCode::InvalidParameter, "lanes");
        check(Stream, "lag=maybe", ErrorCode::InvalidParameter, "lag");
        check(Stream, "snapshot=1", ErrorCode::InvalidParameter, "snapshot");
    }

    #[test]
    fn parameters_of_another_face_are_refused_by_name() {
        use Representation::{Json, Stream};
        for (representation, before, names) in [
            (Stream, "", &["before=now", "limit=5", "wait=1", "wait=0"][..]),
            (Json, "", &["lag=full", "lag=compact", "snapshot=true", "snapshot=false"]),
            (Json, "before=now&", &["wait=1", "lag=compact", "snapshot=true"]),
        ] {
            for pair in names {
                let name = pair.split_once('=').expect("a pair").0;
                check(representation, &format!("{before}{pair}"), ErrorCode::InvalidParameter, name);
            }
        }
        let refused = read(Some("wait=1"), Stream).expect_err("refused");
        let detail = "wait: only for polls (application/json); this is streams (text/event-stream)";
        assert_eq!(refused.problem().detail, detail);
    }

    #[test]
    fn percent_and_plus_are_decoded() {
        let pairs: Vec<_> = form_pairs("types=a%2Cb&sessions=x+y&wait").collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs, [pair("types", "a,b"), pair("sessions", "x y"), pair("wait", "")]);
    }
}
