//! A collector of traces: takes OTLP over HTTP (protobuf) and keeps what it was sent.

use std::fmt::Write as _;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::wait::within;

/// A span as it was sent, ids in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Of the process: `service.name`, and one number for each of its connections to the collector.
    pub service: String,
    /// What was done.
    pub name: String,
    /// Its trace.
    pub trace: String,
    /// Itself.
    pub id: String,
    /// What it was part of.
    pub parent: String,
    /// Ids of spans that it links to.
    pub links: Vec<String>,
}

/// The collector.
#[derive(Debug)]
pub struct Collector {
    port: u16,
    kept: Arc<Kept>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Kept {
    spans: Mutex<Vec<Span>>,
    news: Notify,
}

impl Collector {
    /// Starts it on a free port.
    pub async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let kept = Arc::<Kept>::default();
        let taking = kept.clone();
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let kept = taking.clone();
                tokio::spawn(async move {
                    let _ = serve(socket, &kept).await;
                });
            }
        });
        Collector { port, kept, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Where services send to.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All spans, when they are as many of this name as wanted.
    pub async fn has(&self, name: &str, wanted: usize) -> Vec<Span> {
        within(&format!("{wanted} spans named {name}"), async {
            loop {
                let news = self.kept.news.notified();
                let spans = self.kept.spans.lock().clone();
                if spans.iter().filter(|span| span.name == name).count() >= wanted {
                    return spans;
                }
                news.await;
            }
        })
        .await
    }
}

async fn serve(socket: TcpStream, kept: &Kept) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let mut length = 0;
        let mut line = String::new();
        while socket.read_line(&mut line).await? > 0 && line != "\r\n" {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await?;
        let request = ExportTraceServiceRequest::decode(&*body).expect("spans");
        kept.spans.lock().extend(spans(request));
        kept.news.notify_waiters();
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
            .await?;
    }
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes all");
            hex
        })
    };
    let mut all = Vec::new();
    for of_service in request.resource_spans {
        let attributes = of_service.resource.unwrap_or_default().attributes;
        let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
        let service = match name.and_then(|name| name.value?.value) {
            Some(Value::StringValue(name)) => name,
            _ => String::new(),
        };
        for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            all.push(Span {
                service: service.clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
            });
        }
    }
    all
}
