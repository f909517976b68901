use std::time::Duration;

use super::*;
use crate::testing::{Behaviour, Server, waits};

const HOUR: Duration = Duration::from_hours(1);

fn webhook(server: &Server, fresh: Duration, stale: Duration) -> Webhook {
    let secret = Some(Secret::new("who-asks"));
    let timeout = Duration::from_mins(1);
    Webhook::new(WebhookConfig { secret, fresh, stale, timeout, ..WebhookConfig::new(&server.url) }).expect("a client")
}

fn project(name: &str) -> Project {
    name.parse().expect("a name")
}

fn says(scopes: &str) -> Behaviour {
    Behaviour::Answer(200, format!(r#"{{"scopes": {scopes}, "more": 1}}"#))
}

#[tokio::test]
async fn it_is_asked_once_for_a_user_and_a_project() {
    let server = Server::start(says(r#"["read", "approve", "new-word"]"#)).await;
    let webhook = webhook(&server, HOUR, HOUR);
    let (demo, other) = (project("demo"), project("other"));
    let asked = futures_util::future::join_all((0..100).map(|_| webhook.scopes(&demo, "alice"))).await;
    assert!(asked.iter().all(|scopes| *scopes == Ok("read approve".parse().expect("scopes"))));
    assert_eq!(server.requests(), 1);
    let request = server.last();
    assert!(request.ends_with(r#"{"subject":"alice","project":"demo"}"#), "{request}");
    assert!(request.to_lowercase().contains("authorization: bearer who-asks"), "{request}");
    webhook.scopes(&other, "alice").await.expect("an answer");
    webhook.scopes(&demo, "bob").await.expect("an answer");
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn no_is_an_answer() {
    for status in [403, 404] {
        let server = Server::start(Behaviour::Answer(status, String::new())).await;
        let webhook = webhook(&server, HOUR, HOUR);
        for _ in 0..2 {
            assert_eq!(webhook.scopes(&project("demo"), "alice").await, Ok(Scopes::NONE));
        }
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn a_failure_gives_the_stale_answer_and_none_without_one() {
    let server = Server::start(Behaviour::Hang).await;
    let webhook = webhook(&server, Duration::ZERO, HOUR);
    let demo = project("demo");
    let read: Scopes = "read".parse().expect("scopes");
    let failures = [Behaviour::Answer(500, String::new()), Behaviour::Answer(200, "[]".to_owned()), Behaviour::Endless];
    for (place, failure) in failures.into_iter().enumerate() {
        // A failure rests for its user, so each has one of its own.
        let (known, unknown) = (format!("alice-{place}"), format!("bob-{place}"));
        server.behave(says(r#"["read"]"#));
        assert_eq!(webhook.scopes(&demo, &known).await, Ok(read));
        server.behave(failure);
        assert_eq!(webhook.scopes(&demo, &known).await, Ok(read));
        assert_eq!(webhook.scopes(&demo, &unknown).await, Err(Lacking::NoAnswer));
    }
}

#[tokio::test]
async fn made_up_projects_keep_no_member_waiting_and_are_no_failure() {
    let server = Server::start(says(r#"["read"]"#)).await;
    let webhook = webhook(&server, Duration::ZERO, HOUR);
    let read: Scopes = "read".parse().expect("scopes");
    let (club, new) = (project("club"), project("new"));
    assert_eq!(webhook.scopes(&club, "alice").await, Ok(read));
    server.behave(Behaviour::Hang);
    let made_up: Vec<Project> = (0..WEBHOOK_CALLS_MAX).map(|number| project(&format!("made-up-{number}"))).collect();
    let mut flood = std::pin::pin!(futures_util::future::join_all(
        made_up.iter().map(|project| webhook.scopes(project, "mallory"))
    ));
    while server.requests() <= WEBHOOK_CALLS_MAX {
        assert!(waits(flood.as_mut()));
        tokio::task::yield_now().await;
    }
    server.behave(says(r#"["approve"]"#));
    let approve = "approve".parse().expect("scopes");
    assert_eq!(webhook.scopes(&club, "alice").await, Ok(approve), "a member has turns of its own");
    assert_eq!(webhook.scopes(&new, "bob").await, Err(Lacking::Busy { before: None }));
    assert!(webhook.held(&new, "bob").is_none(), "nothing was learned, and nothing rests");
    assert!(webhook.knows(&club, "alice") && !webhook.knows(&new, "bob"));
}
