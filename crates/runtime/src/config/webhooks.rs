//! `[webhooks]`: how receivers are called.

use std::time::Duration;

use tidings_protocol::network::Networks;

use super::section::section;

section! {
    /// How ingests call the webhooks that projects set (docs/webhooks.md). `tidings dev` calls this machine, too, unless it is
    /// told which networks.
    "webhooks" => WebhooksConfig {
        /// Networks that are called beside public addresses, as in `10.0.0.0/8`, and the only ones that are called by `http`.
        /// Whoever may set a project's webhooks reaches what is in them. Where clouds keep credentials of machines
        /// (169.254.169.254 and its like) is never called.
        "allowed_networks" => allowed_networks: Networks = Networks::default();
        /// How long one call may take, from the look-up of the name to the end of the answer.
        "timeout_ms" => timeout: Duration = Duration::from_secs(10), within 100..=60_000;
        /// Calls that one ingest makes at a time, over all projects; more wait.
        "at_once" => at_once: usize = 256, within 1..=10_000;
    }
}

impl WebhooksConfig {
    /// This machine is called: for dev mode, which only this machine reaches.
    pub(super) fn dev() -> WebhooksConfig {
        let local = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network"));
        WebhooksConfig { allowed_networks: Networks(local.to_vec()), ..WebhooksConfig::default() }
    }
}
