//! Redis Sentinel: which node is the primary now.
//!
//! Every sentinel is asked each second, and at once when it publishes a move. Of what they say, the newest configuration
//! (the highest epoch) is believed: a sentinel that is cut off together with the old primary names that one for ever. Who
//! opens a connection takes the address from here and checks that the node calls itself a primary; when another address
//! is named, connections to the old one are given up at once. While no sentinel can be asked, the last word counts.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{ConnectionAddr, ConnectionInfo, ErrorKind, PushKind, RedisError, RedisResult};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};

use super::link::{Backoff, Opener};

/// How often a sentinel is asked.
const EVERY: Duration = Duration::from_secs(1);

/// The channel on which a sentinel tells that a primary moved.
const MOVES: &str = "+switch-master";

/// The sentinels of one primary.
pub(super) struct Sentinels {
    nodes: Vec<ConnectionInfo>,
    /// What they call the primary.
    name: String,
    heard: Mutex<Heard>,
    primary: watch::Sender<Option<ConnectionAddr>>,
}

/// What was heard from all sentinels.
struct Heard {
    /// What each said last, or why it cannot be asked.
    words: Vec<Result<Word, String>>,
    /// Epoch of the one that is believed.
    epoch: u64,
}

/// What one sentinel says.
#[derive(Debug, Clone, PartialEq)]
struct Word {
    /// Grows with every failover, and is the same at all sentinels that know of it.
    epoch: u64,
    primary: ConnectionAddr,
}

impl Sentinels {
    pub(super) fn new(nodes: Vec<ConnectionInfo>, name: String) -> Sentinels {
        let words = vec![Err("not asked yet".to_owned()); nodes.len()];
        Sentinels { nodes, name, heard: Mutex::new(Heard { words, epoch: 0 }), primary: watch::Sender::new(None) }
    }

    /// The primary's address, as last heard.
    pub(super) fn primary(&self) -> RedisResult<ConnectionAddr> {
        if let Some(primary) = &*self.primary.borrow() {
            return Ok(primary.clone());
        }
        let heard = self.heard.lock();
        let words = self.nodes.iter().zip(&heard.words);
        let why: Vec<String> =
            words.filter_map(|(node, word)| Some(format!("{}: {}", node.addr(), word.as_ref().err()?))).collect();
        Err((ErrorKind::Io, "no sentinel names the primary", why.join("; ")).into())
    }

    /// Returns when another primary than this is named, be it since before the call.
    pub(super) async fn moved_from(&self, here: &ConnectionAddr) -> RedisError {
        let mut primary = self.primary.subscribe();
        // An error means that the sender is gone, and we hold it.
        let _ = primary.wait_for(|named| named.as_ref() != Some(here)).await;
        (ErrorKind::Io, "redis sentinel names another primary").into()
    }

    /// Asks all of them for ever.
    pub(super) async fn run(&self, opener: &Opener) {
        join_all((0..self.nodes.len()).map(|index| self.follow(index, opener))).await;
    }

    /// Asks one of them for ever.
    async fn follow(&self, index: usize, opener: &Opener) {
        let mut backoff = Backoff::new();
        loop {
            let Err(error) = self.listen(index, opener, &mut backoff).await;
            self.hear(index, Err(error.to_string()));
            backoff.pause().await;
        }
    }

    /// Asks one of them until it fails.
    async fn listen(&self, index: usize, opener: &Opener, backoff: &mut Backoff) -> RedisResult<Infallible> {
        let node = &self.nodes[index];
        let ask_now = Arc::new(Notify::new());
        let wake = Arc::clone(&ask_now);
        let on_push = move |push: ::redis::PushInfo| {
            if matches!(push.kind, PushKind::Message | PushKind::Disconnection) {
                wake.notify_one();
            }
        };
        let mut connection = opener.connect(node.clone(), on_push).await?;
        if let Err(error) = connection.subscribe(MOVES).await {
            debug!(%error, sentinel = %node.addr(), "this account may not listen for moves: they are asked for");
        }
        loop {
            let word = self.ask(&mut connection, node).await?;
            *backoff = Backoff::new();
            self.hear(index, Ok(word));
            // Either way it is time to ask again.
            let _ = tokio::time::timeout(EVERY, ask_now.notified()).await;
        }
    }

