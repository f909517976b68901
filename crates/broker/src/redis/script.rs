//! The Lua scripts, and calls of them.

use std::sync::LazyLock;

use ::redis::{Cmd, ToRedisArgs, cmd};

use super::metrics::Call;

/// A script: its source and the hash that the server knows it by.
pub(super) struct Script {
    /// What it is for.
    kind: Call,
    source: &'static str,
    sha: String,
}

impl Script {
    fn new(kind: Call, source: &'static str) -> Script {
        Script { kind, source, sha: ::redis::Script::new(source).get_hash().to_owned() }
    }

    /// Begins a call.
    pub(super) fn call(&'static self, keys: &[&str]) -> ScriptCall {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        ScriptCall { script: self, kind: self.kind, keys, args: Vec::new(), asking: false }
    }

    /// What loads it.
    pub(super) fn load(&self) -> Cmd {
        let mut load = cmd("SCRIPT");
        load.arg("LOAD").arg(self.source);
        load
    }
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident: $kind:ident = $($file:literal)+;)*) => {
        $($(#[$doc])*
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(Call::$kind, concat!($(include_str!(concat!("../../lua/", $file, ".lua"))),+)));)*

        /// All scripts, to be loaded on every new connection.
        pub(super) fn all() -> Vec<&'static Script> {
            vec![$(&$name),*]
        }
    };
}

scripts! {
    /// One call of docs/log.md L4.
    APPEND: Append = "common" "append";
    /// Entries and head.
    READ: Read = "common" "read";
    /// Checkpoint fields and head.
    STATE: State = "common" "state";
    /// One step of the fold.
    CHECKPOINT: Checkpoint = "common" "checkpoint";
    /// Removal of unused writers and producers, and of guards whose time is over.
    SWEEP: Command = "common" "sweep";
    /// Refusal of what a project over its share appends.
    REFUSE: Command = "common" "refuse";
    /// The janitor's lease.
    LEASE: Command = "lease";
    /// A portion of a rate.
    TAKE: Quota = "take";
    /// What a holder holds, and its lease.
    HOLD: Quota = "hold";
    /// Keys, members and settings of a project.
    REGISTRY: Registry = "common" "registry";
    /// What a gateway has in a project, and who is there.
    PRESENCE: Presence = "common" "runners" "presence";
    /// A runner that is there, or went.
    RUNNER: Presence = "common" "runners" "runner";
    /// A command, or an alarm, is put.
    INBOX_PUT: Inbox = "common" "inbox" "inbox_put";
    /// A runner takes commands.
    INBOX_TAKE: Inbox = "common" "inbox" "inbox_take";
    /// What a runner does with them.
    INBOX_LEASE: Inbox = "common" "inbox" "inbox_lease";
    /// How commands stand.
    INBOX_LOOK: Inbox = "common" "inbox" "inbox_look";
    /// What somebody must act upon.
    INBOX_DUE: Inbox = "common" "inbox" "inbox_due";
    /// Commands leave, or all of the inbox goes.
    INBOX_SETTLE: Inbox = "common" "inbox" "inbox_settle";
    /// Runners that go, and what they publish for.
    INBOX_RUNNER: Inbox = "common" "inbox" "inbox_runner";
    /// Where a reader was.
    BOOKMARK: Command = "common" "bookmark";
    /// One step on a client's slip.
    SLIP: Command = "common" "slip";
    /// What a gateway carries, and what all do.
    FLEET: Presence = "common" "fleet";
    /// The index of webhooks, and where they are.
    HOOKS: Command = "common" "hooks";
}

/// A call in the making.
#[derive(Clone)]
pub(super) struct ScriptCall {
    script: &'static Script,
    kind: Call,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
    asking: bool,
}

impl ScriptCall {
    /// The same, counted as this.
    pub(super) fn counted_as(self, kind: Call) -> ScriptCall {
        ScriptCall { kind, ..self }
    }

    /// What it counts as.
    pub(super) fn kind(&self) -> Call {
        self.kind
    }

    /// Adds an argument.
    pub(super) fn arg(mut self, value: impl ToRedisArgs) -> ScriptCall {
        value.write_redis_args(&mut self.args);
        self
    }

    /// Bytes of keys and arguments.
    pub(super) fn bytes(&self) -> usize {
        self.keys.iter().map(String::len).chain(self.args.iter().map(Vec::len)).sum()
    }

    /// The key that says where the call goes; the others lie in the same slot.
    pub(super) fn key(&self) -> &str {
        self.keys.first().map_or("", String::as_str)
    }

    /// The same for a node that gets the keys' slot just now: `ASKING` goes before it.
    pub(super) fn to_asking(&self) -> ScriptCall {
        ScriptCall { asking: true, ..self.clone() }
    }

    /// Whether it is for such a node.
    pub(super) fn is_asking(&self) -> bool {
        self.asking
    }

    /// The call by hash.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.sha)
    }

    /// The call with the source, for a server that does not know it.
    pub(super) fn by_source(&self) -> Cmd {
        self.command("EVAL", self.script.source)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys);
        for arg in &self.args {
            command.arg(arg);
        }
        command
    }
}
