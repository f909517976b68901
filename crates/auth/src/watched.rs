//! A file that is read again when it changes. What is wrong in it is told, and what was read before stays.
//!
//! Contents are compared, not times: mounted Secrets are links that are swapped, and some clocks are coarse.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// Reads what a file holds; all that is wrong with it.
type Parse<T> = fn(&[u8]) -> Result<T, Vec<String>>;

/// A file, and what was last read of it.
pub struct Watched<T> {
    path: PathBuf,
    bytes_max: usize,
    parse: Parse<T>,
    current: ArcSwap<T>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// Contents, as last read; `Err`: it could not be read.
    contents: Result<Vec<u8>, String>,
    faults: Vec<String>,
}

/// What a look at the file found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    Unchanged,
    Changed,
    /// It changed for the worse.
    Faulty,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads it for the first time, which must succeed.
    pub fn open(path: PathBuf, bytes_max: usize, parse: Parse<T>) -> Result<Watched<T>, Vec<String>> {
        let contents = read(&path, bytes_max).map_err(|error| vec![error])?;
        let current = ArcSwap::from_pointee(parse(&contents)?);
        let seen = Mutex::new(Seen { contents: Ok(contents), faults: Vec::new() });
        Ok(Watched { path, bytes_max, parse, current, seen })
    }

    /// What it holds.
    pub fn get(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// What is wrong with the file as it is now.
    pub fn faults(&self) -> Vec<String> {
        self.seen.lock().faults.clone()
    }

    /// Looks whether it changed.
    pub(crate) async fn reload(&self) -> Reload {
        let (path, bytes_max) = (self.path.clone(), self.bytes_max);
        let read = tokio::task::spawn_blocking(move || read(&path, bytes_max)).await;
        let contents = read.unwrap_or_else(|_| Err("the read was broken off".to_owned()));
        let mut seen = self.seen.lock();
        if seen.contents == contents {
            return Reload::Unchanged;
        }
        let parsed = match &contents {
            Ok(contents) => (self.parse)(contents),
            Err(error) => Err(vec![error.clone()]),
        };
        seen.contents = contents;
        match parsed {
            Ok(value) => {
                seen.faults.clear();
                self.current.store(Arc::new(value));
                tracing::info!(path = %self.path.display(), "file read again");
                Reload::Changed
            }
            Err(faults) => {
                let told = faults.join("; ");
                tracing::warn!(path = %self.path.display(), faults = told, "file is faulty; what was read before stays");
                seen.faults = faults;
                Reload::Faulty
            }
        }
    }

    /// Looks again and again. Never ends.
    pub async fn keep(&self, every: std::time::Duration) {
        loop {
            tokio::time::sleep(every).await;
            self.reload().await;
        }
    }
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut contents = Vec::new();
        // One byte more than allowed tells that there is more.
        std::fs::File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut contents)?;
        Ok(contents)
    };
    let contents = read().map_err(|error| format!("cannot be read: {error}"))?;
    if contents.len() > bytes_max { Err(format!("has more than {bytes_max} bytes")) } else { Ok(contents) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> Result<u32, Vec<String>> {
        let text = str::from_utf8(bytes).map_err(|error| vec![error.to_string()])?;
        text.trim().parse().map_err(|_| vec!["not a number".to_owned(), "at all".to_owned()])
    }

    #[tokio::test]
    async fn a_change_is_seen_and_a_fault_keeps_what_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("number");
        std::fs::write(&path, "1").expect("written");
        let file = Watched::open(path.clone(), 16, number).expect("a good file");
        assert_eq!((file.reload().await, *file.get()), (Reload::Unchanged, 1));

        std::fs::write(&path, "2").expect("written");
        assert_eq!((file.reload().await, *file.get()), (Reload::Changed, 2));

        std::fs::write(&path, "two").expect("written");
        assert_eq!((file.reload().await, *file.get()), (Reload::Faulty, 2));
        assert_eq!(file.faults(), ["not a number", "at all"]);
        assert_eq!(file.reload().await, Reload::Unchanged, "a fault is told once");

        std::fs::write(&path, "x".repeat(17)).expect("written");
        assert_eq!((file.reload().await, *file.get()), (Reload::Faulty, 2));
        std::fs::remove_file(&path).expect("removed");
        assert_eq!((file.reload().await, *file.get()), (Reload::Faulty, 2));

        std::fs::write(&path, "3").expect("written");
        assert_eq!((file.reload().await, *file.get()), (Reload::Changed, 3));
        assert!(file.faults().is_empty());
    }

    #[test]
    fn a_file_must_be_good_at_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("number");
        assert!(Watched::open(path.clone(), 16, number).is_err());
        std::fs::write(&path, "x").expect("written");
        assert!(Watched::open(path, 16, number).is_err());
    }
}
