//! What a `project_id` of theirs names: `acme` is the project `acme`, by its newest session; `acme:s-7` is its session
//! `s-7`. No name of a project holds a colon.

use tidings_protocol::project::Project;

/// What a `project_id` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The project, whose rights hold.
    pub project: Project,
    /// One session of it; none: the newest one, whichever that is.
    pub session: Option<String>,
}

/// Longest id of a session, in bytes.
const SESSION_BYTES_MAX: usize = 128;

impl Target {
    /// Reads a `project_id`; none: it can name nothing.
    pub fn parse(id: &str) -> Option<Target> {
        let (project, session) = match id.split_once(':') {
            Some((project, session)) => (project, Some(session)),
            None => (id, None),
        };
        let good = |session: &str| {
            !session.is_empty() && session.len() <= SESSION_BYTES_MAX && !session.chars().any(char::is_control)
        };
        if !session.is_none_or(good) {
            return None;
        }
        Some(Target { project: project.parse().ok()?, session: session.map(str::to_owned) })
    }

    /// The `project_id`.
    pub fn id(&self) -> String {
        id_of(self.project.as_str(), self.session.as_deref())
    }
}

/// The `project_id` of a project, or of one session of it.
pub(super) fn id_of(project: &str, session: Option<&str>) -> String {
    session.map_or_else(|| project.to_owned(), |session| format!("{project}:{session}"))
}
