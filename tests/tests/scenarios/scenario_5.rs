//! Scenario 5: the old primary is isolated with an ingest and a gateway, is restarted there (so that its name changes),
//! both sides write, and the old one rejoins. Every acknowledged event is told once, or counted; a checkpoint of the
//! old side is refused; what was deleted just before the fork stays deleted.
//!
//! The 90 s of writing are shortened: what matters about them is that some of what was acknowledged is older than
//! healing reaches back, so the second test has a memory of seconds.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::json;
use tidings_tests::audit::Audit;
use tidings_tests::audit::forks::Excuse;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::place::Place;
use tidings_tests::proxy::{Call, Proxy};
use tidings_tests::redis::Redis;
use tidings_tests::runner::Runner;
use tidings_tests::viewer::{Directory, Kind, Plan, Record, Viewers};

use crate::steps::{acknowledged, export, last_words, latecomers, log, logs, path, posted, quick};

/// Events that the old side takes after its primary's restart: enough for its janitor to write a checkpoint soon.
const OLD_SIDE: usize = 1_500;

/// The new side writes more, so that a viewer's count tells on which side it is.
const NEW_SIDE: usize = 2_500;

/// Sizes of batches.
const BATCHES: std::ops::Range<usize> = 1..200;

/// What stayed behind with the old primary.
struct OldSide {
    primary: Redis,
    /// Links of a gateway and of an ingest.
    links: [Proxy; 2],
}

impl OldSide {
    /// The second gateway and the second ingest stay with the primary; everybody else goes on with its replica.
    async fn split(cluster: &mut Cluster) -> OldSide {
        let ingest = cluster.links.pop().expect("a link for each service");
        let gateway = cluster.links.remove(1);
        let primary = cluster.redis.take().expect("there is one");
        cluster.fail_over().await;
        OldSide { primary, links: [gateway, ingest] }
    }

    /// The old primary follows the new one; who was with it is led to the new one, too.
    async fn rejoin(self, cluster: &mut Cluster) -> Redis {
        let port = cluster.redis().port().to_string();
        let _: String = self.primary.command(&["REPLICAOF", "127.0.0.1", &port]).await;
        let up = |info: &str| info.contains("master_link_status:up").then_some(());
        self.primary.info("the old primary follows", up).await;
        for link in self.links {
            link.leads_to(cluster.redis().port());
            cluster.links.push(link);
        }
        self.primary
    }
}

fn runner(cluster: &Cluster, name: &str, ingest: usize) -> Runner {
    let only = Directory::new(vec![cluster.ingests[ingest].address()]);
    Runner::new(name, PROJECT, only, cluster.ledger.clone())
}

