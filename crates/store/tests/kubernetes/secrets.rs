//! Whatever is wrong with a kubeconfig or a server, no message contains a secret.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use store::kubernetes::{KubeOptions, KubeStore, Kubeconfig};
use store::{ReadSet, Store, StoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::fixture::{GROUPS, WITHIN, handle};

/// Every secret contains this text three times, so that the text is still found if a fault damages one of
/// them.
const SECRET: &str = "hunter2";
const PLANTED: &str = "hunter2-hunter2-hunter2";

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A kubeconfig with a secret in each place that can hold one.
fn kubeconfig() -> String {
    let key = format!("-----BEGIN PRIVATE KEY-----\n{PLANTED}\n-----END PRIVATE KEY-----\n");
    format!(
        r#"apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster:
    server: https://u:{PLANTED}@127.0.0.1:1/
    proxy-url: http://u:{PLANTED}@127.0.0.1:2
contexts:
- name: test
  context: {{cluster: test, user: test}}
users:
- name: test
  user:
    token: {PLANTED}
- name: basic
  user:
    username: u
    password: "{PLANTED}"
- name: key
  user:
    client-certificate-data: {}
    client-key-data: {}
    client-key: {PLANTED}
- name: provider
  user:
    auth-provider: {{name: oidc, config: {{id-token: '{PLANTED}'}}}}
- name: program
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: ./plugin
      args: [--password, {PLANTED}]
      env:
      - name: TOKEN
        value: {PLANTED}
      interactiveMode: Never
"#,
        base64("x"),
        base64(&key)
    )
}

fn open(kubeconfig: Kubeconfig) -> Result<KubeStore, StoreError> {
    KubeStore::open(KubeOptions {
        kubeconfig: Some(kubeconfig),
        group: Some(GROUPS[0]),
        ..KubeOptions::default()
    })
}

fn checked(error: &(impl std::error::Error + 'static), of: &str) {
    let texts = format!("{error} {error:?}");
    assert!(!texts.contains(SECRET) && !texts.contains(&base64(SECRET)[..8]), "{of}: {texts}");
}

/// Damages the text at each place in turn: removes a character, inserts one, or ends the text there. Each
/// text is used directly and as a file, for every user in it.
#[test]
fn no_fault_of_a_kubeconfig_tells_a_secret() {
    let whole = kubeconfig();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    let mut told = std::collections::BTreeSet::new();
    for user in ["test", "basic", "key", "provider", "program"] {
        let whole = whole.replace("user: test}", &format!("user: {user}}}"));
        let direct = whole.replace("    proxy-url", "    #proxy-url");
        for (at, _) in whole.char_indices().filter(|(at, _)| at % 3 == 0) {
            let (before, after) = whole.split_at(at);
            let mut faults = vec![before.to_string(), format!("{before}{}", &after[1..])];
            faults.extend(["\"", ":", "\n", "*", "[", "\u{7}"].map(|c| format!("{before}{c}{after}")));
            for fault in &faults {
                if let Err(error) = open(Kubeconfig::Inline(fault.clone())) {
                    checked(&error, fault);
                    told.insert(error.to_string().split(':').next_back().unwrap_or_default().to_string());
                }
            }
            if at % 30 == 0 {
                fs::write(&path, &faults[1]).unwrap();
                if let Err(error) = open(Kubeconfig::Files(vec![path.clone()])) {
                    checked(&error, &faults[1]);
                }
            }
        }
        // If the kubeconfig looks valid, the server is asked and the plugin is run.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for kubeconfig in [direct, whole] {
            match open(Kubeconfig::Inline(kubeconfig)) {
                Err(error) => checked(&error, user),
                Ok(store) => {
                    let read = async { store.read(&ReadSet::new().key(handle("a")), WITHIN).await };
                    let error = runtime.block_on(read).unwrap_err();
                    checked(&error, user);
                    assert!(!format!("{store:?}").contains(SECRET), "{store:?}");
                }
            }
        }
    }
    assert!(told.iter().any(|kind| kind.contains("it is no YAML")), "{told:?}");
    assert!(told.iter().any(|kind| kind.contains("another kind")), "{told:?}");
}

#[test]
fn a_fault_is_told_with_file_line_and_column() {
    let text = "clusters:\n- name: test\nusers:\n- name: test\n  user: {token: [hunter2]}\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    fs::write(&path, text).unwrap();
    let error = open(Kubeconfig::Files(vec![path.clone()])).unwrap_err().to_string();
    let wanted = format!("the kubeconfig {} cannot be understood: line 5, column 17: ", path.display());
    assert!(error.starts_with(&wanted), "{error}");
}

/// A kubeconfig with one user.
fn of_user(server: &str, user: Json) -> Kubeconfig {
    let config = json!({"current-context": "c", "clusters": [{"name": "d", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "d", "user": "u"}}], "users": [{"name": "u", "user": user}]});
    Kubeconfig::Inline(config.to_string())
}

