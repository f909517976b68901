//! What a caller may do: which scopes it has in which projects, who it is, and until when.
//!
//! A grant is made where a credential is checked and asked wherever something is read or done. It is a value: it knows no
//! clock and no store, so whoever holds one for long asks again whether it still holds.

mod pattern;
mod scope;

use std::sync::Arc;

pub use self::pattern::{ProjectPattern, ProjectPatternError};
pub use self::scope::{Scope, ScopeError, Scopes};
use crate::head::Head;
use crate::position::Position;
use crate::project::Project;
use crate::wire;

/// Scopes in the projects of one pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// Where.
    pub projects: ProjectPattern,
    /// What.
    pub scopes: Scopes,
}

/// What a grant was given for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Nothing: everybody has it.
    Anyone,
    /// A token that names a user: the subject, who may have memberships as well.
    User,
    /// A token that names no user.
    Token,
    /// The API key of this public id.
    Key(Arc<str>),
}

/// The rights of one caller, and who it is. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    held: Arc<Held>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    subject: Arc<str>,
    holder: Holder,
    /// Seconds of the Unix epoch.
    expires_at: Option<u64>,
    /// What the credential itself says.
    own: Vec<Right>,
    /// What it was given as a member, and only for projects that were asked for.
    given: Vec<(Project, Scopes)>,
}

impl Grant {
    /// Everything, for ever, for the viewer of this id.
    pub fn open(viewer: impl Into<Arc<str>>) -> Grant {
        Grant::new(viewer, Holder::Anyone, vec![Right { projects: ProjectPattern::Any, scopes: Scopes::ALL }])
    }

    /// These rights for this subject, without an end.
    pub fn new(subject: impl Into<Arc<str>>, holder: Holder, own: Vec<Right>) -> Grant {
        let held = Held { subject: subject.into(), holder, expires_at: None, own, given: Vec::new() };
        Grant { held: Arc::new(held) }
    }

    /// The same until this time, in seconds of the Unix epoch.
    pub fn until(mut self, expires_at: u64) -> Grant {
        Arc::make_mut(&mut self.held).expires_at = Some(expires_at);
        self
    }

    /// The same, and these scopes as a member of this project, in place of those that it was given there before.
    pub fn with_membership(mut self, project: Project, scopes: Scopes) -> Grant {
        let given = &mut Arc::make_mut(&mut self.held).given;
        match given.iter_mut().find(|(of, _)| *of == project) {
            Some((_, before)) => *before = scopes,
            None => given.push((project, scopes)),
        }
        self
    }

    /// The same, of this subject.
    pub fn of_subject(mut self, subject: &str) -> Grant {
        Arc::make_mut(&mut self.held).subject = subject.into();
        self
    }

    /// The scopes in this project.
    pub fn scopes(&self, project: &Project) -> Scopes {
        let given = self.held.given.iter().filter(|(of, _)| of == project).map(|(_, scopes)| *scopes);
        given.fold(self.own_scopes(project), Scopes::union)
    }

    /// The scopes in this project that the credential itself says, without any membership.
    pub fn own_scopes(&self, project: &Project) -> Scopes {
        let own = self.held.own.iter().filter(|right| right.projects.matches(project));
        own.fold(Scopes::NONE, |scopes, right| scopes.union(right.scopes))
    }

    /// May it do this in this project? No scope holds another: `admin` alone does not read.
    pub fn allows(&self, project: &Project, scope: Scope) -> bool {
        self.scopes(project).contains(scope)
    }

    /// The projects in which the credential itself lets it do this, if it names them one by one; `None`: some of its rights
    /// are for all projects, or for all of one beginning.
    pub fn named(&self, scope: Scope) -> Option<Vec<Project>> {
        let rights = self.held.own.iter().filter(|right| right.scopes.contains(scope));
        let name = |right: &Right| match &right.projects {
            ProjectPattern::Exact(project) => Some(project.clone()),
            ProjectPattern::Any | ProjectPattern::Prefix(_) => None,
        };
        rights.map(name).collect()
    }

    /// May it know that this project exists? Whoever may do anything there may.
    pub fn visible(&self, project: &Project) -> bool {
        self.scopes(project) != Scopes::NONE
    }

    /// Who it is: the user of a token, `key:<id>` of an API key.
    pub fn subject(&self) -> &str {
        &self.held.subject
    }

