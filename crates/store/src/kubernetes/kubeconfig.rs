//! Reads kubeconfigs, and the files that they name, within bounds. It uses only those settings that concern
//! the connection. No message quotes the content.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::credentials::{Credentials, User};
use super::exec::Exec;
use super::options::{Kubeconfig, certificates, unusable, url};
use crate::error::StoreError;
use crate::pem::unread;

/// The largest kubeconfig, in bytes: hundreds of clusters with their certificates fit.
const MOST: usize = 8 << 20;

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct File {
    clusters: Option<Vec<NamedCluster>>,
    users: Option<Vec<NamedUser>>,
    contexts: Option<Vec<NamedContext>>,
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Option<Cluster>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    proxy_url: Option<String>,
    tls_server_name: Option<String>,
    extensions: Option<Vec<Extension>>,
}

#[derive(Clone, Deserialize)]
struct Extension {
    name: String,
    extension: Json,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: Option<FileUser>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct FileUser {
    username: Option<String>,
    password: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    #[serde(rename = "as")]
    impersonate: Option<String>,
    as_uid: Option<String>,
    as_groups: Option<Vec<String>>,
    as_user_extra: Option<HashMap<String, Vec<String>>>,
    auth_provider: Option<AuthProvider>,
    exec: Option<FileExec>,
}

#[derive(Deserialize)]
struct AuthProvider {
    name: String,
    config: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FileExec {
    api_version: Option<String>,
    command: Option<String>,
    args: Option<Vec<String>>,
    env: Option<Vec<Variable>>,
    interactive_mode: Option<String>,
    provide_cluster_info: bool,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Option<Context>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: Option<String>,
}

/// Reads the settings and the credentials that a kubeconfig gives for a context. It reads all files that the
/// kubeconfig names, and a token's file again later, as that may change.
pub(super) fn read(
    kubeconfig: &Kubeconfig,
    context: Option<&str>,
) -> Result<(Config, Credentials), StoreError> {
    let merged = match kubeconfig {
        Kubeconfig::Inline(text) => parse(text, "the kubeconfig given as text")?,
        Kubeconfig::Files(paths) => read_files(paths)?,
    };
    let place = name_of(kubeconfig);
    let (mut cluster, user_name, user) = merged.entries_of_context(&place, context)?;
    let server = cluster.server.as_deref().map(str::trim).unwrap_or_default();
    let wrong_server = || {
        unusable(format!(
            "{place} names no Kubernetes API server: the server of its cluster is no URL{}. It looks like https://10.0.0.1:6443",
            super::options::why_no_url(server)
        ))
    };
    let mut config = Config::new(url(server).ok_or_else(wrong_server)?);
    let proxy = cluster.proxy_url.as_deref().filter(|proxy| !proxy.is_empty());
    config.proxy_url =
        proxy.map(|proxy| super::proxy::url(proxy, &format!("the proxy-url of {place}"))).transpose()?;
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or_default();
    config.tls_server_name = cluster.tls_server_name.clone().filter(|name| !name.is_empty());
    let what = "certificate-authority";
    let ca = data_or_file(&place, what, &cluster.certificate_authority_data, &cluster.certificate_authority)?;
    config.root_cert = ca.as_ref().map(|pem| certificates(pem, &format!("{what} of {place}"))).transpose()?;
    // A credential plugin that is told of the cluster gets the certificates themselves, also where the
    // kubeconfig names their file.
    cluster.certificate_authority_data = ca.map(|pem| STANDARD.encode(pem));
    user.identify(&mut config, &place)?;
    let credentials = user.credentials(&cluster, &user_name, &place)?;
    Ok((config, credentials))
}

/// The kubeconfig as messages name it.
fn name_of(kubeconfig: &Kubeconfig) -> String {
    match kubeconfig {
        Kubeconfig::Inline(_) => "the kubeconfig given as text".to_string(),
        Kubeconfig::Files(paths) => {
            let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            format!("the kubeconfig {}", paths.join(":"))
        }
    }
}

fn read_files(paths: &[PathBuf]) -> Result<File, StoreError> {
    let mut merged: Option<File> = None;
    for path in paths {
        if paths.len() > 1 && !path.exists() {
            continue;
        }
        let place = format!("the kubeconfig {}", path.display());
        let text = outside::read_text(path, MOST).map_err(|error| unread(&place, &error))?;
        let mut file = parse(&text, &place)?;
        if let Some(directory) = path.parent() {
            file.make_absolute(directory);
        }
        merged = Some(merged.unwrap_or_default().merge(file));
    }
    merged.ok_or_else(|| unusable(format!("none of the kubeconfigs {paths:?} exists")))
}

/// All documents of a text, merged. The error names only the kind of a fault and its place.
fn parse(text: &str, place: &str) -> Result<File, StoreError> {
    if text.len() > MOST {
        return Err(unusable(format!("{place} holds more than {}", outside::Size(MOST))));
    }
    let files: Vec<File> =
        from_yaml(text).map_err(|why| unusable(format!("{place} cannot be understood: {why}")))?;
    Ok(files.into_iter().fold(File::default(), File::merge))
}

/// Reads a kubeconfig as [`read`] does, without the files that it names. Gives whether it names a server that
/// can be one.
#[cfg(feature = "testing")]
pub(super) fn read_without_files(text: &str) -> Result<bool, StoreError> {
    let place = "the kubeconfig given as text";
    let (cluster, user_name, user) = parse(text, place)?.entries_of_context(place, None)?;
    let cluster = Cluster { certificate_authority: None, ..cluster };
    let user = FileUser { client_certificate: None, client_key: None, token_file: None, ..user };
    let server = cluster.server.as_deref().map(str::trim).unwrap_or_default();
    let url = url(server);
    let mut config = Config::new(url.clone().unwrap_or_default());
    data_or_file(place, "certificate-authority", &cluster.certificate_authority_data, &None)?;
    user.identify(&mut config, place)?;
    user.credentials(&cluster, &user_name, place)?;
    Ok(url.is_some())
}

/// Reads YAML or JSON from outside. The error is the kind of the fault and its place.
pub(super) fn from_yaml<T: for<'de> Deserialize<'de>>(text: &str) -> Result<Vec<T>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_aliases: 1000, max_total_scalar_bytes: 2 * MOST },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| fault(&error))
}

