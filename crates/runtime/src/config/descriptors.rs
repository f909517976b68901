//! How many sockets this process may have open.

/// Connections where descriptors are plenty.
const CONNECTIONS_USUAL: usize = 65_536;

/// Connections that this process has descriptors for, and some to spare: those of refusals, of the store, of files.
pub(super) fn connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    soft_limit(&limits).map_or(CONNECTIONS_USUAL, |limit| (limit / 4 * 3).clamp(1, CONNECTIONS_USUAL))
}

/// The soft limit in the text of `/proc/self/limits`; none: there is no such limit.
fn soft_limit(limits: &str) -> Option<usize> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let text = "Limit    Soft Limit   Hard Limit   Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit("Max open files            unlimited            unlimited            files"), None);
        assert_eq!(soft_limit(""), None);
        assert!(connections() >= 1);
    }
}
