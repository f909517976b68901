//! The live page at `/`: static files that are part of the binary.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};
use tidings_protocol::codes::ErrorCode;
use tidings_runtime::http::problem::Refused;

#[derive(RustEmbed)]
#[folder = "../../console"]
struct Console;

/// Nothing but the page's own files may run, and only this server is talked to.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
);

/// The page, and a route for each of its files.
pub(crate) fn router() -> Router {
    let index = get(|headers: HeaderMap| async move { serve("index.html", &headers) });
    Console::iter().fold(Router::new().route("/", index), |router, path| {
        let file = path.clone();
        router.route(&format!("/{path}"), get(async move |headers: HeaderMap| serve(&file, &headers)))
    })
}

fn serve(path: &str, headers: &HeaderMap) -> Result<Response, Refused> {
    let file = Console::get(path).ok_or_else(|| Refused::new(ErrorCode::NotFound, "no such file"))?;
    let tag = tag(&file);
    let mut response = if headers.get(header::IF_NONE_MATCH) == Some(&tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = HeaderValue::from_str(file.metadata.mimetype()).unwrap_or(HeaderValue::from_static("text/plain"));
        ([(header::CONTENT_TYPE, kind)], file.data.into_owned()).into_response()
    };
    let answer = response.headers_mut();
    answer.insert(header::ETAG, tag);
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    answer.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    answer.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

fn tag(file: &EmbeddedFile) -> HeaderValue {
    use std::fmt::Write as _;
    let hash = file.metadata.sha256_hash();
    let mut tag = String::from("\"");
    for byte in &hash[..12] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    HeaderValue::from_str(&tag).expect("hexadecimal digits are visible ASCII")
}