    /// The stable id that replies are addressed to (`to`): the subject, never a connection.
    pub fn viewer(&self) -> &str {
        &self.held.subject
    }

    /// What it was given for.
    pub fn holder(&self) -> &Holder {
        &self.held.holder
    }

    /// The public id of the API key that it was given for.
    pub fn key_id(&self) -> Option<&str> {
        match &self.held.holder {
            Holder::Key(id) => Some(id),
            Holder::Anyone | Holder::User | Holder::Token => None,
        }
    }

    /// The runner that publishes with it where events name none: an API key is called by its id. Users are no runners,
    /// though they may publish, and a token without one changes with each renewal.
    pub fn runner(&self) -> Option<&str> {
        self.key_id().map(|_| self.subject())
    }

    /// When it ends, in seconds of the Unix epoch; `None`: never by itself.
    pub fn expires_at(&self) -> Option<u64> {
        self.held.expires_at
    }

    /// The projects for which a membership was asked for, with what was given.
    pub fn memberships(&self) -> &[(Project, Scopes)] {
        &self.held.given
    }

    /// May it read this project?
    pub fn may_read(&self, project: &Project) -> bool {
        self.allows(project, Scope::Read)
    }

    /// May it publish to this project?
    pub fn may_publish(&self, project: &Project) -> bool {
        self.allows(project, Scope::Publish)
    }
}

/// The one question that every read path asks of every event before anything else looks at it: is it for this viewer, and
/// was it not deleted with its session, as far as this head of its log knows?
pub fn visible(event: &wire::Event, position: Position, head: &Head, grant: &Grant) -> bool {
    (event.to.is_empty() || event.to == grant.viewer()) && !head.buries(position, event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str) -> Project {
        name.parse().expect("a name")
    }

    fn right(pattern: &str, scopes: &str) -> Right {
        Right { projects: pattern.parse().expect("a pattern"), scopes: scopes.parse().expect("scopes") }
    }

    #[test]
    fn an_open_grant_allows_everything_for_ever() {
        let grant = Grant::open("v-1");
        for scope in Scope::ALL {
            assert!(grant.allows(&project("any"), scope), "{scope}");
        }
        assert_eq!((grant.viewer(), grant.expires_at(), grant.key_id()), ("v-1", None, None));
        assert_eq!(grant.runner(), None);
    }

    #[test]
    fn rights_hold_where_their_pattern_matches_and_add_up() {
        let grant = Grant::new("alice", Holder::Token, vec![right("demo", "read"), right("d*", "approve")]);
        assert_eq!(grant.scopes(&project("demo")), "read approve".parse().expect("scopes"));
        assert_eq!(grant.scopes(&project("dawn")), "approve".parse().expect("scopes"));
        assert!(grant.visible(&project("dawn")) && !grant.may_read(&project("dawn")));
        assert!(!grant.visible(&project("other")));
    }

    #[test]
    fn projects_are_named_where_no_pattern_is_among_them() {
        let grant =
            Grant::new("a", Holder::Token, vec![right("demo", "read"), right("x", "read"), right("d*", "work")]);
        assert_eq!(grant.named(Scope::Read), Some(vec![project("demo"), project("x")]));
        assert_eq!((grant.named(Scope::Work), grant.named(Scope::Admin)), (None, Some(vec![])));
        assert_eq!(Grant::open("v").named(Scope::Read), None);
    }

    #[test]
    fn no_scope_holds_another() {
        for scope in Scope::ALL {
            let grant = Grant::new("a", Holder::Token, vec![right("demo", scope.as_str())]);
            for other in Scope::ALL {
                assert_eq!(grant.allows(&project("demo"), other), scope == other, "{scope} {other}");
            }
        }
    }

    #[test]
    fn a_membership_adds_to_its_project_alone_and_a_later_answer_replaces_it() {
        let demo = project("demo");
        let grant = Grant::new("alice", Holder::Token, vec![right("demo", "read")]);
        let member = grant.clone().with_membership(demo.clone(), "command".parse().expect("scopes"));
        assert_eq!(member.scopes(&demo), "read command".parse().expect("scopes"));
        assert_eq!(member.own_scopes(&demo), "read".parse().expect("scopes"));
        assert!(!member.visible(&project("demo2")));
        assert_eq!(member.with_membership(demo.clone(), Scopes::NONE).scopes(&demo), grant.scopes(&demo));
        assert!(grant.memberships().is_empty(), "a clone has its own rights");
    }
}