fn fault(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    let kind = match error.without_snippet() {
        Error::Eof { .. } => "it ends too early",
        Error::DuplicateMappingKey { .. } => "a key stands twice in a map",
        Error::UnknownAnchor { .. } => {
            "an alias without its anchor (a text that begins with * stands in quotes)"
        }
        Error::SerdeInvalidType { .. }
        | Error::SerdeInvalidValue { .. }
        | Error::InvalidScalar { .. }
        | Error::Unexpected { .. }
        | Error::NullIntoString { .. }
        | Error::InvalidBooleanStrict { .. } => "a value of another kind than its field takes",
        Error::SerdeMissingField { .. } => "a field is missing",
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => "too much nesting, or too many anchors and aliases",
        _ => "it is no YAML of this form",
    };
    match error.location() {
        Some(at) => format!("line {}, column {}: {kind}", at.line(), at.column()),
        None => kind.to_string(),
    }
}

impl File {
    /// Merges two files; where both define the same, `self` counts.
    fn merge(self, next: File) -> File {
        File {
            clusters: merge_named(self.clusters, next.clusters, |one| &one.name),
            users: merge_named(self.users, next.users, |one| &one.name),
            contexts: merge_named(self.contexts, next.contexts, |one| &one.name),
            current_context: self.current_context.filter(|name| !name.is_empty()).or(next.current_context),
        }
    }

