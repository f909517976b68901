//! Names of keys and channels (docs/redis-keyspace.md).

use tidings_protocol::project::Project;

/// The names that share one prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

/// The five keys of a project, in the order in which scripts take them.
pub(super) struct ProjectKeys {
    pub(super) log: String,
    pub(super) meta: String,
    pub(super) ids: String,
    pub(super) state: String,
    pub(super) guards: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Keys {
        Keys { prefix: prefix.to_owned() }
    }

    /// The braces make the name the hash tag: all keys of a project lie in one slot of a cluster.
    fn of(&self, project: &Project, what: &str) -> String {
        format!("{}:{{{project}}}:{what}", self.prefix)
    }

    pub(super) fn project(&self, project: &Project) -> ProjectKeys {
        ProjectKeys {
            log: self.of(project, "log"),
            meta: self.of(project, "meta"),
            ids: self.of(project, "ids"),
            state: self.of(project, "state"),
            guards: self.of(project, "guards"),
        }
    }

    /// Records of the project's API keys, by id.
    pub(super) fn api_keys(&self, project: &Project) -> String {
        self.of(project, "keys")
    }

    pub(super) fn members(&self, project: &Project) -> String {
        self.of(project, "members")
    }

    pub(super) fn settings(&self, project: &Project) -> String {
        self.of(project, "settings")
    }

    /// Gateways that have viewers of the project.
    pub(super) fn roll(&self, project: &Project) -> String {
        self.of(project, "presence")
    }

    /// What one of them has.
    pub(super) fn presence(&self, project: &Project, gateway: &str) -> String {
        self.of(project, &format!("presence:{gateway}"))
    }

    pub(super) fn runners(&self, project: &Project) -> String {
        self.of(project, "runners")
    }

    pub(super) fn bookmarks(&self, project: &Project) -> String {
        self.of(project, "bookmarks")
    }

    /// What the gateways of the fleet carry. Of no project's slot.
    pub(super) fn gateways(&self) -> String {
        format!("{}:gateways", self.prefix)
    }

    /// What waits for runners, and its order. The channel on which those who wait are woken is called like the first.
    pub(super) fn inbox(&self, project: &Project) -> (String, String) {
        (self.of(project, "inbox"), self.of(project, "inbox:order"))
    }

    /// Projects with an inbox.
    pub(super) fn inboxes(&self, shard: u16) -> String {
        format!("{}:inboxes:{shard:02}", self.prefix)
    }

    /// Where a project's webhooks are.
    pub(super) fn hooks(&self, project: &Project) -> String {
        self.of(project, "hooks")
    }

    /// Projects with webhooks.
    pub(super) fn hooked(&self, shard: u16) -> String {
        format!("{}:hooks:{shard:02}", self.prefix)
    }

    /// Whose key it is: a call brings an id alone. Of no project's slot.
    pub(super) fn api_key(&self, id: &str) -> String {
        format!("{}:key:{id}", self.prefix)
    }

    pub(super) fn channel(&self, project: &Project) -> String {
        self.of(project, "bus")
    }

    pub(super) fn index(&self, shard: u16) -> String {
        format!("{}:index:{shard:02}", self.prefix)
    }

    pub(super) fn lease(&self, shard: u16) -> String {
        format!("{}:lease:{shard:02}", self.prefix)
    }

    /// A bucket of a shared limit. A call has one such key: what a name may do to the hash tag does not matter.
    pub(super) fn rate(&self, bucket: &str) -> String {
        format!("{}:rate:{bucket}", self.prefix)
    }

    pub(super) fn holds(&self, shard: u16) -> String {
        format!("{}:holds:{shard:02}", self.prefix)
    }

    /// A client's slip. A call has one such key, as with rates.
    pub(super) fn slip(&self, name: &str) -> String {
        format!("{}:slip:{name}", self.prefix)
    }

    /// The channel of one process's probes.
    pub(super) fn probe(&self, process: &str) -> String {
        format!("{}:probe:{process}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_keyspace() {
        let (keys, project) = (Keys::new("tidings"), "demo".parse().expect("a name"));
        assert_eq!(keys.project(&project).log, "tidings:{demo}:log");
        assert_eq!(keys.channel(&project), "tidings:{demo}:bus");
        assert_eq!(keys.api_keys(&project), "tidings:{demo}:keys");
        assert_eq!(keys.members(&project), "tidings:{demo}:members");
        assert_eq!(keys.settings(&project), "tidings:{demo}:settings");
        assert_eq!(keys.roll(&project), "tidings:{demo}:presence");
        assert_eq!(keys.presence(&project, "g-1f"), "tidings:{demo}:presence:g-1f");
        assert_eq!(keys.runners(&project), "tidings:{demo}:runners");
        assert_eq!(keys.bookmarks(&project), "tidings:{demo}:bookmarks");
        assert_eq!(keys.gateways(), "tidings:gateways");
        assert_eq!(keys.inbox(&project), ("tidings:{demo}:inbox".into(), "tidings:{demo}:inbox:order".into()));
        assert_eq!(keys.inboxes(7), "tidings:inboxes:07");
        assert_eq!((keys.hooks(&project), keys.hooked(7)), ("tidings:{demo}:hooks".into(), "tidings:hooks:07".into()));
        assert_eq!(keys.api_key("0a"), "tidings:key:0a");
        assert_eq!((keys.index(7), keys.lease(63)), ("tidings:index:07".into(), "tidings:lease:63".into()));
        assert_eq!((keys.rate("a:b"), keys.holds(7)), ("tidings:rate:a:b".into(), "tidings:holds:07".into()));
        assert_eq!(keys.slip("a:b"), "tidings:slip:a:b");
        assert_eq!(keys.probe("1f"), "tidings:probe:1f");
    }
}