/// The plugin is run by a shell: a file that was just written cannot be executed while another thread starts
/// a program.
fn plugin(dir: &Path, script: &str) -> Json {
    let path = dir.join("plugin.sh");
    fs::write(&path, script).unwrap();
    json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": [path, PLANTED],
        "env": [{"name": "TOKEN", "value": PLANTED}]}})
}

async fn read_error(kubeconfig: Kubeconfig, within: Duration) -> String {
    let store = open(kubeconfig).unwrap();
    let error = store.read(&ReadSet::new().key(handle("a")), within).await.unwrap_err();
    checked(&error, "a plugin");
    assert!(!error.is_transient(), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_credential_plugin_that_fails_is_told_by_its_name_and_end() {
    let dir = tempfile::tempdir().unwrap();
    for (script, wanted) in [
        (
            "echo $TOKEN $1; echo $TOKEN $1 >&2; exit 3",
            "/bin/sh (exec of user u of the kubeconfig given as text): it failed (exit status: 3)",
        ),
        ("echo $TOKEN", "is no ExecCredential: line 1"),
        ("echo '{\"status\": {\"token\": ['$TOKEN']}}'", "is no ExecCredential: line 1"),
        ("echo '{\"token\": \"'$TOKEN'\"}'", "it has no status"),
        (
            "printf '{\"status\": {\"token\": \"%s\\\\n%s\"}}' $TOKEN $TOKEN",
            "its token holds what no HTTP header can",
        ),
        ("kill -9 $$", "signal: 9"),
        ("yes $TOKEN", "wrote more than 1 MiB"),
    ] {
        let error = read_error(of_user("http://127.0.0.1:1", plugin(dir.path(), script)), WITHIN).await;
        assert!(error.contains(wanted), "{script}: {error}");
    }
    let missing = json!({"exec": {"command": "/does/not/exist", "args": [PLANTED]}});
    let error = read_error(of_user("http://127.0.0.1:1", missing), WITHIN).await;
    assert!(error.contains("/does/not/exist") && error.contains("cannot be run"), "{error}");
}

/// The plugin is killed together with the processes that it has started. Other tasks go on meanwhile.
#[tokio::test]
async fn a_credential_plugin_that_hangs_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let note = dir.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", note.display());
    let config = of_user("http://127.0.0.1:1", plugin(dir.path(), &script));
    let start = Instant::now();
    let mut ticks = 0;
    let mut clock = tokio::time::interval(Duration::from_millis(10));
    let error = tokio::select! {
        error = read_error(config, Duration::from_secs(2)) => error,
        () = async { loop { clock.tick().await; ticks += 1; } } => unreachable!("it never ends"),
    };
    assert!(
        error.contains("the credential plugin /bin/sh") && error.contains("it did not end within 2 s"),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(60) && ticks > 5, "{ticks}");
    let sleeper = fs::read_to_string(note).unwrap();
    let is_there = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", sleeper.trim())).unwrap_or_default();
        !matches!(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()), None | Some('Z' | 'X'))
    };
    for _ in 0..500 {
        if !is_there() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{sleeper} still runs");
}

/// A server that answers each request with that code and with the request itself. Also gives the requests.
async fn echo(code: u16) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 8192];
            let count = stream.read(&mut buffer).await.unwrap();
            let request = String::from_utf8_lossy(&buffer[..count]).into_owned();
            let answer = format!(
                "HTTP/1.1 {code} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{request}",
                request.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            sender.send(request).unwrap();
        }
    });
    (address, requests)
}

/// The server may quote the credentials in other spellings: within JSON, decoded, or encoded again.
#[tokio::test]
async fn what_the_server_says_of_who_asked_is_hidden() {
    let secret = "hun\"ter/2\\";
    let user = format!("us:{secret}");
    let basic = json!({"username": "us", "password": secret});
    let token = "hunter2/abcdef+ghi";
    let escaped = |text: &str| text.bytes().map(|byte| format!("\\u{byte:04x}")).collect::<String>();
    let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    for (user, said) in [
        (basic.clone(), json!({"message": format!("wrong password {secret} of {user}")}).to_string()),
        (basic.clone(), format!("{{\"message\": \"{}\"}}", escaped(secret))),
        (
            basic.clone(),
            json!({"message": format!("not {} nor {:?}", base64(&user), base64(secret))}).to_string(),
        ),
        (basic.clone(), json!({"message": json!({"user": user}).to_string()}).to_string()),
        (basic, format!("{user} {secret:?} {}", percent(secret))),
        (json!({"token": token}), format!("{{\"message\": \"{}\"}}", escaped(token))),
        (
            json!({"token": token}),
            json!({"message": format!("{} {}", percent(token), token.to_uppercase())}).to_string(),
        ),
        (json!({"token": token}), format!("{} {}", base64(token), token.replace('/', "\\/"))),
    ] {
        for code in [401, 403, 422, 500] {
            let (address, _requests) = answering(format!(
                "HTTP/1.1 {code} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{said}",
                said.len()
            ))
            .await;
            let store = open(of_user(&format!("http://{address}"), user.clone())).unwrap();
            let error = store.read(&ReadSet::new().key(handle("a")), WITHIN).await.unwrap_err().to_string();
            let (lower, part) = (error.to_lowercase(), &base64("us:hun")[..8]);
            let is_told = ["hun", "ter/", "abcdef", "%68", "\\u00"].iter().any(|part| lower.contains(part));
            assert!(error.contains("<hidden>") && !is_told && !error.contains(part), "{said}: {error}");
        }
    }
}

