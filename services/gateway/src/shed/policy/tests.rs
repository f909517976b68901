//! One machine by itself, and fleets of them behind balancers of different kinds.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidings_broker::fleet::Carried;

use super::*;

const LEASE_MS: u64 = 15_000;
const ROUND_MS: u64 = 2_000;

fn settings() -> Settings {
    Settings {
        per_second: 5,
        tolerance_percent: 25,
        excess_min: 50,
        lease: Duration::from_millis(LEASE_MS),
        round: Duration::from_millis(ROUND_MS),
    }
}

/// What `a` (the gateway of the test) and others carry.
fn told(own: u64, others: &[u64]) -> Reported {
    let carried = |(index, viewers): (usize, &u64)| Carried {
        gateway: format!("b{index}").into(),
        viewers: *viewers,
        age_ms: ROUND_MS,
    };
    let own = Carried { gateway: "a".into(), viewers: own, age_ms: 0 };
    Reported { lapsed: false, gateways: [own].into_iter().chain(others.iter().enumerate().map(carried)).collect() }
}

/// A gateway that was told the same every round up to `until_ms`.
fn settled(settings: &Settings, own: u64, others: &[u64], until_ms: u64) -> Policy {
    let mut policy = Policy::new(settings, "a".into());
    for now_ms in (0..=until_ms).step_by(usize::try_from(ROUND_MS).expect("small")) {
        policy.on_told(now_ms, own, &told(own, others));
    }
    policy
}

/// How many are sent on at first, once all has settled.
fn check(own: u64, others: &[u64], expected: u64) {
    let mut policy = settled(&settings(), own, others, 2 * LEASE_MS);
    let step = policy.step(2 * LEASE_MS, own, 1_000);
    let count = if let Step::Shed { count, before: 1_000, begins: true, .. } = step { count } else { 0 };
    assert_eq!(count, expected, "{own} beside {others:?}: {step:?}");
}

#[test]
fn only_who_is_far_above_the_mean_sheds() {
    check(300, &[300, 0], 5);
    check(300, &[300, 300], 0);
    check(1_000, &[], 0);
    check(0, &[1_000], 0);
    check(250, &[150], 0); // exactly the tolerance
    check(300, &[178], 5); // a mean of 239
    check(100, &[1], 0); // too few to be worth it
    check(102, &[1], 5);
    check(u64::MAX, &[u64::MAX], 0);
}

#[test]
fn a_bout_goes_on_to_half_the_tolerance_and_no_further() {
    let mut policy = settled(&settings(), 300, &[300, 0], 2 * LEASE_MS);
    let now_ms = 2 * LEASE_MS;
    assert!(matches!(policy.step(now_ms, 300, 7), Step::Shed { count: 5, before: 7, mean: 200, begins: true }));
    // Those who come meanwhile have higher numbers: they are not among those that may be sent on.
    assert!(matches!(policy.step(now_ms, 295, 99), Step::Shed { count: 5, before: 7, begins: false, .. }));
    policy.on_told(now_ms, 228, &told(228, &[228, 144]));
    assert!(matches!(policy.step(now_ms, 228, 99), Step::Shed { count: 3, .. }), "225 may stay");
    assert_eq!(policy.step(now_ms, 225, 99), Step::Even { mean: 200 });
    assert_eq!(policy.step(now_ms, 250, 99), Step::Rest);
}

#[test]
fn between_two_bouts_is_a_pause() {
    let mut policy = settled(&settings(), 300, &[300, 0], 2 * LEASE_MS);
    let start_ms = 2 * LEASE_MS;
    assert!(matches!(policy.step(start_ms, 300, 7), Step::Shed { .. }));
    assert!(matches!(policy.step(start_ms, 200, 7), Step::Even { .. }));
    let mut begun_ms = Vec::new();
    for now_ms in (start_ms..20 * LEASE_MS).step_by(1_000) {
        policy.on_told(now_ms, 300, &told(300, &[300, 0]));
        if let Step::Shed { begins: true, .. } = policy.step(now_ms, 300, 7) {
            begun_ms.push(now_ms - start_ms);
            // Everybody who may go has gone, and as many are back.
            policy.on_exhausted(now_ms);
        }
    }
    let pause_ms = PAUSE_LEASES * LEASE_MS;
    assert_eq!(begun_ms, [pause_ms, 3 * pause_ms, 7 * pause_ms], "each pause is twice the one before");
}

/// Something happens at this time.
type Doubt = fn(&mut Policy, u64);

