//! The Lua scripts, and calls of them.

use std::sync::LazyLock;

use ::redis::{Cmd, ToRedisArgs, cmd};

/// A script: its source and the hash that the server knows it by.
pub(super) struct Script {
    source: &'static str,
    sha: String,
}

impl Script {
    fn new(source: &'static str) -> Script {
        Script { source, sha: ::redis::Script::new(source).get_hash().to_owned() }
    }

    /// Begins a call.
    pub(super) fn call(&'static self, keys: &[&str]) -> ScriptCall {
        ScriptCall { script: self, keys: keys.iter().map(|key| (*key).to_owned()).collect(), args: Vec::new() }
    }

    /// What loads it.
    pub(super) fn load(&self) -> Cmd {
        let mut load = cmd("SCRIPT");
        load.arg("LOAD").arg(self.source);
        load
    }
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $($file:literal)+;)*) => {
        $($(#[$doc])*
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($(include_str!(concat!("../../lua/", $file, ".lua"))),+)));)*

        /// All scripts, to be loaded on every new connection.
        pub(super) fn all() -> Vec<&'static Script> {
            vec![$(&$name),*]
        }
    };
}

scripts! {
    /// One call of docs/log.md L4.
    APPEND = "common" "append";
    /// Entries and head.
    READ = "common" "read";
    /// Checkpoint fields and head.
    STATE = "common" "state";
    /// One step of the fold.
    CHECKPOINT = "common" "checkpoint";
    /// Removal of unused writers and producers.
    SWEEP = "common" "sweep";
    /// Refusal of what a project over its share appends.
    REFUSE = "common" "refuse";
    /// The janitor's lease.
    LEASE = "lease";
    /// A portion of a rate.
    TAKE = "take";
    /// What a holder holds, and its lease.
    HOLD = "hold";
    /// Keys, members and settings of a project.
    REGISTRY = "common" "registry";
}

/// A call in the making.
pub(super) struct ScriptCall {
    script: &'static Script,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl ScriptCall {
    /// Adds an argument.
    pub(super) fn arg(mut self, value: impl ToRedisArgs) -> ScriptCall {
        value.write_redis_args(&mut self.args);
        self
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
