//! The secrets in what this plugin passes on to another plugin. No message may contain them, and a plugin
//! that fails may quote all of its input.

use outside::Secrets;
use serde_json::Value as Json;
use setup::Environment;

/// Words in the names of fields and variables that mark their values as secret.
const SECRET: [&str; 7] =
    ["pass", "token", "secret", "key", "credential", "authorization", "kubeconfiginline"];
/// Endings of names whose values are not secrets but the paths of secrets.
const PATH: [&str; 4] = ["file", "path", "dir", "folder"];
/// How long the user in a URL without a password must be to count as a secret: such a long one can only be a
/// token.
const TOKEN: usize = 16;

/// The secrets in a configuration and an environment: the values of all names that are marked as secret, at
/// any depth, and the passwords in all URLs.
pub(crate) fn of(configuration: &Json, environment: &Environment) -> Secrets {
    let mut secrets = Secrets::default();
    of_value(&mut secrets, configuration, false);
    for (name, value) in environment.variables() {
        of_text(&mut secrets, value, is_secret(name));
    }
    secrets
}

fn is_secret(name: &str) -> bool {
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    SECRET.iter().any(|word| name.contains(word)) && !PATH.iter().any(|end| name.ends_with(end))
}

fn of_value(secrets: &mut Secrets, value: &Json, is_named: bool) {
    match value {
        Json::Object(fields) => {
            fields.iter().for_each(|(name, value)| of_value(secrets, value, is_named || is_secret(name)));
        }
        Json::Array(items) => items.iter().for_each(|item| of_value(secrets, item, is_named)),
        Json::String(text) => of_text(secrets, text, is_named),
        Json::Number(number) if is_named => secrets.add(&number.to_string()),
        Json::Number(_) | Json::Bool(_) | Json::Null => {}
    }
}

fn of_text(secrets: &mut Secrets, text: &str, is_named: bool) {
    if is_named {
        secrets.add(text);
    }
    of_urls(secrets, text);
    // A value may be a whole document, such as a kubeconfig.
    match serde_json::from_str(text) {
        Ok(document @ (Json::Object(_) | Json::Array(_))) => of_value(secrets, &document, false),
        _ => {
            for line in text.split(['\n', ',', '{', '}']).filter_map(|line| line.split_once(": ")) {
                if is_secret(line.0) {
                    secrets.add(line.1.trim().trim_matches(['"', '\'']));
                }
            }
        }
    }
}

/// Finds passwords in URLs. A password may contain `/`, `@` and `,`, although it should not: it ends at the
/// last `@` before the next URL. URLs may lack a scheme.
fn of_urls(secrets: &mut Secrets, text: &str) {
    for word in text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>')) {
        let parts = std::iter::once(word).chain(word.split(',')).flat_map(|list| list.split("://"));
        for (user, _) in parts.filter_map(|part| part.rsplit_once('@')) {
            match user.split_once(':') {
                Some((_, password)) if password.len() < 4 => secrets.add(user),
                Some((_, password)) => secrets.add(password),
                None if user.len() >= TOKEN && !user.contains('/') => secrets.add(user),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A message may quote the input as JSON, with `{:?}` or as it is: no secret appears.
    #[test]
    fn what_is_given_is_not_told() {
        let kubeconfig = "users:\n- name: u\n  user:\n    token: \"hunter20\"\n    password: hunter21\n    client-key-data: hunter22\n";
        let configuration = json!({
            "etcd_endpoints": "u:hunter1@a:1,http://u:hunter2@b:1", "etcd_key_file": "/etc/key.pem",
            "ipam": {"type": "other", "etcd_password": "hun\"ter3\\", "apiKey": "hunter4", "tokens": ["hunter5", {"x": "hunter6"}],
                "servers": ["https://root:hunter7/x@c:1", "http://root:hun@ter8@d"], "password": 91827364},
            "policy": {"k8s_auth_token": "hunter9"},
        });
        let variables = [
            ("ETCD_ENDPOINTS", "http://u:hunter10@a:1"),
            ("K8S_API_ENDPOINT", "https://u:hunt%65r11@a"),
            ("ETCD_PASSWORD", "hunter12"),
            ("CALICO_K8SAPITOKEN", "hunter13"),
            ("KUBECONFIG_INLINE", kubeconfig),
            ("MY_SECRET", "hunter14"),
            ("TOKEN_FILE", "/etc/token"),
            ("DOCUMENT", r#"{"a": {"passwd": "hunter15"}}"#),
            ("PATH", "/usr/bin:/bin"),
        ];
        let environment: Environment = variables.into_iter().collect();
        let secrets = of(&configuration, &environment);
        let lines: String = variables.map(|(name, value)| format!("{name}={value}\n")).concat();
        let all = format!("{configuration} {lines}");
        for text in [all.clone(), format!("{all:?}"), format!("{configuration:?} {environment:?}")] {
            let told = secrets.hidden_in(&text);
            for secret in ["hunt", "hun", "ter8", "ter3", "91827364"] {
                assert!(!told.contains(secret), "{secret}: {told}");
            }
            for plain in ["http", "u:<hidden>@b:1", "/etc/key.pem", "/etc/token", "/usr/bin:/bin", "@c:1"] {
                assert!(told.contains(plain), "{plain}: {told}");
            }
        }
    }
}