/// Who watched the old side is told what that side took, or that its place means nothing any more; and nothing twice
/// without a mark.
fn assert_told_or_reset(record: &Record, cluster: &Cluster) {
    let reset = record.gaps.iter().find(|(_, gap)| gap.cause == "log_reset");
    let mut seen = HashMap::new();
    for told in &record.told {
        assert!(seen.insert(&told.id, told).is_none() || told.marked, "{:?}: {told:?} again", record.kind);
    }
    let missing = cluster.ledger.acknowledged().keys().filter(|id| !seen.contains_key(id)).count();
    println!("{:?} on the old side: reset {}, {missing} not told", record.kind, reset.is_some());
    assert!(missing == 0 || reset.is_some(), "{:?}: {missing} missing without a word", record.kind);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_split_are_told_once_when_the_old_primary_rejoins() {
    let plan = quick(Cluster::on_redis().durable().gateways(2).ingests(2).replicated());
    let mut cluster = plan.start().await;
    let at = |index: usize| Directory::new(vec![cluster.gateways[index].address()]);
    let (mut new_viewers, mut old_viewers) = (Viewers::new(at(0)), Viewers::new(at(1)));
    for kind in Kind::ALL {
        new_viewers.add(Plan::new(kind, PROJECT));
        old_viewers.add(Plan::new(kind, PROJECT));
    }
    runner(&cluster, "one", 0).post(30, BATCHES).await;
    runner(&cluster, "two", 1).post(30, BATCHES).await;
    let doomed = |index| {
        let id = format!("doomed-{index}");
        json!({"type": "session.started", "id": id, "session": "doomed", "data": {"title": "t"}})
    };
    let doomed: Vec<_> = (0..5).map(doomed).collect();
    cluster.ledger.enter(&posted(cluster.ingests[0].address(), &doomed).await);
    new_viewers.have_reached(cluster.ledger.last_n()).await;
    old_viewers.have_reached(cluster.ledger.last_n()).await;
    cluster.replicated().await;
    cluster.cut_replication();
    let deletion = http::delete(cluster.ingests[1].address(), &path("/sessions/doomed")).await.expect("ingest answers");
    assert_eq!(deletion.status, 200, "{}", deletion.text());

    let mut old = OldSide::split(&mut cluster).await;
    let (mut left, mut right) = (runner(&cluster, "old", 1), runner(&cluster, "new", 0));
    tokio::join!(left.post(200, BATCHES), right.post(200, BATCHES));
    old.primary.restart().await;
    // Whoever held the leases of before is on the other side, and would let them lapse.
    let freed = "for i = 0, 63 do redis.call('DEL', string.format('tidings:lease:%02d', i)) end return 'OK'";
    let _: String = old.primary.command(&["EVAL", freed, "0"]).await;
    let checkpoint = old.links[1].hold(Call::checkpoints);
    tokio::join!(left.post(OLD_SIDE, BATCHES), right.post(NEW_SIDE, BATCHES));
    let held = checkpoint.caught().await;
    let checkpoint_before: String = cluster.redis().command(&["HGET", "tidings:{hive}:meta", "checkpoint"]).await;
    let answer = held.deliver_to(cluster.redis().port()).await;
    assert!(answer.contains("moved"), "a checkpoint of the old side: {answer}");
    println!("the new side's checkpoint was at {checkpoint_before} when one of the old side was refused");

    let former = old.rejoin(&mut cluster).await;
    assert!(held.deliver_to(former.port()).await.starts_with("-READONLY"), "demoted, it takes none either");
    drop(checkpoint);
    let end = last_words(&cluster).await;
    let records = new_viewers.reach(end).await;
    Audit::across_forks(&records, &cluster.ledger, Excuse::None).assert_flawless("on the new side");
    for record in &old_viewers.reach(end).await {
        assert_told_or_reset(record, &cluster);
    }

    // What was deleted is deleted for everyone who comes now, and everything else is there.
    let rows = export(cluster.gateways[0].address()).await;
    let ids: HashSet<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    assert!(!ids.iter().any(|id| id.starts_with("doomed-")), "{ids:?}");
    let all = cluster.ledger.acknowledged().clone();
    let missing: Vec<_> = all.keys().filter(|id| !id.starts_with("doomed-") && !ids.contains(&***id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for record in latecomers(&cluster, end).await {
        assert!(record.gaps.iter().any(|(_, gap)| gap.cause == "deleted"), "{:?}", record.gaps);
        assert!(!record.told.iter().any(|told| told.id.starts_with("doomed-")));
    }
}

/// The old side writes for longer than its ingest remembers: what is older cannot be put back, and everybody is told
/// so.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_old_side_took_too_long_ago_is_told_as_lost_for_certain() {
    const MEMORY: Duration = Duration::from_secs(4);
    let plan = quick(Cluster::on_redis().gateways(2).ingests(2).replicated());
    let mut cluster = plan.set("TIDINGS_INGEST__HEALING_MS", MEMORY.as_millis()).start().await;
    let mut viewers = Viewers::new(Directory::new(vec![cluster.gateways[0].address()]));
    for kind in Kind::ALL {
        viewers.add(Plan::new(kind, PROJECT));
    }
    let [one, two] = [cluster.ingests[0].address(), cluster.ingests[1].address()];
    cluster.ledger.enter(&posted(one, &logs("one", 10)).await);
    cluster.ledger.enter(&posted(two, &logs("two", 10)).await);
    viewers.have_reached(cluster.ledger.last_n()).await;
    cluster.replicated().await;
    cluster.cut_replication();
    let old = OldSide::split(&mut cluster).await;
    let early = posted(two, &logs("early", 50)).await;
    // Time must pass: that is what is shown.
    tokio::time::sleep(MEMORY + Duration::from_secs(2)).await;
    let late = posted(two, &logs("late", 50)).await;
    cluster.ledger.enter(&late);
    // More than the old side, so that a viewer's count tells on which side it is.
    cluster.ledger.enter(&acknowledged(one, &logs("new", 200)).await);
    old.rejoin(&mut cluster).await;
    let end = last_words(&cluster).await;
    let last_lost: Place = early[49].position.parse().expect("a position");
    let mut records = viewers.reach(end).await;
    records.extend(latecomers(&cluster, end).await);
    Audit::across_forks(&records, &cluster.ledger, Excuse::None).assert_flawless("but for what is told as lost");
    for record in &records {
        let certain: Vec<_> = record.gaps.iter().filter(|(_, gap)| gap.cause == "failover" && gap.certain).collect();
        let [(_, gap)] = &certain[..] else { panic!("{:?}: not one certain loss: {:?}", record.kind, record.gaps) };
        assert_eq!((gap.before.branch, gap.before.n), (last_lost.branch, last_lost.n + 1), "right above the last");
        assert!(!record.told.iter().any(|told| told.id.starts_with("early-")));
    }
    // A retry of what was lost is new.
    let again = posted(one, &[log("early-0")]).await;
    assert_eq!(again[0].status, "appended");
}
