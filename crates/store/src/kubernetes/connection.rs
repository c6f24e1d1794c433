//! The connection to the API server, and the requests on it.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use api::crd::Group;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::client::legacy::{Builder, Client as HyperClient};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use outside::Secrets;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until, timeout_at};
use tower::{BoxError, Service, ServiceBuilder};

use super::bounded::{self, Unread};
use super::credentials::{Credentials, Identity};
use super::fault::{self, FaultClass, RequestFault};
use super::options::{Deletion, KubeOptions};
use super::pace::Pace;
use super::proxy;
use super::recent::Recent;
use crate::error::StoreError;
use crate::patience::Patience;

/// Applies while the client waits for an answer. After the first duration of silence the client asks whether
/// the server is alive; after the second without a reply it gives up.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// HTTP/2's flow-control window, in bytes. A whole scope comes in one answer: a small window would make it
/// slow.
const WINDOW: u32 = 4 << 20;
/// How long to wait where the server asks to wait and does not say how long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest wait that a server may ask for. With longer ones, arithmetic on times could overflow.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a request tries again when it waited for a connection that another request could not make.
const RETRIES: u32 = 3;
/// How often a request is sent again when its connection went away. Before repetition `n`, counted from 0, it
/// waits `n` times [`BREATH`].
const REPEATS: u32 = 10;
const BREATH: Duration = Duration::from_millis(20);

/// A request to the server, before it has credentials.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) body: Option<String>,
    /// The media type of the body.
    pub(super) content_type: &'static str,
    /// The media types that the client accepts for the answer.
    pub(super) accept: &'static str,
    /// The largest answer that is read, in bytes.
    pub(super) most: usize,
    /// Under whose name the server records who wrote a field.
    pub(super) manager: &'static str,
}

/// This client's `User-Agent`, which appears in the server's audit log.
const OURSELVES: &str = concat!("rackpool/", env!("CARGO_PKG_VERSION"));
/// The field manager that `managedFields` shows for Calico's clients, which set none.
const FIELD_MANAGER: &str = "Go-http-client";
/// The field manager that it shows for Calico's controllers.
pub(super) const CONTROLLERS: &str = "kube-controllers";

const JSON: &str = "application/json";
/// Asks for a list of objects without `spec` and `status`.
pub(super) const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
/// Asks for a watch that tells of each object its metadata.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// The media type of a patch by RFC 7396.
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
/// The media type of a patch to an object of Kubernetes' own.
pub(super) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";

impl Question {
    pub(super) fn get(url: String) -> Question {
        let most = bounded::OBJECT;
        Question {
            method: Method::GET,
            url,
            body: None,
            content_type: JSON,
            accept: JSON,
            most,
            manager: FIELD_MANAGER,
        }
    }

    pub(super) fn send(method: Method, url: String, body: String) -> Question {
        Question { method, body: Some(body), ..Question::get(url) }
    }

    /// Removes an object; the deletion has one more option.
    pub(super) fn delete(url: String, option: &str, value: Json) -> Question {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", option: value});
        Question::send(Method::DELETE, url, options.to_string())
    }

    pub(super) fn is_write(&self) -> bool {
        self.method != Method::GET
    }
}