#[test]
fn nothing_is_shed_while_in_doubt() {
    let at = 2 * LEASE_MS;
    let sheds = |policy: &mut Policy, now_ms| matches!(policy.step(now_ms, 300, 7), Step::Shed { .. });
    let settled = || settled(&settings(), 300, &[300, 0], at);
    assert!(sheds(&mut settled(), at));
    assert!(!sheds(&mut settled(), at + FRESH_ROUNDS * ROUND_MS + 1), "nothing was heard for long");
    let doubts: [(&str, Doubt); 6] = [
        ("a call failed", |policy, at| policy.on_failed(at)),
        ("the store lost our lease", |policy, at| {
            policy.on_told(at, 300, &Reported { lapsed: true, ..told(300, &[300, 0]) });
        }),
        ("a gateway came", |policy, at| policy.on_told(at, 300, &told(300, &[300, 0, 0]))),
        ("a gateway went", |policy, at| policy.on_told(at, 300, &told(300, &[0]))),
        ("a gateway is silent", |policy, at| {
            let mut told = told(300, &[300, 0]);
            told.gateways[1].age_ms = FRESH_ROUNDS * ROUND_MS + 1;
            policy.on_told(at, 300, &told);
        }),
        ("nobody is on the roll", |policy, at| policy.on_told(at, 300, &Reported::default())),
    ];
    for (what, doubt) in doubts {
        let mut policy = settled();
        doubt(&mut policy, at);
        assert!(!sheds(&mut policy, at), "{what}");
        assert!(!sheds(&mut policy, at + LEASE_MS - 1), "{what}");
    }
    let mut started = Policy::new(&settings(), "a".into());
    started.on_told(0, 300, &told(300, &[300, 0]));
    started.on_told(LEASE_MS - 1, 300, &told(300, &[300, 0]));
    assert!(!sheds(&mut started, LEASE_MS - 1), "it has just started");
}

#[test]
fn a_rate_of_nothing_sheds_nobody() {
    let off = Settings { per_second: 0, ..settings() };
    assert_eq!(settled(&off, 1_000, &[0], 2 * LEASE_MS).step(2 * LEASE_MS, 1_000, 7), Step::Rest);
}

#[test]
fn who_is_far_above_for_a_moment_only_sheds_nobody() {
    let mut policy = settled(&settings(), 200, &[200, 200], 2 * LEASE_MS);
    let at = 2 * LEASE_MS;
    policy.on_told(at, 300, &told(300, &[150, 150]));
    assert_eq!(policy.step(at, 300, 7), Step::Rest);
    policy.on_told(at + LEASE_MS - 1, 300, &told(300, &[150, 150]));
    assert_eq!(policy.step(at + LEASE_MS - 1, 300, 7), Step::Rest);
    policy.on_told(at + LEASE_MS, 300, &told(300, &[150, 150]));
    assert!(matches!(policy.step(at + LEASE_MS, 300, 7), Step::Shed { .. }));
}

/// Where a viewer comes that connects.
#[derive(Debug, Clone, Copy)]
enum Balancer {
    /// To one after the other.
    RoundRobin,
    /// Anywhere.
    Random,
    /// Where it was.
    Sticky,
}

/// Gateways behind a balancer, by a clock of whole seconds.
struct World {
    balancer: Balancer,
    random: StdRng,
    now_ms: u64,
    turn: usize,
    gateways: Vec<Gateway>,
    /// How often each viewer was sent on.
    sent_on: BTreeMap<u64, u64>,
}

struct Gateway {
    policy: Policy,
    /// Viewers by their number here.
    viewers: BTreeMap<u64, u64>,
    next: u64,
    said: Carried,
}

impl World {
    /// These many viewers on each gateway.
    fn new(settings: &Settings, viewers: &[u64], balancer: Balancer) -> World {
        let mut world = World {
            balancer,
            random: StdRng::seed_from_u64(7),
            now_ms: 0,
            turn: 0,
            gateways: Vec::new(),
            sent_on: BTreeMap::new(),
        };
        for count in viewers {
            world.start(settings);
            for _ in 0..*count {
                let viewer = world.sent_on.len() as u64;
                world.sent_on.insert(viewer, 0);
                world.gateways.last_mut().expect("it was started").enter(viewer);
            }
        }
        world
    }

    fn start(&mut self, settings: &Settings) {
        let name: Arc<str> = format!("g{:03}", self.gateways.len()).into();
        let mut policy = Policy::new(settings, Arc::clone(&name));
        policy.quiet_until_ms += self.now_ms;
        let said = Carried { gateway: name, viewers: 0, age_ms: 0 };
        self.gateways.push(Gateway { policy, viewers: BTreeMap::new(), next: 0, said });
    }

