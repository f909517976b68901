//! Projects that keep other numbers than their neighbours.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use super::*;

/// The project named `own` has a retention of its own.
struct One {
    own: Retention,
    others: Retention,
}

impl Retentions for One {
    fn of<'a>(&'a self, project: &'a Project) -> BoxFuture<'a, Retention> {
        ready(if project.as_str() == "own" { self.own } else { self.others }).boxed()
    }
}

#[tokio::test]
async fn l18_each_project_keeps_what_is_said_of_it() {
    let mut other = Rig::new().await;
    let mut own = other.of("own").await;
    let events = |events| Retention { events, ..KEEP_ALL };
    let said = Arc::new(One { own: events(7), others: events(30) });
    let mut janitor = other.janitor(events(3)).keeping(said);
    for rig in [&mut other, &mut own] {
        rig.append(50).await;
        steps(&mut janitor, &rig.project).await;
    }
    assert_eq!((other.entries().len(), own.entries().len()), (30, 7));
}

#[tokio::test]
async fn l18_a_fold_that_fails_trims_at_twice_what_is_said_of_its_project() {
    let mut own = Rig::new().await.of("own").await;
    own.append(5).await;
    spoil(&own, FOLD_VERSION, "p").await;
    own.append(45).await;
    let said = Arc::new(One { own: Retention { events: 7, ..KEEP_ALL }, others: KEEP_ALL });
    let mut janitor = own.janitor(KEEP_ALL).keeping(said);
    assert!(matches!(janitor.step(&own.project).await, Err(StepError::Fold { .. })));
    assert_eq!(own.entries().len(), 14);
}
