//! What the tools show a server that asks who they are.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

/// The flag of every tool that talks to a server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Token {
    /// The token or API key to show, where the server asks for one
    #[arg(long, value_name = "TOKEN", env = "TIDINGS_TOKEN", hide_env_values = true)]
    token: Option<Shown>,
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

impl Token {
    /// What each request carries.
    pub(super) fn headers(&self) -> HeaderMap {
        self.token.iter().map(|Shown(value)| (AUTHORIZATION, value.clone())).collect()
    }
}