    fn second(&mut self) {
        if self.now_ms.is_multiple_of(ROUND_MS) {
            for index in 0..self.gateways.len() {
                let own = self.gateways[index].viewers.len() as u64;
                self.gateways[index].said.viewers = own;
                let gateways = self.gateways.iter().map(|gateway| gateway.said.clone()).collect();
                let told = Reported { lapsed: false, gateways };
                self.gateways[index].policy.on_told(self.now_ms, own, &told);
            }
        }
        let mut leaving = Vec::new();
        for (index, gateway) in self.gateways.iter_mut().enumerate() {
            leaving.extend(gateway.tick(self.now_ms).into_iter().map(|viewer| (index, viewer)));
        }
        for (from, viewer) in leaving {
            *self.sent_on.get_mut(&viewer).expect("it is known") += 1;
            self.turn += 1;
            let to = match self.balancer {
                Balancer::RoundRobin => self.turn % self.gateways.len(),
                Balancer::Random => self.random.random_range(0..self.gateways.len()),
                Balancer::Sticky => from,
            };
            self.gateways[to].enter(viewer);
        }
        self.now_ms += 1_000;
    }

    fn run(&mut self, seconds: u64) {
        (0..seconds).for_each(|_| self.second());
    }

    fn counts(&self) -> Vec<u64> {
        self.gateways.iter().map(|gateway| gateway.viewers.len() as u64).collect()
    }

    fn sent_on(&self) -> u64 {
        self.sent_on.values().sum()
    }

    fn sent_on_most(&self) -> u64 {
        self.sent_on.values().copied().max().unwrap_or(0)
    }
}

impl Gateway {
    fn enter(&mut self, viewer: u64) {
        self.viewers.insert(self.next, viewer);
        self.next += 1;
    }

    fn tick(&mut self, now_ms: u64) -> Vec<u64> {
        let Step::Shed { count, before, .. } = self.policy.step(now_ms, self.viewers.len() as u64, self.next) else {
            return Vec::new();
        };
        let numbers = self.viewers.range(..before).take(usize::try_from(count).expect("small"));
        let numbers: Vec<u64> = numbers.map(|(number, _)| *number).collect();
        if (numbers.len() as u64) < count {
            self.policy.on_exhausted(now_ms);
        }
        numbers.iter().filter_map(|number| self.viewers.remove(number)).collect()
    }
}

#[test]
fn a_fleet_evens_out_and_then_it_stops() {
    for balancer in [Balancer::RoundRobin, Balancer::Random] {
        for viewers in [&[300, 300, 0][..], &[5_000, 0], &[1_000, 1_000, 1_000, 0, 0], &[400, 100, 700, 0, 90, 2_000]] {
            let mut world = World::new(&settings(), viewers, balancer);
            world.run(3_600);
            let (counts, sent_on) = (world.counts(), world.sent_on());
            let mean = viewers.iter().sum::<u64>() / viewers.len() as u64;
            let most = *counts.iter().max().expect("some");
            assert!(most * 100 <= mean * 125 || most < mean + 50, "{balancer:?}: {viewers:?} became {counts:?}");
            assert!(world.sent_on_most() <= 2, "{balancer:?}: {viewers:?}: {}", world.sent_on_most());
            world.run(3_600);
            assert_eq!((world.counts(), world.sent_on()), (counts, sent_on), "{balancer:?}: {viewers:?}: it goes on");
        }
    }
}

#[test]
fn two_gateways_never_play_ping_pong() {
    for seed in 0..20 {
        let mut world = World::new(&settings(), &[260, 140], Balancer::Random);
        world.random = StdRng::seed_from_u64(seed);
        world.run(4 * 3_600);
        assert!(world.sent_on() <= 200, "seed {seed}: {} for {:?}", world.sent_on(), world.counts());
    }
}

#[test]
fn a_balancer_that_is_sticky_is_given_up() {
    let mut world = World::new(&settings(), &[300, 300, 0], Balancer::Sticky);
    world.run(24 * 3_600);
    assert_eq!(world.counts(), [300, 300, 0]);
    // Pauses of 1, 2, 4 .. 32 minutes, and then one every hour.
    assert!((10..=32).contains(&world.sent_on_most()), "{} times in a day", world.sent_on_most());
}

#[test]
fn gateways_that_come_get_their_part() {
    let mut world = World::new(&settings(), &[800, 800], Balancer::RoundRobin);
    world.run(600);
    assert_eq!(world.sent_on(), 0);
    for _ in 0..2 {
        world.start(&settings());
    }
    world.run(3_600);
    let counts = world.counts();
    assert!(counts.iter().all(|count| (300..=500).contains(count)), "{counts:?}");
}
