//! Credentials that go with each request: tokens, passwords, and what credential plugins give.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use outside::Secrets;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::exec::Exec;
use super::options::unusable;
use crate::error::StoreError;
use crate::pem::unread;

/// The largest file of a token that is read, in bytes.
const MOST: usize = 1 << 20;

/// The kubeconfig's user, whom messages name.
pub(super) struct User {
    pub(super) name: String,
    /// The kubeconfig, as messages name it.
    pub(super) place: String,
}

/// The source of credentials.
#[derive(Default)]
enum Source {
    /// There are no credentials, or they never change.
    #[default]
    Fixed,
    /// A token's file, which may be written again with a new token.
    File(PathBuf),
    /// A credential plugin, which gives new credentials when the old ones have expired.
    Program(Exec, User),
}

/// The credentials, with those that were last got from their source. Secret.
#[derive(Default)]
pub(super) struct Credentials {
    source: Source,
    known: Mutex<Option<Arc<Identity>>>,
}

/// What proves this client's identity, on a request or a connection. Secret.
#[derive(Default)]
pub(super) struct Identity {
    /// The value of `Authorization`.
    pub(super) header: Option<HeaderValue>,
    /// The client's certificate and key, in PEM.
    pub(super) certificate: Option<(String, String)>,
}

impl Identity {
    fn token(token: &str) -> Option<Identity> {
        let mut header = HeaderValue::try_from(format!("Bearer {}", token.trim())).ok()?;
        header.set_sensitive(true);
        Some(Identity { header: Some(header), certificate: None })
    }

    /// The texts that no message may contain: the token, the password, user and password joined, and each as
    /// the header encodes it.
    pub(super) fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        let header = self.header.as_ref().and_then(|header| header.to_str().ok());
        let Some((kind, secret)) = header.and_then(|header| header.split_once(' ')) else { return secrets };
        secrets.add(secret);
        let user = (kind == "Basic").then(|| STANDARD.decode(secret).ok()).flatten();
        if let Some(user) = user.and_then(|user| String::from_utf8(user).ok()) {
            secrets.add(&user);
            secrets.add(user.split_once(':').map_or("", |(_, password)| password));
        }
        secrets
    }
}

impl Credentials {
    fn fixed(identity: Identity) -> Credentials {
        Credentials { source: Source::Fixed, known: Mutex::new(Some(Arc::new(identity))) }
    }

    /// A bearer token, without the white space around it. `what` names the token's origin in messages.
    ///
    /// # Errors
    /// Where the token holds characters that no header can hold.
    pub(super) fn token(token: &str, what: &str) -> Result<Credentials, StoreError> {
        Ok(Credentials::fixed(Identity::token(token).ok_or_else(|| not_a_token(what))?))
    }

    pub(super) fn basic(user: &str, password: &str) -> Credentials {
        let header =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        // A text in base64 is always a valid header.
        let header = header.ok().map(|mut header| {
            header.set_sensitive(true);
            header
        });
        Credentials::fixed(Identity { header, certificate: None })
    }

    /// A bearer token in a file. `what` names the file in messages.
    ///
    /// # Errors
    /// Where the file cannot be read, or holds characters that no header can hold.
    pub(super) fn file(path: PathBuf, what: &str) -> Result<Credentials, StoreError> {
        let token = read_token(&path).map_err(|error| unread(what, &error))?;
        let Credentials { known, .. } = Credentials::token(&token, what)?;
        Ok(Credentials { source: Source::File(path), known })
    }

    pub(super) fn program(exec: Exec, user: User) -> Credentials {
        Credentials { source: Source::Program(exec, user), known: Mutex::default() }
    }

    /// The file of the token, where it is in one.
    pub(super) fn token_file(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            Source::Fixed | Source::Program(..) => None,
        }
    }

    /// Whether getting the credentials may wait for a person to log in.
    pub(super) fn ask_a_person(&self) -> bool {
        matches!(&self.source, Source::Program(exec, _) if exec.asks())
    }

    /// The credentials. Where several calls at once need the plugin, one of them runs it, and the others
    /// wait.
    ///
    /// # Errors
    /// The reason why there are no credentials.
    pub(super) async fn get(&self, deadline: Instant) -> Result<Arc<Identity>, String> {
        let late = |_| "another request still waits for them".to_string();
        // The time for a person to log in has a limit of its own (`exec::LOGIN`), so the deadline does not
        // count.
        let mut known = match self.ask_a_person() {
            true => self.known.lock().await,
            false => timeout_at(deadline, self.known.lock()).await.map_err(late)?,
        };
        if let Some(identity) = &*known {
            return Ok(identity.clone());
        }
        let identity = match &self.source {
            Source::Program(exec, user) => {
                let within = deadline.saturating_duration_since(Instant::now());
                let given = exec.run(within).await.and_then(|given| {
                    let identity = match given.token.filter(|token| !token.trim().is_empty()) {
                        Some(token) => Identity::token(&token)
                            .ok_or_else(|| "its token holds what no HTTP header can".to_string())?,
                        None => Identity::default(),
                    };
                    let certificate = given.client_certificate_data.zip(given.client_key_data);
                    Ok(Identity { certificate, ..identity })
                });
                given.map_err(|why| {
                    format!(
                        "the credential plugin {} (exec of {user}): {why}",
                        outside::shown_word(&exec.command)
                    )
                })?
            }
            Source::Fixed | Source::File(_) => Identity::default(),
        };
        Ok(known.insert(Arc::new(identity)).clone())
    }

    /// Whether there may be other credentials than `refused`, which the server did not accept.
    pub(super) async fn renew(&self, refused: &Arc<Identity>) -> bool {
        let mut known = self.known.lock().await;
        if known.as_ref().is_some_and(|known| !Arc::ptr_eq(known, refused)) {
            return true;
        }
        match &self.source {
            Source::Fixed => false,
            Source::File(path) => {
                // Only a regular file can be read again: a pipe gives its content once.
                let read = path.is_file().then(|| read_token(path).ok()).flatten();
                let Some(new) = read.and_then(|token| Identity::token(&token)) else { return false };
                if new.header == refused.header {
                    return false;
                }
                *known = Some(Arc::new(new));
                true
            }
            Source::Program(..) => {
                *known = None;
                true
            }
        }
    }
}

fn read_token(path: &Path) -> std::io::Result<String> {
    outside::read_text(path, MOST)
}

fn not_a_token(what: &str) -> StoreError {
    unusable(format!(
        "{what} holds what no HTTP header can: a token is one line of letters, digits and signs"
    ))
}
