//! What passes between a tool and a server before the first request: who we say we are, and by what we know the server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, ClientBuilder};

use super::Address;

/// Flags of every tool that talks to a server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Access {
    /// The token or API key to show, where the server asks for one
    #[arg(long, value_name = "TOKEN", env = "TIDINGS_TOKEN", hide_env_values = true)]
    token: Option<Shown>,
    /// Who signs the certificates of https addresses, a PEM file; without this, the system's authorities
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// A credential that fits into a header. Its text is never printed.
#[derive(Clone)]
struct Shown(HeaderValue);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl FromStr for Shown {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Shown, &'static str> {
        let text = text.trim();
        let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let value = HeaderValue::from_str(&format!("Bearer {text}")).ok().filter(|_| visible);
        let mut value = value.ok_or("expected a token, without spaces")?;
        value.set_sensitive(true);
        Ok(Shown(value))
    }
}

impl Access {
    /// What each request carries.
    pub(super) fn headers(&self) -> HeaderMap {
        self.token.iter().map(|Shown(value)| (AUTHORIZATION, value.clone())).collect()
    }

    /// Who may have signed the server's certificate.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no certificate.
    pub(super) fn trusting(&self, address: &Address, builder: ClientBuilder) -> anyhow::Result<ClientBuilder> {
        match &self.ca {
            Some(file) => Ok(builder.tls_certs_only(authorities(file)?)),
            // The system's are not even looked for: a container without any has nothing to say of a plain connection.
            None if !address.is_tls() => Ok(builder.tls_certs_only([])),
            None => Ok(builder),
        }
    }
}

fn authorities(file: &Path) -> anyhow::Result<Vec<Certificate>> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let found = Certificate::from_pem_bundle(&text).ok().filter(|found| !found.is_empty());
    found.with_context(|| format!("{} holds no certificate in PEM", file.display()))
}