    /// Makes paths absolute: they are relative to the kubeconfig's folder. So are programs with a `/` in
    /// their names.
    fn make_absolute(&mut self, directory: &Path) {
        let absolute = |path: &mut Option<String>| {
            if let Some(path) = path.as_mut().filter(|path| !path.is_empty() && Path::new(path).is_relative())
            {
                *path = directory.join(&*path).display().to_string();
            }
        };
        for cluster in self.clusters.iter_mut().flatten().filter_map(|named| named.cluster.as_mut()) {
            absolute(&mut cluster.certificate_authority);
        }
        for user in self.users.iter_mut().flatten().filter_map(|named| named.user.as_mut()) {
            absolute(&mut user.client_certificate);
            absolute(&mut user.client_key);
            absolute(&mut user.token_file);
            if let Some(exec) = &mut user.exec
                && exec.command.as_ref().is_some_and(|command| command.contains('/'))
            {
                absolute(&mut exec.command);
            }
        }
    }

    /// A context's cluster and user, and the user's name. A user whom the file does not define has no
    /// credentials, as in client-go.
    fn entries_of_context(
        mut self,
        place: &str,
        context: Option<&str>,
    ) -> Result<(Cluster, String, FileUser), StoreError> {
        let contexts = self.contexts.unwrap_or_default();
        let known = |name: &str| contexts.iter().find(|known| known.name == name);
        if let Some(context) = context.filter(|context| known(context).is_none()) {
            let known: Vec<_> = contexts.iter().map(|context| outside::shown_word(&context.name)).collect();
            return Err(unusable(format!(
                "the kubeconfig has no context {context:?} (K8S_CURRENT_CONTEXT); it has {}",
                known.join(", ")
            )));
        }
        let none = |reason: String| unusable(format!("{place} names no Kubernetes API server: {reason}"));
        let name = context.map(str::to_string).or_else(|| self.current_context.take()).unwrap_or_default();
        if name.is_empty() {
            return Err(none("it has no current-context".to_string()));
        }
        let context = known(&name).and_then(|known| known.context.as_ref());
        let context =
            context.ok_or_else(|| none(format!("it has no context {}", outside::shown_word(&name))))?;
        let mut clusters = self.clusters.into_iter().flatten();
        let cluster =
            clusters.find(|cluster| cluster.name == context.cluster).and_then(|named| named.cluster);
        let cluster = cluster
            .ok_or_else(|| none(format!("it has no cluster {}", outside::shown_word(&context.cluster))))?;
        let user_name = context.user.clone().unwrap_or_default();
        let user = self.users.into_iter().flatten().find(|user| user.name == user_name);
        Ok((cluster, user_name, user.and_then(|named| named.user).unwrap_or_default()))
    }
}

fn merge_named<T>(
    first: Option<Vec<T>>,
    next: Option<Vec<T>>,
    name: impl Fn(&T) -> &String,
) -> Option<Vec<T>> {
    let mut seen = HashSet::new();
    // `first` is what a merge has given, so its names are apart.
    let merged = first.into_iter().flatten().chain(next.into_iter().flatten());
    Some(merged.filter(|one| seen.insert(name(one).clone())).collect())
}

/// A PEM text: the field's own in base64, or that of the file that the other field names.
fn data_or_file(
    place: &str,
    what: &str,
    data: &Option<String>,
    file: &Option<String>,
) -> Result<Option<String>, StoreError> {
    if let Some(data) = data.as_deref().filter(|data| !data.is_empty()) {
        let clean: String = data.split_ascii_whitespace().collect();
        let decoded = STANDARD.decode(clean).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let wrong = || unusable(format!("{what}-data of {place} is no PEM text in base64"));
        return decoded.map(Some).ok_or_else(wrong);
    }
    let Some(path) = file.as_deref().filter(|path| !path.is_empty()) else { return Ok(None) };
    let text = outside::read_text(Path::new(path), crate::pem::MOST);
    text.map(Some).map_err(|error| {
        // The field for the key's file may hold the key itself by mistake, so its value is not shown.
        let named = match what {
            "client-key" => format!("the file of the {what} of {place}"),
            _ => format!("{} ({what} of {place})", outside::shown_word(path)),
        };
        unread(&named, &error)
    })
}

