//! Clients that come back: what they were told before, and what they confirmed.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_is_told_what_it_has_not_confirmed() {
    let mut rig = Rig::start().await;
    rig.say(&[("note", "a")]).await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 1"]);
    rig.say(&[("note", "b")]).await;
    assert_eq!(client.hears().await, "b");
    // Pings are answered while it waits: b is confirmed, and kept.
    assert!(tokio::time::timeout(Duration::from_secs(10), client.hears()).await.is_err());
    rig.say(&[("note", "c")]).await;
    let (opcode, _) = client.frame().await;
    assert_eq!(opcode, 1, "it is told c, and says nothing more");
    drop(client);
    rig.say(&[("note", "d")]).await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "c", "d", "again 0 of 4"]);
    let mut other = rig.connect_as(Some("s"));
    assert_eq!(other.hears_all().await, ["hello demo", "greet 0 of 4"]);
}

#[tokio::test(start_paused = true)]
async fn an_answered_farewell_confirms_all() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.say(&[("note", "a")]).await;
    assert_eq!(client.hears().await, "a");
    client.says("bye").await;
    assert_eq!(client.hears().await, "4001 so long");
    client.frame_out(8, &4001u16.to_be_bytes()).await;
    let mut rest = Vec::new();
    client.socket.read_to_end(&mut rest).await.expect("it closes");
    let connections = rig.gateway.shared.connections.tasks();
    connections.close();
    connections.wait().await;
    rig.say(&[("note", "b")]).await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "b", "again 0 of 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_crosses_ours_confirms_nothing() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.say(&[("note", "a")]).await;
    assert_eq!(client.hears().await, "a");
    client.says("bye").await;
    client.frame_out(8, &1000u16.to_be_bytes()).await;
    let mut rest = Vec::new();
    client.socket.read_to_end(&mut rest).await.expect("it closes");
    let connections = rig.gateway.shared.connections.tasks();
    connections.close();
    connections.wait().await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "a", "again 0 of 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_at_once_has_a_place_all_the_same() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.say(&[("note", "a")]).await;
    assert_eq!(client.hears().await, "a");
    drop(client);
    rig.say(&[("note", "b")]).await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "a", "b", "again 0 of 2"]);
}

#[tokio::test(start_paused = true)]
async fn the_place_of_a_clients_newest_connection_counts() {
    let mut rig = Rig::start().await;
    let mut old = rig.connect_as(Some("r"));
    assert_eq!(old.hears_all().await, ["hello demo", "greet 0 of 0"]);
    assert!(tokio::time::timeout(Duration::from_secs(5), old.hears()).await.is_err());
    let mut new = rig.connect_as(Some("r"));
    assert_eq!(new.hears_all().await, ["hello demo", "again 0 of 0"]);
    // Only the old one confirms.
    rig.say(&[("note", "a")]).await;
    assert_eq!(old.hears().await, "a", "it stays open");
    assert!(tokio::time::timeout(Duration::from_secs(10), old.hears()).await.is_err());
    drop((old, new));
    let mut newest = rig.connect_as(Some("r"));
    assert_eq!(newest.hears_all().await, ["hello demo", "a", "again 0 of 1"]);
}
