//! `tidings token mint`: makes a token from the secret that the services share, for the smallest set-up.

#![expect(clippy::doc_markdown, reason = "the doc comments are what --help prints")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tidings_auth::{Minting, unix_now};
use tidings_protocol::grant::{ProjectPattern, Scope};
use tidings_runtime::config::{AuthConfig, Sources};

/// What `tidings token` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Print a token, signed with the secret in TIDINGS_AUTH__SECRET or the configuration
    Mint(Flags),
}

/// What the token shall say.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// For which projects, with commas between: `team-*` is every one whose name begins so, `*` every one
    #[arg(long, value_name = "PROJECTS", required = true, value_delimiter = ',')]
    project: Vec<ProjectPattern>,
    /// What may be done there: read, publish, work, command, approve, admin
    #[arg(long, required = true, value_delimiter = ',')]
    scopes: Vec<Scope>,
    /// The user that it is for; without this it is nobody's, and memberships do not count
    #[arg(long)]
    user: Option<String>,
    /// How long it is good: 45s, 30m, 12h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
    /// The configuration, a TOML file; the variable TIDINGS_CONFIG may name it, too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Flags {
    /// Where the secret is.
    pub(crate) fn sources(&self) -> Sources {
        crate::cli::sources(self.config.as_ref())
    }
}

/// The token.
pub(crate) fn mint(flags: &Flags, auth: &AuthConfig) -> anyhow::Result<String> {
    let secret = auth.secret.as_ref().context(
        "there is no secret to sign with: set TIDINGS_AUTH__SECRET, for the services as well, to at least 32 bytes, \
         as `openssl rand -hex 32` prints them",
    )?;
    let minted = auth.minting().context("the configuration has claims elsewhere than this command puts them")?;
    if let Some(most) = minted.ttl_max.filter(|most| *most < flags.ttl) {
        anyhow::bail!("the services take no token that is good for longer than {} s", most.as_secs());
    }
    let minting = Minting {
        user: flags.user.clone(),
        projects: flags.project.clone(),
        scopes: flags.scopes.iter().copied().collect(),
        ttl: flags.ttl,
        issuer: minted.issuer,
        audience: minted.audience,
    };
    Ok(minting.token(secret, unix_now())?)
}

/// Reads a time with its unit.
fn ttl(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = digits.parse::<u64>().ok().zip(unit).and_then(|(count, unit)| count.checked_mul(unit));
    let seconds = seconds.filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| "expected a time as in 45s, 30m, 12h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        let check =
            |text: &str, seconds: Option<u64>| assert_eq!(ttl(text).ok(), seconds.map(Duration::from_secs), "{text}");
        check("45s", Some(45));
        check("30m", Some(1_800));
        check("12h", Some(43_200));
        check("7d", Some(604_800));
        for wrong in ["", "5", "h", "0s", "-1h", "1.5h", "1w", "18446744073709551615d"] {
            check(wrong, None);
        }
    }
}
