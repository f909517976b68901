//! Figures of single projects within a bound: the busiest by name, all others as one.
//!
//! A project is named from the moment that it is among the busiest, and counts from zero then; what it did before counts for
//! `other`, so that nothing counts twice and no counter falls but by a new beginning. Traffic that is long gone weighs
//! little: half as much every `HALF_LIFE`. Memory is bounded by how many are named, whatever names come.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};
use tidings_protocol::project::Project;
use tokio::time::Instant;

/// The name under which all others are told. No project is called so that is told apart: it counts with them.
pub const OTHER: &str = "other";

/// In this time traffic loses half its weight.
const HALF_LIFE: Duration = Duration::from_mins(1);

/// Weights are taken anew after so many, so that they stay numbers although nobody asks.
const HALF_LIVES_MAX: f64 = 32.0;

/// So many candidates are kept for each that is named.
const CANDIDATES: usize = 4;

/// A project that is named stays so until another one is busier by this factor: names that come and go tell nobody anything.
const STAYS: f64 = 1.25;

/// `N` counters of each of the busiest projects, and of all others together. The first one says how busy a project is.
#[derive(Debug)]
pub struct Busiest<const N: usize> {
    named_max: usize,
    candidates: HashMap<Project, Candidate<N>>,
    others: [u64; N],
    /// When weights were last halved, in part.
    weighed_at: Instant,
}

#[derive(Debug)]
struct Candidate<const N: usize> {
    weight: f64,
    /// Since it is named; none: it is not.
    counts: Option<[u64; N]>,
}

impl<const N: usize> Candidate<N> {
    /// What decides who is named.
    fn rank(&self) -> f64 {
        if self.counts.is_some() { self.weight * STAYS } else { self.weight }
    }
}

impl<const N: usize> Busiest<N> {
    /// Nothing has happened yet; so many are named at most.
    pub fn new(named_max: usize) -> Busiest<N> {
        Busiest { named_max, candidates: HashMap::new(), others: [0; N], weighed_at: Instant::now() }
    }

    /// So much happened in a project.
    pub fn add(&mut self, project: &Project, counts: [u64; N]) {
        let is_new = !self.candidates.contains_key(project);
        let is_full = is_new && self.candidates.len() >= self.named_max * CANDIDATES * 2;
        if is_full || self.half_lives() > HALF_LIVES_MAX {
            self.choose();
        }
        // What comes later will be worth more than what was there when weights were taken.
        let weight = weight(&counts) * self.half_lives().exp2();
        if is_new {
            // Whoever finds a free place is named from the start.
            let named = self.candidates.len() < self.named_max && project.as_str() != OTHER;
            let candidate = Candidate { weight: 0.0, counts: named.then_some([0; N]) };
            self.candidates.insert(project.clone(), candidate);
        }
        let Some(known) = self.candidates.get_mut(project) else { return };
        known.weight += weight;
        let counter = known.counts.as_mut().unwrap_or(&mut self.others);
        for (counter, count) in counter.iter_mut().zip(counts) {
            *counter += count;
        }
    }

    /// So much happened in projects that are not told apart.
    pub fn add_others(&mut self, counts: [u64; N]) {
        for (counter, count) in self.others.iter_mut().zip(counts) {
            *counter += count;
        }
    }

    /// Chooses anew who is named, and tells of each what happened since it is; last of all the others.
    pub fn tell(&mut self) -> Vec<(String, [u64; N])> {
        self.choose();
        let named = self.candidates.iter().filter_map(|(project, known)| Some((project.to_string(), known.counts?)));
        let mut named: Vec<_> = named.collect();
        named.push((OTHER.to_owned(), self.others));
        named
    }

    /// Whether a project is told by its name.
    pub fn is_named(&self, project: &Project) -> bool {
        self.candidates.get(project).is_some_and(|known| known.counts.is_some())
    }

    /// How often weights were halved since they were taken.
    fn half_lives(&self) -> f64 {
        self.weighed_at.elapsed().as_secs_f64() / HALF_LIFE.as_secs_f64()
    }