impl FileUser {
    /// Sets the client's certificate, and the user to impersonate.
    fn identify(&self, config: &mut Config, place: &str) -> Result<(), StoreError> {
        let (cert, key) = ("client-certificate", "client-key");
        let certificate = data_or_file(place, cert, &self.client_certificate_data, &self.client_certificate)?;
        let its_key = data_or_file(place, key, &self.client_key_data, &self.client_key)?;
        match (certificate, its_key) {
            (None, None) => {}
            (Some(certificate), Some(its_key)) => {
                config.auth_info.client_certificate_data = Some(STANDARD.encode(certificate));
                config.auth_info.client_key_data = Some(STANDARD.encode(its_key).into());
            }
            (Some(_), None) => return Err(unusable(format!("{place} gives {cert}, but no {key}"))),
            (None, Some(_)) => return Err(unusable(format!("{place} gives {key}, but no {cert}"))),
        }
        config.auth_info.impersonate = self.impersonate.clone();
        config.auth_info.impersonate_uid = self.as_uid.clone();
        config.auth_info.impersonate_groups = self.as_groups.clone();
        config.auth_info.impersonate_user_extra = self.as_user_extra.clone();
        Ok(())
    }

    fn credentials(self, cluster: &Cluster, name: &str, place: &str) -> Result<Credentials, StoreError> {
        let name = outside::shown_word(name);
        if let Some(provider) = self.auth_provider {
            let token = provider.config.unwrap_or_default().remove("id-token");
            return match (provider.name.as_str(), token) {
                ("oidc", Some(token)) => {
                    Credentials::token(&token, &format!("id-token of user {name} of {place}"))
                }
                (provider, _) => Err(unusable(format!(
                    "the auth-provider {} of user {name} of {place} cannot be used. Use the credential plugin (exec) that took its place",
                    outside::shown_word(provider)
                ))),
            };
        }
        if let (Some(user), Some(password)) = (&self.username, &self.password) {
            return Ok(Credentials::basic(user, password));
        }
        if let Some(token) = self.token.filter(|token| !token.trim().is_empty()) {
            return Credentials::token(&token, &format!("the token of user {name} of {place}"));
        }
        if let Some(path) = self.token_file.filter(|path| !path.is_empty()) {
            return Credentials::file(path.into(), &format!("the tokenFile of user {name} of {place}"));
        }
        let Some(exec) = self.exec else { return Ok(Credentials::default()) };
        let user = User { name, place: place.to_string() };
        Ok(Credentials::program(exec.of(cluster, &user)?, user))
    }
}

impl FileExec {
    fn of(self, cluster: &Cluster, user: &User) -> Result<Exec, StoreError> {
        let command = self.command.filter(|command| !command.is_empty());
        let command = command.ok_or_else(|| unusable(format!("exec of {user} names no command")))?;
        let env = self.env.into_iter().flatten().map(|variable| (variable.name, variable.value));
        Ok(Exec {
            api_version: self.api_version.unwrap_or_default(),
            command,
            args: self.args.unwrap_or_default(),
            env: env.collect(),
            may_ask: self.interactive_mode.as_deref() != Some("Never"),
            cluster: self.provide_cluster_info.then(|| cluster.info()),
        })
    }
}

impl Cluster {
    /// What a credential plugin is told about the cluster, if the kubeconfig wants that.
    fn info(&self) -> Json {
        let mut info = serde_json::Map::new();
        let mut put = |name: &str, value: Option<Json>| {
            if let Some(value) = value {
                info.insert(name.to_string(), value);
            }
        };
        put("server", self.server.as_ref().map(|server| json!(server)));
        put("insecure-skip-tls-verify", self.insecure_skip_tls_verify.map(|skip| json!(skip)));
        put("certificate-authority-data", self.certificate_authority_data.as_ref().map(|data| json!(data)));
        put("tls-server-name", self.tls_server_name.as_ref().map(|name| json!(name)));
        let mut extensions = self.extensions.iter().flatten();
        let extension = extensions.find(|one| one.name == "client.authentication.k8s.io/exec");
        put("config", extension.map(|one| one.extension.clone()));
        Json::Object(info)
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {} of {}", self.name, self.place)
    }
}