/// The API server.
pub(super) struct Server {
    options: KubeOptions,
    config: Config,
    credentials: Credentials,
    /// The URL as messages may show it: without user and path.
    shown: String,
    /// The proxy through which it is reached.
    proxy: Option<Intercept>,
    /// A client that sends many requests over one connection.
    http2: OnceCell<Client>,
    /// A client with a connection for each request under way, for servers, and proxies before them, that do
    /// not speak HTTP/2.
    http1: OnceCell<Client>,
    speaks_http1: AtomicBool,
    /// Whether a connection was ever made. Before that, no request can have been carried out.
    was_connected: Arc<AtomicBool>,
    group: OnceCell<Group>,
    pace: Option<Pace>,
    requests: AtomicU64,
    under_way: bounded::UnderWay,
    pub(super) recent: Recent,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.shown)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(options: KubeOptions) -> Result<Server, StoreError> {
        let (config, credentials) = options.config()?;
        let url = &config.cluster_url;
        let port = url.port_u16().map_or(String::new(), |port| format!(":{port}"));
        let scheme = url.scheme_str().unwrap_or("https");
        let proxy = proxy::of(&config, &options.proxies)?;
        let through = proxy.as_ref().map(|proxy| format!(" (through the proxy {})", proxy::shown(proxy)));
        let shown =
            format!("{scheme}://{}{port}{}", url.host().unwrap_or_default(), through.unwrap_or_default());
        let pace = options.pace.filter(|(rate, _)| *rate > 0.0).map(|(rate, burst)| Pace::new(rate, burst));
        Ok(Server {
            group: OnceCell::new_with(options.group),
            speaks_http1: AtomicBool::new(scheme == "http"),
            options,
            config,
            credentials,
            shown,
            proxy,
            http2: OnceCell::new(),
            http1: OnceCell::new(),
            was_connected: Arc::default(),
            pace,
            requests: AtomicU64::new(0),
            under_way: bounded::UnderWay::default(),
            recent: Recent::default(),
        })
    }

    pub(super) fn patience(&self) -> Patience {
        Patience(self.options.silence)
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The host that the configuration names, a name or an address.
    pub(super) fn host(&self) -> Option<&str> {
        self.config.cluster_url.host().map(|host| host.trim_start_matches('[').trim_end_matches(']'))
    }

    pub(super) fn interface_prefix(&self) -> &str {
        &self.options.interface_prefix
    }

    pub(super) fn deletion(&self) -> Deletion {
        self.options.deletion
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The group that holds the custom resources: the configured one, else the one that the server lists. The
    /// server is asked once.
    pub(super) async fn group(&self, deadline: Instant) -> Result<Group, RequestFault> {
        let ask = async || {
            let text = self.ask(Question::get("/apis".to_string()), deadline).await?;
            let list: Groups =
                serde_json::from_str(&text).map_err(|e| RequestFault::nonsense(&self.shown, &e))?;
            Ok(Group::from_groups(list.groups.iter().map(|group| group.name.as_str())))
        };
        self.group.get_or_try_init(ask).await.copied()
    }

    /// The group, where it is configured or the server has been asked already.
    pub(super) fn known_group(&self) -> Option<Group> {
        self.group.get().copied()
    }

    /// Sends a request, and sends it again when the connection goes away and certainly no write is in doubt.
    /// API servers close connections now and then (`--goaway-chance`) and when they shut down, and so do the
    /// proxies before them. A write that may have been carried out is not sent again.
    pub(super) async fn ask(&self, question: Question, deadline: Instant) -> Result<String, RequestFault> {
        let deadline = deadline + self.introduce(self.patience().end_of_silence(deadline)).await?;
        let mut repeats = 0;
        loop {
            let pause = BREATH * repeats;
            match self.ask_once(question.clone(), deadline).await {
                Err(fault)
                    if fault.kind == FaultClass::BrokenOff
                        && repeats < REPEATS
                        && Instant::now() + pause < deadline =>
                {
                    sleep_until(Instant::now() + pause).await;
                    repeats += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Sends a request. While the server asks to wait (429), waits and sends it again, as long as the
    /// deadline allows.
    async fn ask_once(&self, question: Question, deadline: Instant) -> Result<String, RequestFault> {
        let silent_until = || self.patience().end_of_silence(deadline);
        let (_, body) = self.answer(&question, silent_until()).await?;
        let in_doubt = question.is_write();
        match bounded::whole(body, question.most, &self.under_way, silent_until).await {
            Ok(bytes) => String::from_utf8(bytes)
                .map_err(|error| RequestFault { in_doubt, ..RequestFault::nonsense(&self.shown, &error) }),
            Err(Unread::Endless) => {
                Err(RequestFault { in_doubt, ..RequestFault::endless(&self.shown, question.most) })
            }
            Err(Unread::Broken(error)) => Err(RequestFault::on_the_way(&self.shown, &error, in_doubt)),
            Err(Unread::Silent) => Err(self.silent(in_doubt)),
        }
    }

    /// The server brought nothing until the end of the call, or of the silence that it may keep.
    fn silent(&self, in_doubt: bool) -> RequestFault {
        RequestFault::silent(&self.shown, self.options.silence, in_doubt)
    }

    /// The file of the client's own token.
    pub(super) fn token_file(&self) -> Option<&Path> {
        self.credentials.token_file()
    }

    /// Gets the credentials. Gives the time that a person took to log in: the server has its whole time all
    /// the same.
    async fn introduce(&self, deadline: Instant) -> Result<Duration, RequestFault> {
        let start = Instant::now();
        self.identity(deadline).await?;
        Ok(if self.credentials.ask_a_person() { start.elapsed() } else { Duration::ZERO })
    }

    async fn identity(&self, deadline: Instant) -> Result<Arc<Identity>, RequestFault> {
        self.credentials.get(deadline).await.map_err(|why| RequestFault::nobody(&self.shown, &why))
    }

    /// Asks for a watch, of the objects' metadata alone where `is_short`. Gives the body of the answer, which
    /// goes on arriving as long as things happen.
    pub(super) async fn listen(
        &self,
        url: String,
        is_short: bool,
        deadline: Instant,
    ) -> Result<Body, RequestFault> {
        let deadline = deadline + self.introduce(deadline).await?;
        let accept = if is_short { METADATA } else { JSON };
        self.answer(&Question { accept, ..Question::get(url) }, deadline).await.map(|(_, body)| body)
    }

    /// The answer, if its status is a success.
    async fn answer(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> Result<(StatusCode, Body), RequestFault> {
        let mut retries = RETRIES;
        let mut was_renewed = false;
        loop {
            let identity = self.identity(deadline).await?;
            if let Some(pace) = &self.pace {
                let wait = pace.take(Instant::now());
                if Instant::now() + wait > deadline {
                    return Err(RequestFault::paced(&self.shown, wait));
                }
                sleep_until(Instant::now() + wait).await;
            }
            let over_http1 = self.speaks_http1.load(Ordering::Relaxed);
            let sent = async {
                let client = self.client(over_http1, &identity).await?;
                self.requests.fetch_add(1, Ordering::Relaxed);
                client.send(question.request(&identity)?).await
            };
            let answer = match timeout_at(deadline, sent).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) if !over_http1 && fault::is_without_http2(&error) => {
                    self.speaks_http1.store(true, Ordering::Relaxed);
                    continue;
                }
                // It waited for a connection that another request tried to make and could not. When this
                // request tries to connect itself, it learns the reason.
                Ok(Err(error)) if retries > 0 && fault::was_not_connected_for(&error) => {
                    retries -= 1;
                    continue;
                }
                Ok(Err(error)) => {
                    return Err(RequestFault::on_the_way(&self.shown, &error, question.is_write()));
                }
                Err(_) => {
                    let may_have_come = self.was_connected.load(Ordering::Relaxed);
                    return Err(self.silent(question.is_write() && may_have_come));
                }
            };
            let (parts, body) = answer.into_parts();
            if parts.status.is_success() {
                return Ok((parts.status, body));
            }
            // A request that the server could not authenticate was not carried out, so it may be sent again.
            let is_unknown = parts.status == StatusCode::UNAUTHORIZED;
            if is_unknown
                && !std::mem::replace(&mut was_renewed, true)
                && self.credentials.renew(&identity).await
            {
                continue;
            }
            let text = match timeout_at(deadline, bounded::beginning(body, bounded::ERROR)).await {
                Ok(bytes) => self.without_secrets(&identity, &String::from_utf8_lossy(&bytes)),
                Err(_) => String::new(),
            };
            let wait = (parts.status == StatusCode::TOO_MANY_REQUESTS).then(|| retry_after(&parts.headers));
            match wait {
                // A request that gets 429 was not carried out.
                Some(wait) if Instant::now() + wait < deadline => sleep_until(Instant::now() + wait).await,
                _ => return Err(RequestFault::answered(&self.shown, question, parts.status, &text, wait)),
            }
        }
    }

    /// The server's message without the client's secrets: a server may echo a request's headers. In a JSON
    /// text, each string is searched after its escapes are undone.
    fn without_secrets(&self, identity: &Identity, text: &str) -> String {
        let mut secrets = identity.secrets();
        let user =
            self.config.cluster_url.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
        if let Some((user, _)) = user {
            secrets.add(user);
            secrets.add(user.split_once(':').map_or("", |(_, password)| password));
        }
        match serde_json::from_str(text) {
            Ok(json) => without(&secrets, json).to_string(),
            Err(_) => secrets.hidden_in(text),
        }
    }

    async fn client(&self, over_http1: bool, identity: &Identity) -> Result<&Client, kube::Error> {
        let cell = if over_http1 { &self.http1 } else { &self.http2 };
        cell.get_or_try_init(async || {
            let mut tcp = HttpConnector::new();
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_connect_timeout(Some(self.options.connect_within));
            let tcp = proxy::road(tcp, self.proxy.as_ref());
            if self.config.cluster_url.scheme_str() == Some("http") {
                return self.client_over(tcp, over_http1);
            }
            let tls =
                HttpsConnectorBuilder::new().with_tls_config(self.tls_config(identity)?).https_or_http();
            let tls = match &self.config.tls_server_name {
                Some(name) => {
                    let name = name.clone().try_into();
                    let name = name.map_err(|error| kube::Error::Service(BoxError::from(error)))?;
                    tls.with_server_name_resolver(FixedServerNameResolver::new(name))
                }
                None => tls,
            };
            if over_http1 {
                self.client_over(tls.enable_http1().wrap_connector(tcp), true)
            } else {
                self.client_over(tls.enable_http2().wrap_connector(tcp), false)
            }
        })
        .await
    }

    fn tls_config(&self, identity: &Identity) -> Result<rustls::ClientConfig, kube::Error> {
        let mut config = self.config.clone();
        if let Some((certificate, key)) = &identity.certificate {
            config.auth_info.client_certificate_data = Some(STANDARD.encode(certificate));
            config.auth_info.client_key_data = Some(STANDARD.encode(key).into());
        }
        config.rustls_client_config().map_err(|_| kube::Error::Service(UnusableCertificates.into()))
    }

    fn client_over<C>(&self, connector: C, over_http1: bool) -> Result<Client, kube::Error>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError>,
    {
        let connector =
            Noted { inner: connector, was_connected: self.was_connected.clone(), needs_http2: !over_http1 };
        let client: HyperClient<_, Body> = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_only(!over_http1)
            .http2_keep_alive_interval(KEEP_ALIVE.0.max(self.options.silence.unwrap_or_default()))
            .http2_keep_alive_timeout(KEEP_ALIVE.1)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(2 * WINDOW)
            .build(connector);
        let service = ServiceBuilder::new()
            .layer(self.config.base_uri_layer())
            .layer(self.config.extra_headers_layer()?)
            .map_err(BoxError::from)
            .service(client);
        Ok(ClientBuilder::new(service, self.config.default_namespace.clone()).build())
    }
}

fn without(secrets: &Secrets, json: Json) -> Json {
    match json {
        Json::String(text) => Json::String(secrets.hidden_in(&text)),
        Json::Array(items) => items.into_iter().map(|item| without(secrets, item)).collect(),
        Json::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (secrets.hidden_in(&name), without(secrets, value)))
            .collect(),
        other => other,
    }
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(PAUSE, Duration::from_secs).min(LONGEST_PAUSE)
}

impl Question {
    /// The URL with a field manager, under which the server records who wrote a field: the name that Calico's
    /// clients appear under, so that a field does not change its owner when another of the two programs
    /// writes it.
    fn signed_url(&self) -> Cow<'_, str> {
        match self.method {
            Method::POST | Method::PUT | Method::PATCH => {
                format!("{}?fieldManager={}", self.url, self.manager).into()
            }
            _ => self.url.as_str().into(),
        }
    }

    fn request(&self, identity: &Identity) -> Result<Request<Body>, kube::Error> {
        let mut request = Request::builder()
            .method(&self.method)
            .uri(self.signed_url().as_ref())
            .header(ACCEPT, self.accept)
            .header(USER_AGENT, OURSELVES);
        if let Some(header) = &identity.header {
            request = request.header(AUTHORIZATION, header);
        }
        if self.body.is_some() {
            request = request.header(CONTENT_TYPE, self.content_type);
        }
        let body = self.body.clone().map_or_else(Body::empty, |body| Body::from(body.into_bytes()));
        request.body(body).map_err(kube::Error::HttpError)
    }
}

/// The certificates or the key cannot be used, so there is no connection and nothing was sent. The reason is
/// left out, as it may quote the key.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the certificates and the key that are given for it cannot be used")]
pub(super) struct UnusableCertificates;

/// A connector that records when it has connected.
#[derive(Clone)]
struct Noted<C> {
    inner: C,
    was_connected: Arc<AtomicBool>,
    needs_http2: bool,
}

/// The server does not speak HTTP/2; nothing was sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server does not speak HTTP/2")]
pub(super) struct WithoutHttp2;

impl<C> Service<Uri> for Noted<C>
where
    C: Service<Uri>,
    C::Response: Connection,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, was_connected, needs_http2) =
            (self.inner.call(uri), self.was_connected.clone(), self.needs_http2);
        Box::pin(async move {
            let connection = connecting.await.map_err(Into::into)?;
            if needs_http2 && !connection.connected().is_negotiated_h2() {
                return Err(WithoutHttp2.into());
            }
            was_connected.store(true, Ordering::Relaxed);
            Ok(connection)
        })
    }
}
