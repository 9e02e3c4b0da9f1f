use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A kubeconfig with one context, for which `cluster` and `user` are lines of flow YAML.
fn with(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: 'https://a', {cluster}}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\n"
    )
}

fn read(text: &str) -> Result<Entry, String> {
    let file = parse(Path::new("/etc/kube/kubeconfig"), text.as_bytes())?;
    choose(&[file], None)
}

fn user_of(user: &str) -> Result<User, String> {
    read(&with("", user)).map(|entry| entry.user)
}

#[test]
fn paths_count_from_the_folder_of_their_file_and_data_comes_first() {
    let cluster = |text| read(&with(text, "")).unwrap().cluster.authority;
    let file = |path: &str| Some(Source::File(PathBuf::from(path)));
    assert_eq!(cluster(""), None);
    assert_eq!(cluster("certificate-authority: ca"), file("/etc/kube/ca"));
    assert_eq!(cluster("certificate-authority: /ca"), file("/ca"));
    assert_eq!(
        cluster("certificate-authority: ca, certificate-authority-data: 'cGVt\n  '"),
        Some(Source::Inline(b"pem".to_vec()))
    );
    let user =
        user_of("tokenFile: t, exec: {apiVersion: client.authentication.k8s.io/v1, command: ./p}");
    let user = user.unwrap();
    assert_eq!(user.token_file, Some(PathBuf::from("/etc/kube/t")));
    assert_eq!(user.plugin.unwrap().command, "/etc/kube/./p");
    let user = user_of("exec: {apiVersion: client.authentication.k8s.io/v1, command: p}");
    assert_eq!(user.unwrap().plugin.unwrap().command, "p");
}

#[test]
fn of_several_files_the_first_that_names_something_wins() {
    let one = "clusters: [{name: k, cluster: {server: 'https://first', certificate-authority: ca}}]\n\
               current-context: ''\n";
    let two = with("", "token: t");
    let files = [("/one/f", one), ("/none/f", ""), ("/two/f", two.as_str())];
    let files = files.map(|(path, text)| parse(Path::new(path), text.as_bytes()).unwrap());
    let entry = choose(&files, None).unwrap();
    assert_eq!(entry.context, "c");
    assert_eq!(entry.cluster.server, "https://first");
    assert_eq!(
        entry.cluster.authority,
        Some(Source::File(PathBuf::from("/one/ca")))
    );
    assert_eq!(entry.user.token.as_deref(), Some("t"));
    assert!(choose(&files, Some("d")).unwrap_err().contains("`d`"));
}

