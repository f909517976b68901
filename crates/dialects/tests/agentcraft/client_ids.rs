//! Which client ids are let in, by rule.

use tidings_dialects::agentcraft::client::ClientIds;

#[test]
fn ids_of_its_own_documents_and_the_advised_rule() {
    let own = [
        "agent_chat_1700000000000_k3f9a7c2m",
        "test-client",
        "client-123",
        "my-client-id",
        "client_1700000000000",
        "client_",
        "client__a",
        "client_1_A",
        "client_1_a-b",
        "client_1_a_b",
        "xclient_1_a",
    ];
    let advised = ["client_1700000000000_k3f9a7c2m", "client_0_0"];
    let refused = ["", "a b", "a/b", "ä", "a\n", "a.b", "client_1_a\n"];
    for id in own {
        assert_eq!((ClientIds::Relaxed.admits(id), ClientIds::Seed.admits(id)), (true, false), "{id}");
    }
    for id in advised {
        assert_eq!((ClientIds::Relaxed.admits(id), ClientIds::Seed.admits(id)), (true, true), "{id}");
    }
    for id in refused {
        assert_eq!((ClientIds::Relaxed.admits(id), ClientIds::Seed.admits(id)), (false, false), "{id}");
    }
    let longest = "x".repeat(128);
    assert!(ClientIds::Relaxed.admits(&longest));
    assert!(!ClientIds::Relaxed.admits(&format!("{longest}x")));
}

#[test]
fn rules_are_named_as_in_settings() {
    for rule in [ClientIds::Relaxed, ClientIds::Seed] {
        assert_eq!(ClientIds::parse(rule.as_str()), Some(rule));
    }
    assert_eq!(ClientIds::parse("strict"), None);
}