    async fn ask(&self, connection: &mut MultiplexedConnection, node: &ConnectionInfo) -> RedisResult<Word> {
        // ORDER: the epoch first. Should a move come between the two, the new address goes with the old epoch and the
        // next answer corrects it; the old address with the new epoch would be believed.
        let mut both = ::redis::pipe();
        both.cmd("SENTINEL").arg("MASTER").arg(&self.name);
        both.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let answers =
            both.query_async::<(std::collections::HashMap<String, String>, Option<(String, u16)>)>(connection);
        let (facts, address) = answers.await.map_err(|error| self.unknown(error))?;
        let epoch = facts.get("config-epoch").and_then(|epoch| epoch.parse().ok());
        let (Some(epoch), Some((host, port))) = (epoch, address) else {
            return Err(self.unknown((ErrorKind::Io, "it says neither epoch nor address").into()));
        };
        // What the sentinels are reached by, TLS or not, the primary is too.
        let primary = match node.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            _ => ConnectionAddr::Tcp(host, port),
        };
        Ok(Word { epoch, primary })
    }

    /// A sentinel answers with an error to a name that it does not know.
    fn unknown(&self, error: RedisError) -> RedisError {
        if error.to_string().contains("No such master") {
            let what = format!("it knows no primary of the name {:?}", self.name);
            return (ErrorKind::MasterNameNotFoundBySentinel, "redis sentinel", what).into();
        }
        error
    }

    fn hear(&self, index: usize, word: Result<Word, String>) {
        let mut heard = self.heard.lock();
        if heard.words[index] == word {
            return;
        }
        if let Err(error) = &word {
            warn!(error, sentinel = %self.nodes[index].addr(), "a redis sentinel cannot be asked, will retry");
        }
        heard.words[index] = word;
        if let Some(newest) = heard.believed() {
            heard.epoch = newest.epoch;
            self.primary.send_if_modified(|known| {
                if known.as_ref() == Some(&newest.primary) {
                    return false;
                }
                info!(primary = %newest.primary, name = self.name, epoch = newest.epoch, "redis sentinel names the primary");
                *known = Some(newest.primary);
                true
            });
        }
    }
}

impl Heard {
    /// The newest word. One that is older than what was believed before counts only if most sentinels can be asked and
    /// none knows better: they were set up anew.
    fn believed(&self) -> Option<Word> {
        let said = || self.words.iter().flatten();
        let newest = said().reduce(|newest, word| if word.epoch > newest.epoch { word } else { newest })?;
        let most_speak = 2 * said().count() > self.words.len();
        (newest.epoch >= self.epoch || most_speak).then(|| newest.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> ConnectionAddr {
        ConnectionAddr::Tcp("127.0.0.1".into(), port)
    }

    #[allow(clippy::unnecessary_wraps, reason = "as a sentinel's word comes")]
    fn word(epoch: u64, port: u16) -> Result<Word, String> {
        Ok(Word { epoch, primary: at(port) })
    }

    fn three() -> Sentinels {
        let node = || at(1).into_info();
        Sentinels::new(vec![node(), node(), node()], "hive".into())
    }

    trait IntoInfo {
        fn into_info(self) -> ConnectionInfo;
    }

    impl IntoInfo for ConnectionAddr {
        fn into_info(self) -> ConnectionInfo {
            ::redis::IntoConnectionInfo::into_connection_info(self).expect("an address is all it takes")
        }
    }

    #[test]
    fn the_newest_configuration_is_believed_whoever_tells_it() {
        let sentinels = three();
        let check = |index, word, port| {
            sentinels.hear(index, word);
            assert_eq!(sentinels.primary().ok(), Some(at(port)));
        };
        check(0, word(3, 7), 7);
        check(1, word(4, 8), 8);
        // Cut off with the old primary, it goes on naming it.
        check(0, word(3, 7), 8);
        check(1, Err("gone".into()), 8);
        check(0, Err("gone".into()), 8);
        // Alone, it still is behind what was known.
        check(0, word(3, 7), 8);
        // Two of three: the sentinels were set up anew.
        check(2, word(0, 9), 7);
        check(0, word(0, 9), 9);
    }

    #[test]
    fn without_a_word_everybody_s_reason_is_told() {
        let sentinels = three();
        sentinels.hear(1, Err("connection refused".into()));
        let said = sentinels.primary().expect_err("nobody spoke").to_string();
        assert!(said.contains("127.0.0.1:1: connection refused") && said.contains("not asked yet"), "{said}");
    }

    #[tokio::test]
    async fn a_move_is_noticed_though_it_came_before_the_wait() {
        let sentinels = three();
        sentinels.hear(0, word(1, 7));
        let here = sentinels.primary().expect("named");
        let stays = tokio::time::timeout(Duration::from_millis(50), sentinels.moved_from(&here));
        stays.await.expect_err("nothing moved");
        sentinels.hear(1, word(2, 8));
        tokio::time::timeout(Duration::from_secs(30), sentinels.moved_from(&here)).await.expect("it moved");
    }
}
