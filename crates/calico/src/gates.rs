//! Readiness gates: URLs that must answer before a container is attached.

use std::time::Duration;

use cni::CniError;
use cni::log::Level;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::request::Request;

/// How often a gate is asked, and how long in all (`cni-plugin/pkg/plugin/plugin.go`).
const INTERVAL: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until every gate of the configuration answers well.
///
/// # Errors
/// Code 999: a gate is no URL of a kind that can be asked, or did not answer well in time.
pub fn wait(request: &mut Request<'_>) -> Result<(), CniError> {
    let gates: Vec<String> =
        request.conf.texts(&["readiness_gates"]).into_iter().map(str::to_string).collect();
    for gate in gates {
        let url: http::Uri = gate.parse().map_err(|error| {
            CniError::internal(format!("invalid URL set for ReadinessGates:{gate} Error:{error}"))
        })?;
        if url.scheme_str() != Some("http") {
            return Err(CniError::internal(format!(
                "readiness_gates holds {gate}: only http URLs can be asked"
            )));
        }
        wait_for(request, &url)?;
    }
    Ok(())
}

fn wait_for(request: &mut Request<'_>, url: &http::Uri) -> Result<(), CniError> {
    let end = request.clock.elapsed() + PATIENCE;
    loop {
        let reason = match request.wait_for(tokio::time::timeout(INTERVAL, ask(url.clone()))) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => "no answer".to_string(),
        };
        request.log.say(Level::Error, format!("the readiness gate {url} is not ready: {reason}"));
        if request.clock.elapsed() + INTERVAL > end {
            return Err(CniError::internal(format!(
                "the readiness gate {url} was not ready within {PATIENCE:?}: {reason}"
            )));
        }
        request.wait_for(tokio::time::sleep(INTERVAL));
    }
}

async fn ask(url: http::Uri) -> Result<(), String> {
    let client: Client<_, Empty<hyper::body::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.get(url).await.map_err(|error| error.to_string())?;
    let code = answer.status().as_u16();
    if (200..400).contains(&code) { Ok(()) } else { Err(format!("it answers {code}")) }
}