    /// Halves weights as time has passed, forgets the least busy, and names the busiest.
    fn choose(&mut self) {
        let now = Instant::now();
        let passed = self.half_lives();
        self.weighed_at = now;
        let mut ranks: Vec<(Project, f64)> = Vec::with_capacity(self.candidates.len());
        for (project, known) in &mut self.candidates {
            known.weight *= (-passed).exp2();
            ranks.push((project.clone(), known.rank()));
        }
        ranks.sort_by(|(one, a), (other, b)| b.partial_cmp(a).unwrap_or(Ordering::Equal).then_with(|| one.cmp(other)));
        let nameable = |project: &Project| project.as_str() != OTHER;
        let mut places = self.named_max;
        for (index, (project, _)) in ranks.iter().enumerate() {
            let Some(known) = self.candidates.get_mut(project) else { continue };
            let named = places > 0 && nameable(project);
            places -= usize::from(named);
            if !named {
                known.counts = None;
            } else if known.counts.is_none() {
                known.counts = Some([0; N]);
            }
            if index >= self.named_max * CANDIDATES {
                self.candidates.remove(project);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a weight to sort by")]
fn weight<const N: usize>(counts: &[u64; N]) -> f64 {
    counts.first().map_or(0.0, |count| *count as f64)
}

/// A family of counters with the label `project`. Empty where the name is no metric's.
pub fn counters<'r>(name: &str, help: &str, rows: impl Iterator<Item = (&'r str, u64)>) -> Vec<MetricFamily> {
    let Ok(family) = IntCounterVec::new(Opts::new(name, help), &["project"]) else { return Vec::new() };
    for (project, count) in rows {
        family.with_label_values(&[project]).inc_by(count);
    }
    family.collect()
}

/// A family of gauges with the label `project`, and others if there are any.
pub fn gauges<'r, const L: usize>(
    name: &str,
    help: &str,
    labels: [&str; L],
    rows: impl Iterator<Item = ([&'r str; L], u64)>,
) -> Vec<MetricFamily> {
    let Ok(family) = IntGaugeVec::new(Opts::new(name, help), &labels) else { return Vec::new() };
    for (values, value) in rows {
        family.with_label_values(&values).add(i64::try_from(value).unwrap_or(i64::MAX));
    }
    family.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str) -> Project {
        name.parse().expect("a name")
    }

    fn told(busiest: &mut Busiest<2>) -> String {
        let mut told: Vec<String> =
            busiest.tell().into_iter().map(|(name, [a, b])| format!("{name}={a},{b}")).collect();
        told.sort();
        told.join(" ")
    }

    #[tokio::test(start_paused = true)]
    async fn the_busiest_are_named_from_when_they_are_and_nothing_counts_twice() {
        let mut busiest = Busiest::<2>::new(2);
        for name in ["a", "b", "c"] {
            busiest.add(&project(name), [10, 1]);
        }
        assert_eq!(told(&mut busiest), "a=10,1 b=10,1 other=10,1");
        busiest.add(&project("c"), [12, 2]);
        assert_eq!(told(&mut busiest), "a=10,1 c=0,0 other=22,3", "b is the least busy now");
        busiest.add(&project("c"), [5, 0]);
        busiest.add(&project("b"), [1, 0]);
        assert_eq!(told(&mut busiest), "a=10,1 c=5,0 other=23,3", "a stays although b is as busy");
        // What is long gone weighs little.
        tokio::time::advance(HALF_LIFE * 10).await;
        busiest.add(&project("b"), [1, 0]);
        assert_eq!(told(&mut busiest), "b=0,0 c=5,0 other=24,3");
        assert!(busiest.is_named(&project("b")) && !busiest.is_named(&project("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn where_none_may_be_named_all_are_told_together() {
        let mut busiest = Busiest::<2>::new(0);
        for name in ["a", "b", "a"] {
            busiest.add(&project(name), [10, 1]);
        }
        assert_eq!(told(&mut busiest), "other=30,3");
        assert!(!busiest.is_named(&project("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_of_names_takes_bounded_room() {
        let mut busiest = Busiest::<1>::new(3);
        busiest.add(&project("busy"), [1_000_000]);
        for n in 0..10_000 {
            busiest.add(&project(&format!("p{n}")), [1]);
            assert!(busiest.candidates.len() <= 3 * CANDIDATES * 2, "{}", busiest.candidates.len());
        }
        busiest.add(&project(OTHER), [5_000_000]);
        let told = busiest.tell();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told.contains(&("busy".into(), [1_000_000])), "{told:?}");
        let others = told.iter().filter(|(name, _)| name == OTHER).count();
        assert_eq!(others, 1, "a project of that name is among the others");
    }
}
