//! The few lines that dev mode prints: where to look, how to post, how to stop.

use std::net::SocketAddr;

/// The lines for a server at these addresses.
pub(crate) fn text(address: SocketAddr, admin: SocketAddr) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let event = r#"{"type":"log","session":"first","data":{"level":"info","message":"hello, swarm"}}"#;
    format!(
        "Tidings {version}, dev mode: in memory, open, for this machine only.

  watch    http://{address}/
  post     curl http://{address}/v1/projects/demo/events \\
             -H 'content-type: application/json' \\
             -d '{event}'
  health   http://{admin}/readyz, /metrics
  stop     Ctrl-C (what was posted is forgotten then)

"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_name_the_addresses_in_use() {
        let text = text(([127, 0, 0, 1], 8123).into(), ([127, 0, 0, 1], 9000).into());
        for part in ["http://127.0.0.1:8123/\n", "http://127.0.0.1:8123/v1/projects/demo/events", "127.0.0.1:9000"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
