//! Answers questions by HTTP: about health, and for figures.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use setup::Clock;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::health::Health;
use super::lead::Leading;
use super::metrics::Metrics;
use super::settings::Settings;

/// How many connections there are at most; further ones are closed at once.
const CONNECTIONS: usize = 32;
/// How long a question may take to arrive.
const QUESTION: Duration = Duration::from_secs(5);
/// How long a connection lasts at most.
const CONNECTION: Duration = Duration::from_secs(300);
/// How large a question may be, in bytes.
const SIZE: usize = 16 << 10;
/// How soon a port that was taken is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Why nothing is answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The port cannot be had.
    #[error("port {port} cannot be used for {what}: {error}. `ss -ltnp` shows who has it; {remedy}")]
    Bind {
        /// The port.
        port: u16,
        /// What it is for.
        what: &'static str,
        /// The system's words.
        error: std::io::Error,
        /// How another port is chosen.
        remedy: &'static str,
    },
}

/// What is asked about.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Answers `/readiness` and `/liveness`.
    pub health: Health,
    /// Answers `/metrics`, with whether this process leads; `None` where that is no page.
    pub figures: Option<(Metrics, Leading)>,
    /// Whether questions about health are answered.
    pub settings: watch::Receiver<Settings>,
    /// The process's clock.
    pub clock: Clock,
}

impl Pages {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered");
            answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let health = |found: Result<(), String>| match (self.settings.borrow().health_checks, found) {
            (false, _) => plain(StatusCode::NOT_FOUND, "health checks are disabled (healthChecks)"),
            (true, Ok(())) => plain(StatusCode::OK, "ok"),
            (true, Err(reason)) => plain(StatusCode::SERVICE_UNAVAILABLE, &reason),
        };
        match (path, &self.figures) {
            ("/readiness", _) => health(self.health.readiness()),
            ("/liveness", _) => health(self.health.liveness(self.clock.elapsed())),
            ("/metrics", Some((metrics, leading))) => {
                metrics.leader.set(i64::from(leading.is_leader()));
                match metrics.text() {
                    Ok(text) => of_type(StatusCode::OK, prometheus::TEXT_FORMAT, text.into()),
                    Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
                }
            }
            _ => plain(StatusCode::NOT_FOUND, "the pages are /metrics, /readiness and /liveness"),
        }
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    of_type(status, "text/plain; charset=utf-8", format!("{text}\n").into())
}

fn of_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}

/// A port on all addresses of this host, of both families where the host has both.
///
/// # Errors
/// The port cannot be had.
pub async fn bind(port: u16, what: &'static str, remedy: &'static str) -> Result<TcpListener, ServeError> {
    let both = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await;
    let listener = match both {
        // A host without IPv6.
        Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        answer => answer,
    };
    listener.map_err(|error| ServeError::Bind { port, what, error, remedy })
}

/// Answers on a port until it is dropped.
pub async fn serve(listener: TcpListener, pages: Pages) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // A connection that broke, or no more file descriptors: the latter lasts a while.
            Err(error) => {
                tracing::debug!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        let pages = pages.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let answer = pages.answer(request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(QUESTION)
                .max_buf_size(SIZE)
                .serve_connection(TokioIo::new(stream), answer);
            // What goes wrong with a connection is the other side's concern.
            let _ = tokio::time::timeout(CONNECTION, connection).await;
            drop(place);
        });
    }
}

/// Answers for figures on the port that the settings name, and moves when they name another.
pub async fn follow(mut settings: watch::Receiver<Settings>, pages: Pages) {
    loop {
        let port = settings.borrow_and_update().metrics_port;
        let answers = async {
            let Some(port) = port else { return std::future::pending().await };
            let remedy = "set prometheusMetricsPort of KubeControllersConfiguration default to another";
            let mut is_told = false;
            let listener = loop {
                match bind(port, "figures", remedy).await {
                    Ok(listener) => break listener,
                    // Addresses are given back all the same.
                    Err(error) if !is_told => tracing::warn!("{error}; it is tried again"),
                    Err(_) => {}
                }
                is_told = true;
                tokio::time::sleep(AGAIN).await;
            };
            serve(listener, pages.clone()).await;
        };
        let moves = async {
            loop {
                if settings.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                if settings.borrow_and_update().metrics_port != port {
                    return;
                }
            }
        };
        tokio::select! {
            () = answers => {}
            () = moves => {}
        }
    }
}