#[test]
fn kubeconfigs_are_read_as_tools_write_them() {
    let server = "clusters: [{name: k, cluster: {server: 'https://a'}}]";
    let context = "contexts: [{name: c, context: {cluster: k}}]\ncurrent-context: c";
    for text in [
        format!("{server}\n{context}\nusers: null\n"),
        format!("{server}\n{context}\nusers: [{{name: u, user: null}}]\npreferences: {{}}\n"),
        format!("\u{feff}{server}\n{context}\n"),
        format!("# a comment\n---\n{server}\n{context}\n---\nkind: Other\n"),
        "clusters:\n- &k\n  name: k\n  cluster: {server: 'https://a', new: [1]}\n- <<: *k\n  name: l\n"
            .to_owned()
            + context,
        format!("clusters: [{{name: x, cluster: {{server: [odd]}}}}, {{name: k, cluster: {{server: 'https://a'}}}}]\n{context}"),
        json!({
            "clusters": [{"name": "k", "cluster": {"server": "https://a"}}],
            "contexts": [{"name": "c", "context": {"cluster": "k"}}], "current-context": "c",
        })
        .to_string()
        .replace(",", ",\n\t"),
    ] {
        let entry = read(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
        assert_eq!(entry.cluster.server, "https://a", "{text}");
    }
    let text = format!("{server}\n{context}\n");
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let file = parse(Path::new("f"), &[&[0xFF, 0xFE][..], &wide].concat()).unwrap();
    assert!(choose(&[file], None).is_ok());
}

#[test]
fn old_booleans_are_booleans_and_numbers_are_texts() {
    for (text, expected) in [
        ("true", true),
        ("yes", true),
        ("'true'", true),
        ("no", false),
        ("null", false),
    ] {
        let entry = read(&with(&format!("insecure-skip-tls-verify: {text}"), "")).unwrap();
        assert_eq!(entry.cluster.insecure, expected, "{text}");
    }
    assert_eq!(
        user_of("token: 12345").unwrap().token.as_deref(),
        Some("12345")
    );
}

#[test]
fn whoever_acts_as_somebody_else_says_so_in_headers() {
    let user = "as: joe, as-uid: '7', as-groups: [a, b], as-user-extra: {Scopes/x: [y, z]}";
    let headers = user_of(user).unwrap().impersonation;
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(
        headers,
        [
            ("impersonate-user", "joe"),
            ("impersonate-uid", "7"),
            ("impersonate-group", "a"),
            ("impersonate-group", "b"),
            ("impersonate-extra-scopes%2fx", "y"),
            ("impersonate-extra-scopes%2fx", "z"),
        ]
    );
}

#[test]
fn a_mistake_is_one_line_that_names_it() {
    let exec = |rest: &str| with("", &format!("exec: {{command: p, {rest}}}"));
    let v1 = "apiVersion: client.authentication.k8s.io/v1";
    for (text, clue) in [
        ("- a\n".to_owned(), "not a mapping"),
        ("a: [\n".to_owned(), ""),
        ("kind: Pod\n".to_owned(), "kind is Pod"),
        ("{}".to_owned(), "no current context"),
        ("current-context: x\n".to_owned(), "no context `x`"),
        (with("", "").replace("name: k", "name: l"), "cluster `k`"),
        (with("", "").replace("name: u", "name: v"), "user `u`"),
        (with("", "").replace("server:", "servers:"), "no server"),
        (with("certificate-authority-data: '%'", ""), "not base64"),
        (
            with(
                "certificate-authority: a, insecure-skip-tls-verify: true",
                "",
            ),
            "exclude each other",
        ),
        (with("insecure-skip-tls-verify: maybe", ""), "maybe"),
        (with("", "client-certificate: a"), "needs a client-key"),
        (with("", "client-key: a"), "needs a client-certificate"),
        (with("", "as-groups: [a]"), "as nobody"),
        (
            with("", "auth-provider: {name: gcp}"),
            "gke-gcloud-auth-plugin",
        ),
        (with("", "auth-provider: {name: oidc}"), "id-token"),
        (with("", "exec: {apiVersion: a}"), "no command"),
        (exec(""), "no apiVersion"),
        (
            exec("apiVersion: client.authentication.k8s.io/v1alpha1"),
            "v1alpha1",
        ),
        (exec(&format!("{v1}, interactiveMode: Maybe")), "Maybe"),
        (exec(&format!("{v1}, args: [\"a\\0b\"]")), "no command line"),
    ] {
        let why = read(&text).unwrap_err();
        assert!(why.contains(clue), "{text} → {why}");
        assert!(!why.contains('\n') && why.len() < 400, "{why:?}");
    }
}

proptest! {
    /// A value anywhere, of any type, is understood or refused in one line.
    #[test]
    fn whatever_a_kubeconfig_holds_it_is_an_entry_or_one_line(
        key in prop::sample::select(vec![
            "server", "certificate-authority", "certificate-authority-data", "tls-server-name",
            "insecure-skip-tls-verify", "proxy-url", "extensions", "token", "tokenFile", "exec",
            "username", "client-certificate-data", "client-key-data", "as", "as-groups",
            "as-user-extra", "auth-provider", "command", "args", "env", "apiVersion", "name",
        ]),
        value in ".{0,12}",
        junk in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let _ = parse(Path::new("f"), &junk);
        for value in [json!(value), json!(7), json!([value]), json!({"name": value}), json!(null)] {
            let mut user = json!({"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "p",
            }});
            user["exec"][key] = value.clone();
            user[key] = value.clone();
            let text = json!({
                "clusters": [{"name": "k", "cluster": {"server": "https://a", key: value}}],
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "users": [{"name": "u", "user": user}], "current-context": "c",
            });
            if let Err(why) = read(&text.to_string()) {
                prop_assert!(!why.contains('\n') && !why.is_empty(), "{why:?}");
            }
        }
    }
}
