//! Keys, members and settings.

use bytes::Bytes;
use tidings_protocol::grant::Scopes;
use tidings_protocol::project::Project;

use super::Subject;
use crate::registry::{Added, KEYS_MAX, Versioned};

super::cases! {
    a_key_is_found_by_its_id_and_listed_with_its_project
    a_key_is_replaced_and_removed_by_its_project_alone
    a_project_has_so_many_keys
    members_are_kept_with_their_project
    settings_are_swapped_by_version
}

fn project(name: &str) -> Project {
    name.parse().expect("a name")
}

fn scopes(words: &str) -> Scopes {
    words.parse().expect("scopes")
}

async fn a_key_is_found_by_its_id_and_listed_with_its_project(subject: &mut dyn Subject) {
    let registry = subject.registry();
    let (a, b) = (project("a"), project("b"));
    assert_eq!(registry.key("k1".into()).await, Ok(None));
    assert_eq!(registry.keys(a.clone()).await, Ok(vec![]));
    for (of, id) in [(&a, "k2"), (&a, "k1"), (&b, "k3")] {
        assert_eq!(registry.add_key(of.clone(), id.into(), Bytes::from(format!("\0{id}\n"))).await, Ok(Added::Done));
    }
    let again = registry.add_key(a.clone(), "k1".into(), Bytes::from_static(b"other")).await;
    assert_eq!(again, Ok(Added::Exists));
    assert_eq!(registry.key("k1".into()).await, Ok(Some((a.clone(), Bytes::from_static(b"\0k1\n")))));
    let ids = |listed: Vec<(String, Bytes)>| listed.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(registry.keys(a).await.map(ids), Ok(vec!["k1".into(), "k2".into()]));
    assert_eq!(registry.keys(b).await, Ok(vec![("k3".into(), Bytes::from_static(b"\0k3\n"))]));
}

async fn a_key_is_replaced_and_removed_by_its_project_alone(subject: &mut dyn Subject) {
    let registry = subject.registry();
    let (a, b) = (project("a"), project("b"));
    registry.add_key(a.clone(), "k1".into(), Bytes::from_static(b"one")).await.expect("an answer");
    assert_eq!(registry.set_key(b.clone(), "k1".into(), Bytes::from_static(b"x")).await, Ok(false));
    assert_eq!(registry.remove_key(b, "k1".into()).await, Ok(false));
    assert_eq!(registry.set_key(a.clone(), "k0".into(), Bytes::from_static(b"x")).await, Ok(false), "not made by it");
    assert_eq!(registry.key("k0".into()).await, Ok(None));
    assert_eq!(registry.set_key(a.clone(), "k1".into(), Bytes::from_static(b"two")).await, Ok(true));
    assert_eq!(registry.key("k1".into()).await, Ok(Some((a.clone(), Bytes::from_static(b"two")))));
    assert_eq!(registry.remove_key(a.clone(), "k1".into()).await, Ok(true));
    assert_eq!(registry.key("k1".into()).await, Ok(None));
    assert_eq!(registry.keys(a).await, Ok(vec![]));
}

async fn a_project_has_so_many_keys(subject: &mut dyn Subject) {
    let registry = subject.registry();
    let of = project("a");
    let add = |id: usize| registry.add_key(of.clone(), format!("{id:016}"), Bytes::new());
    let added = futures_util::future::join_all((0..KEYS_MAX).map(add)).await;
    assert!(added.iter().all(|answer| *answer == Ok(Added::Done)));
    assert_eq!(add(KEYS_MAX).await, Ok(Added::Full));
    assert_eq!(registry.key(format!("{KEYS_MAX:016}")).await, Ok(None));
    assert_eq!(registry.remove_key(of.clone(), format!("{:016}", 7)).await, Ok(true));
    assert_eq!(add(KEYS_MAX).await, Ok(Added::Done));
}

async fn members_are_kept_with_their_project(subject: &mut dyn Subject) {
    let registry = subject.registry();
    let (a, b) = (project("a"), project("b"));
    assert_eq!(registry.set_member(a.clone(), "bob".into(), scopes("read")).await, Ok(true));
    assert_eq!(registry.set_member(a.clone(), "al ice".into(), scopes("read")).await, Ok(true));
    assert_eq!(registry.set_member(a.clone(), "al ice".into(), scopes("read admin")).await, Ok(true), "it replaces");
    assert_eq!(registry.member(a.clone(), "al ice".into()).await, Ok(scopes("read admin")));
    assert_eq!(registry.member(b.clone(), "al ice".into()).await, Ok(Scopes::NONE));
    let both = vec![("al ice".into(), scopes("read admin")), ("bob".into(), scopes("read"))];
    assert_eq!(registry.members(a.clone()).await, Ok(both));
    assert_eq!(registry.members(b).await, Ok(vec![]));
    assert_eq!(registry.remove_member(a.clone(), "bob".into()).await, Ok(true));
    assert_eq!(registry.remove_member(a.clone(), "bob".into()).await, Ok(false));
    assert_eq!(registry.member(a, "bob".into()).await, Ok(Scopes::NONE));
}

async fn settings_are_swapped_by_version(subject: &mut dyn Subject) {
    let registry = subject.registry();
    let of = project("a");
    assert_eq!(registry.settings(of.clone()).await, Ok(Versioned::default()));
    let swap = |version, value: &'static str| registry.swap_settings(of.clone(), version, value.into());
    assert_eq!(swap(1, "early").await, Ok(None));
    assert_eq!(swap(0, "one").await, Ok(Some(1)));
    assert_eq!(swap(0, "late").await, Ok(None));
    assert_eq!(swap(1, "two").await, Ok(Some(2)));
    assert_eq!(registry.settings(of.clone()).await, Ok(Versioned { version: 2, value: "two".into() }));
    assert_eq!(registry.settings(project("b")).await, Ok(Versioned::default()));
}