/// A server that gives the same answer to every request.
async fn answering(answer: String) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut vec![0; 8192]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, task)
}

/// The server may be another program, which echoes the requests.
#[tokio::test]
async fn who_echoes_a_request_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let credential = json!({"status": {"token": PLANTED}});
    let users = [
        json!({"token": PLANTED}),
        json!({"username": "u", "password": PLANTED}),
        plugin(dir.path(), &format!("echo '{credential}'")),
    ];
    for (code, user) in [200, 302, 401, 403, 404, 418, 500]
        .into_iter()
        .flat_map(|code| users.iter().map(move |user| (code, user)))
    {
        let (address, mut requests) = echo(code).await;
        let store = open(of_user(&format!("http://{address}"), user.clone())).unwrap();
        let found = store.read(&ReadSet::new().key(handle("a")), WITHIN).await;
        let request = requests.recv().await.unwrap();
        assert!(request.to_lowercase().contains("\r\nauthorization: b"), "{request}");
        match found {
            Err(error) => checked(&error, &format!("{code} {user}")),
            Ok(view) => match view.unreadable(&handle("a")) {
                Some(unreadable) => checked(&unreadable.error, &format!("{code} {user}")),
                None => assert_eq!(code, 404, "an object that is not there"),
            },
        }
    }
}

/// Tokens and URLs are treated as client-go treats them.
#[tokio::test]
async fn tokens_are_trimmed_and_servers_need_no_scheme() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, "from-file\r\n").unwrap();
    for (user, wanted) in [
        (json!({"token": "in-place\n"}), "Bearer in-place\r\n"),
        (json!({"tokenFile": file}), "Bearer from-file\r\n"),
        (plugin(dir.path(), r#"printf '{"status": {"token": "of-program\\n"}}'"#), "Bearer of-program\r\n"),
        (json!({"username": "u", "password": "p\n"}), "Basic dTpwCg==\r\n"),
    ] {
        let (address, mut requests) = echo(500).await;
        let store = open(of_user(&format!(" http://{address}\n"), user)).unwrap();
        store.read(&ReadSet::new().key(handle("a")), WITHIN).await.unwrap_err();
        let request = requests.recv().await.unwrap();
        assert!(request.contains(wanted), "{wanted}: {request}");
    }
    // A URL without a scheme means https, which this server does not speak.
    let (address, _requests) = echo(500).await;
    let store = open(of_user(&address, json!({}))).unwrap();
    let error = store.read(&ReadSet::new().key(handle("a")), WITHIN).await.unwrap_err();
    assert!(error.to_string().contains(&format!("https://{address}")), "{error}");
    for server in ["", "host:port", "ftp://h", "https://", "http://a b", "https://h[::1]", "8[:]"] {
        let error = open(of_user(server, json!({}))).unwrap_err().to_string();
        assert!(error.contains("is no URL"), "{server}: {error}");
    }
    // Everything before the last @ may be a password, or the beginning of one.
    for server in [
        "https://root:pa@hunter2/x@127.0.0.1:1",
        "https://hunter2:123/rest@127.0.0.1:1",
        "https://root:123/hunter2@127.0.0.1:1",
        "root:hunter2",
    ] {
        let endpoint = KubeOptions { endpoint: Some(server.to_string()), ..KubeOptions::default() };
        for error in [open(of_user(server, json!({}))).unwrap_err(), KubeStore::open(endpoint).unwrap_err()] {
            checked(&error, server);
            assert!(
                error.to_string().contains("is no URL (") && !error.to_string().contains("123"),
                "{error}"
            );
        }
    }
    let error = open(of_user("h", json!({"token": "two\nlines"}))).unwrap_err().to_string();
    assert!(
        error.starts_with("the token of user u of the kubeconfig given as text holds what no HTTP header"),
        "{error}"
    );
}

/// When the credentials have expired, the plugin is run once for new ones.
#[tokio::test]
async fn who_is_not_known_any_more_asks_the_plugin_again() {
    let dir = tempfile::tempdir().unwrap();
    let count = dir.path().join("count");
    let script = format!(
        r#"echo x >> {0}; printf '{{"status": {{"token": "t%s"}}}}' $(wc -l < {0})"#,
        count.display()
    );
    let (address, mut requests) = echo(401).await;
    let store = open(of_user(&format!("http://{address}"), plugin(dir.path(), &script))).unwrap();
    let error = store.read(&ReadSet::new().key(handle("a")), WITHIN).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied(_)), "{error:?}");
    for token in ["Bearer t1\r\n", "Bearer t2\r\n"] {
        let request = requests.recv().await.unwrap();
        assert!(request.contains(token), "{token}: {request}");
    }
    assert!(requests.try_recv().is_err());
}
