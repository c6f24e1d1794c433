//! Readiness gates: URLs that must answer before a container is attached.

use std::time::Duration;

use cni::CniError;
use cni::log::Level;
use http::Uri;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use store::Store;

use crate::request::Request;

/// How long to wait between two questions to a gate, and for how long a gate is asked at most
/// (`cni-plugin/pkg/plugin/plugin.go`).
const INTERVAL: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until every gate of the configuration answers with success.
///
/// # Errors
/// Code 999 where a gate's URL is of a kind that cannot be asked, or a gate did not answer with success in
/// time.
pub async fn wait(request: &Request<'_, impl Store>) -> Result<(), CniError> {
    let gates: Result<Vec<_>, _> =
        request.ask.conf.texts(&["readiness_gates"]).into_iter().map(url).collect();
    for gate in gates? {
        wait_for(request, &gate).await?;
    }
    Ok(())
}

fn url(gate: &str) -> Result<Uri, CniError> {
    let wrong = |reason: &dyn std::fmt::Display| {
        let shown = setup::shown_urls(gate).join(",");
        CniError::internal(format!("invalid URL set for ReadinessGates:{shown} Error:{reason}"))
    };
    let url: Uri = gate.parse().map_err(|error: http::uri::InvalidUri| wrong(&error))?;
    match url.scheme_str() {
        Some("http" | "https") => Ok(url),
        Some(other) => Err(wrong(&format_args!("{other} cannot be asked, only http and https"))),
        None => Err(wrong(&"it is no URL: it must begin with http:// or https://")),
    }
}

async fn wait_for(request: &Request<'_, impl Store>, url: &Uri) -> Result<(), CniError> {
    let shown = setup::shown_urls(&url.to_string()).join(",");
    let end = request.site.clock.elapsed() + PATIENCE;
    loop {
        let reason = match tokio::time::timeout(INTERVAL, ask(url.clone())).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => "no answer".to_string(),
        };
        request.log.say(Level::Error, format!("the readiness gate {shown} is not ready: {reason}"));
        if request.site.clock.elapsed() + INTERVAL > end {
            return Err(CniError::internal(format!(
                "the readiness gate {shown} was not ready within {PATIENCE:?}: {reason}"
            )));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn ask(url: Uri) -> Result<(), String> {
    let client = Client::builder(TokioExecutor::new());
    let answer = if url.scheme_str() == Some("https") {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| format!("the system's certificates cannot be read: {error}"))?;
        let connector = connector.https_only().enable_http1().build();
        client.build::<_, Empty<Bytes>>(connector).get(url).await
    } else {
        client.build_http::<Empty<Bytes>>().get(url).await
    };
    let code = answer.map_err(|error| reasons(&error))?.status().as_u16();
    if (200..400).contains(&code) { Ok(()) } else { Err(format!("it answers {code}")) }
}

/// An error with its causes: the client's own message says only that it cannot connect.
fn reasons(error: &dyn std::error::Error) -> String {
    let deeper = std::iter::successors(error.source(), |error| error.source());
    deeper.fold(error.to_string(), |all, error| format!("{all}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in ["http://127.0.0.1:9099/readiness", "https://node.example/"] {
            assert!(url(good).is_ok(), "{good}");
        }
        for (wrong, reason) in [
            ("http://node/x y", "invalid uri character"),
            ("localhost:9099", "begin with http://"),
            ("/readiness", "begin with http://"),
            ("ftp://x/", "ftp cannot be asked"),
            ("", "empty"),
        ] {
            let msg = url(wrong).unwrap_err().msg;
            assert!(msg.starts_with("invalid URL set for ReadinessGates:") && msg.contains(reason), "{msg}");
        }
    }
}
