//! The folder of the examples, and its programs as they are started.

use std::path::{Path, PathBuf};
use std::process::Command;

use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::process::Process;
use tidings_tests::tokens::token;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}

/// The line of examples/README.md that starts this program: what is documented is what runs.
fn line_of(program: &str) -> Vec<String> {
    let guide = std::fs::read_to_string(root().join("examples/README.md")).expect("there is a guide");
    let blocks = guide.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let line = blocks.flat_map(str::lines).find(|line| line.contains(&format!(" examples/{program} ")));
    let line = line.unwrap_or_else(|| panic!("examples/README.md does not say how to start {program}"));
    line.split_whitespace().map(str::to_owned).collect()
}

/// Starts an example in the test's project, with more arguments and variables.
pub(crate) fn start(program: &str, cluster: &Cluster, more: &[&str], variables: &[(&str, String)]) -> Process {
    let line = line_of(program);
    let [interpreter, script, _project, ..] = &line[..] else { panic!("{line:?}: no interpreter, script, project") };
    let own = interpreter.contains('/').then(|| root().join(interpreter));
    if let Some(own) = own.as_ref().filter(|own| !own.exists()) {
        panic!("{} is not there: `scripts/setup test` installs it", own.display());
    }
    let mut command = Command::new(own.unwrap_or_else(|| interpreter.into()));
    command.args([script, PROJECT]).args(more).current_dir(root());
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
    command.env("TIDINGS_URL", format!("http://{}", cluster.ingests[0].address()));
    command.env("TIDINGS_TOKEN", token("runner", PROJECT, "publish work"));
    command.envs(variables.iter().cloned());
    Process::start(program, command)
}
