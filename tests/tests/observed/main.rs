//! What an operator sees: every metric is documented and bounded, and every query of the dashboards and rules is answered by a
//! real Prometheus that watches real services.

mod alerts;
mod dashboards;
mod exposition;
mod families;
mod prometheus;
mod rules;

use std::path::PathBuf;
use std::process::Command;

/// A path in the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A file of the repository.
fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a tool in the repository.
///
/// # Panics
/// When it is not there or fails, with what it said.
fn run(program: &str, arguments: &[&str]) {
    let ran = Command::new(program).args(arguments).current_dir(repository("")).output();
    let ran = ran.unwrap_or_else(|error| panic!("cannot run {program} (`make setup` installs it): {error}"));
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&said));
}
