//! The API server as the nodes see it: behind a Unix socket, in the clear. A request is a connection.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where it is.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) socket: PathBuf,
}

impl Api {
    pub(super) fn get(&self, path: &str) -> Result<Json> {
        self.send("GET", path, "application/json", &Json::Null)?
            .with_context(|| format!("GET {path}: not found"))
    }

    pub(super) fn create(&self, path: &str, object: &Json) -> Result<()> {
        let created = self.send("POST", path, "application/json", object)?;
        created.map(drop).with_context(|| format!("POST {path}: not found"))
    }

    /// Makes the object what is said of it, and makes it where it is not there.
    pub(super) fn apply(&self, path: &str, object: &Json) -> Result<()> {
        let path = format!("{path}?fieldManager=kubelet&force=true");
        let applied = self.send("PATCH", &path, "application/apply-patch+yaml", object)?;
        applied.map(drop).with_context(|| format!("PATCH {path}: not found"))
    }

    /// Changes an object, unless it is gone.
    pub(super) fn patch(&self, path: &str, change: &Json) -> Result<()> {
        self.send("PATCH", path, "application/strategic-merge-patch+json", change).map(drop)
    }

    /// Deletes an object, unless it is gone.
    pub(super) fn delete(&self, path: &str, options: &Json) -> Result<()> {
        self.send("DELETE", path, "application/json", options).map(drop)
    }

    /// The answer; none where there is nothing of that name.
    fn send(&self, method: &str, path: &str, content_type: &str, body: &Json) -> Result<Option<Json>> {
        let sent = || -> Result<(u16, Json)> {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            // The answer to this version of HTTP is in one piece, and ends with the connection.
            let head = format!(
                "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let (head, body) =
                answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
            let code = head.split(' ').nth(1).context("an answer without a status")?.parse()?;
            Ok((code, serde_json::from_str(body).unwrap_or_else(|_| body.into())))
        };
        match sent().with_context(|| format!("{method} {path}"))? {
            (200..=299, answer) => Ok(Some(answer)),
            (404, _) => Ok(None),
            (code, answer) => {
                bail!("{method} {path}: {code} {}", answer["message"].as_str().unwrap_or(&answer.to_string()))
            }
        }
    }
}
