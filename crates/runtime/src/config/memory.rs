//! How much memory this process may have: the control group's limit where there is one, else the machine's.

use std::path::Path;

/// What is taken for the limit where nothing can be read.
const UNKNOWN_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;

/// A quarter of the memory limit, in bytes.
pub(super) fn quarter_of_limit() -> usize {
    usize::try_from(limit_bytes(Path::new("/")) / 4).unwrap_or(usize::MAX)
}

/// Nine tenths of the memory limit, in bytes.
pub(super) fn nine_tenths_of_limit() -> usize {
    usize::try_from(limit_bytes(Path::new("/")) / 10 * 9).unwrap_or(usize::MAX)
}

/// The limit as found below `root`.
fn limit_bytes(root: &Path) -> u64 {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let group = ["sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .filter_map(|path| read(path)?.trim().parse().ok());
    let machine = read("proc/meminfo").and_then(|text| machine_bytes(&text));
    // A group without a limit says `max`, or a number that no machine has.
    group.chain(machine).min().unwrap_or(UNKNOWN_LIMIT_BYTES)
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: u64) {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("its folder");
            std::fs::write(path, text).expect("the file");
        }
        assert_eq!(limit_bytes(root.path()), expected, "{files:?}");
    }

    #[test]
    fn the_lowest_limit_counts() {
        let machine = ("proc/meminfo", "MemTotal:       2048 kB\nMemFree:        1 kB\n");
        check(&[], UNKNOWN_LIMIT_BYTES);
        check(&[machine], 2_097_152);
        check(&[machine, ("sys/fs/cgroup/memory.max", "1048576\n")], 1_048_576);
        check(&[machine, ("sys/fs/cgroup/memory.max", "max\n")], 2_097_152);
        check(&[machine, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], 2_097_152);
    }
}
