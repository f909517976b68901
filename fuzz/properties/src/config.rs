//! Configuration: a file and an environment.

use std::cell::LazyCell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use tidings_runtime::config::{Config, Faults, Loaded, Sources};
// What the source of clients' addresses expects of its crate.
pub(crate) use tidings_runtime::config::{ForwardedHeader, Networks};

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

static FILES: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// Where this thread's file is.
    static FILE: LazyCell<PathBuf> = LazyCell::new(|| {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("tidings-properties-{}-{number}.toml", std::process::id()))
    });
}

/// A configuration is sound, or all its faults are named. One that is sound is the same when it is read again as it is
/// shown. Behind a zero byte the input holds the environment's variables, a line each.
pub(crate) fn config(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let variables = data.get(end + 1..).unwrap_or_default();
    let environment = variables.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        // The one variable that would read another file.
        let ours = line[..at].starts_with(b"TIDINGS_") && &line[..at] != b"TIDINGS_CONFIG";
        ours.then(|| (OsString::from_vec(line[..at].to_vec()), OsString::from_vec(line[at + 1..].to_vec())))
    });
    let loaded = match load(&data[..end], environment.collect()) {
        Ok(loaded) => loaded,
        Err(faults) => {
            assert!(!faults.0.is_empty() && !faults.to_string().is_empty());
            return;
        }
    };
    let shown = loaded.show();
    if shown.contains(REDACTED) {
        return;
    }
    let again = load(shown.as_bytes(), Vec::new()).unwrap_or_else(|faults| panic!("{faults}\n{shown}"));
    assert_eq!(again.config, loaded.config);
}

fn load(file: &[u8], environment: Vec<(OsString, OsString)>) -> Result<Loaded, Faults> {
    FILE.with(|path| {
        std::fs::write(&**path, file).expect("the folder for temporary files can be written to");
        let loaded = Config::load(&Sources { file: Some(PathBuf::clone(path)), environment, flags: Vec::new() });
        std::fs::remove_file(&**path).expect("it was just written");
        loaded
    })
}
