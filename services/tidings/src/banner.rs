//! The few lines that dev mode prints: where to look, how to post, how to stop.

use std::net::SocketAddr;

/// The lines for a server at these addresses; `is_tls`: viewers and runners reach it by TLS.
pub(crate) fn text(address: SocketAddr, admin: SocketAddr, is_tls: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    let version = env!("CARGO_PKG_VERSION");
    let event = r#"{"type":"log","session":"first","data":{"level":"info","message":"hello, swarm"}}"#;
    format!(
        "Tidings {version}, dev mode: in memory, open, for this machine only.

  watch    {scheme}://{address}/
  post     curl {scheme}://{address}/v1/projects/demo/events \\
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
        for (is_tls, scheme) in [(false, "http"), (true, "https")] {
            let text = text(([127, 0, 0, 1], 8123).into(), ([127, 0, 0, 1], 9000).into(), is_tls);
            let page = format!(" {scheme}://127.0.0.1:8123/\n");
            let events = format!("curl {scheme}://127.0.0.1:8123/v1/projects/demo/events");
            // The admin port never speaks TLS.
            for part in [&page, &events, " http://127.0.0.1:9000/readyz"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }
}
