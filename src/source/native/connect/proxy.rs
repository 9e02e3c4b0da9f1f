//! Which proxy leads to an API server: as the HTTP client of Go finds it, which is kubectl's. Pure.
//!
//! Invariants: what the kubeconfig names counts always; what the environment names never counts
//! for loopback and for what `NO_PROXY` exempts. A password is in no text for people.

use std::net::IpAddr;

use http::Uri;

/// What the environment says, in capital letters or, where those are empty, small ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `HTTP_PROXY`: for servers without TLS.
    pub http: String,
    /// `HTTPS_PROXY`: for servers with TLS.
    pub https: String,
    /// `NO_PROXY`.
    pub exempt: String,
}

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken to.
    pub kind: Kind,
    /// `http://host:port` or `https://host:port`, always with a port, without name and password.
    pub address: Uri,
    /// The name and password that it wants.
    pub login: Option<(String, String)>,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP: `CONNECT` for servers with TLS, absolute addresses for others.
    Http,
    /// The same, over TLS.
    Https,
    /// SOCKS5. Names are for the proxy to find, whether it is `socks5` or `socks5h`.
    Socks5,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.kind, self.address)
    }
}

/// Understands a proxy's address; without a scheme it is an HTTP proxy's.
///
/// # Errors
/// It is none.
pub fn parse(text: &str) -> Result<Proxy, String> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => ("http".to_owned(), text),
    };
    let (kind, scheme, port) = match scheme.as_str() {
        "http" => (Kind::Http, "http", 80),
        "https" => (Kind::Https, "https", 443),
        "socks5" | "socks5h" => (Kind::Socks5, "http", 1080),
        other => {
            return Err(format!(
                "a proxy is reached by http, https, socks5 or socks5h, not by `{other}`"
            ));
        }
    };
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (login, host) = match rest.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, rest),
    };
    let login = login.map(|login| {
        let (name, password) = login.split_once(':').unwrap_or((login, ""));
        (unescaped(name), unescaped(password))
    });
    let no_proxy = || format!("`{host}` is not the address of a proxy");
    let address: Uri = format!("{scheme}://{host}/")
        .parse()
        .map_err(|_| no_proxy())?;
    let name = address
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(no_proxy)?;
    let port = address.port_u16().unwrap_or(port);
    let address = format!("{scheme}://{name}:{port}/")
        .parse()
        .map_err(|_| no_proxy())?;
    Ok(Proxy {
        kind,
        address,
        login,
    })
}

/// The proxy to a server, if there is one. `named` is the kubeconfig's.
///
/// # Errors
/// What names it is no address of a proxy.
pub fn choose(
    server: &Uri,
    named: Option<&str>,
    environment: &Environment,
) -> Result<Option<Proxy>, String> {
    if let Some(named) = named {
        // kubectl is stricter here than with what the environment says.
        let scheme = named
            .split_once("://")
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        let proxy = match scheme.as_deref() {
            Some("http" | "https" | "socks5") => parse(named),
            Some("socks5h") => Err("write socks5, which also has the proxy find names".to_owned()),
            Some(_) | None => Err("it must begin with http://, https:// or socks5://".to_owned()),
        };
        return proxy
            .map(Some)
            .map_err(|why| format!("its proxy-url: {why}"));
    }
    let has_tls = server.scheme_str() != Some("http");
    let (variable, named) = if has_tls {
        ("HTTPS_PROXY", &environment.https)
    } else {
        ("HTTP_PROXY", &environment.http)
    };
    let host = bare(server.host().unwrap_or_default());
    let port = server.port_u16().unwrap_or(if has_tls { 443 } else { 80 });
    if named.trim().is_empty() || is_exempt(&host, port, &environment.exempt) {
        return Ok(None);
    }
    let proxy = parse(named).map_err(|why| format!("${variable}: {why}"))?;
    Ok(Some(proxy))
}

fn is_exempt(host: &str, port: u16, exempt: &str) -> bool {
    let address = address(host);
    let is_loopback = address.is_some_and(|address| address.is_loopback());
    is_loopback
        || host == "localhost"
        || exempt
            .split(',')
            .map(|one| one.trim().to_ascii_lowercase())
            .any(|one| exempts(&one, host, address, port))
}

/// Whether one entry of `NO_PROXY` exempts a host.
fn exempts(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry.is_empty() {
        return false;
    }
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/')
        && let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>())
    {
        return address.is_some_and(|address| is_within(address, network, bits));
    }
    let (name, wanted) = name_and_port(entry);
    if wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    if let Ok(one) = bare(name).parse::<IpAddr>() {
        return address == Some(one.to_canonical());
    }
    // `example.org` is the name and all below, `.example.org` and `*.example.org` only those.
    let (domain, with_itself) = match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(domain) => (domain, false),
        None => (name, true),
    };
    let below = host
        .strip_suffix(domain)
        .is_some_and(|rest| rest.ends_with('.'));
    !domain.is_empty() && (below || with_itself && host == domain)
}

/// Splits `name:port`, `[address]:port`, and leaves an address of version 6 whole.
fn name_and_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) if port.is_empty() => (name, None),
            Err(_) => (entry, None),
        },
        Some(_) | None => (entry, None),
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network.to_canonical()) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

/// A host in small letters, without the brackets of an address and the dot at a name's end.
fn bare(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn address(host: &str) -> Option<IpAddr> {
    host.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// Resolves `%40` and the like; what is no such sequence stays.
pub(super) fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(server: &str, environment: &[&str; 3]) -> String {
        let [http, https, exempt] = environment.map(str::to_owned);
        let environment = Environment {
            http,
            https,
            exempt,
        };
        let server = server.parse().unwrap();
        match choose(&server, None, &environment) {
            Ok(None) => "direct".to_owned(),
            Ok(Some(proxy)) => format!("{proxy:?}"),
            Err(why) => why,
        }
    }

    #[test]
    fn no_proxy_exempts_what_it_exempts_for_go_programs() {
        for (server, exempt, direct) in [
            ("https://10.96.0.1", "10.96.0.0/12", true),
            ("https://10.96.0.1", "10.112.0.0/12", false),
            ("https://10.96.0.1", "0.0.0.0/0", true),
            ("https://10.96.0.1", "10.96.0.1/33", false),
            ("https://10.96.0.1", "10.96.0.1,", true),
            ("https://10.96.0.1:6443", "10.96.0.1:6443", true),
            ("https://10.96.0.1:6443", "10.96.0.1:443", false),
            ("https://10.96.0.1", "10.96.0.1:443", true),
            ("https://10.96.0.1", "10.96.0.1:", true),
            ("https://10.96.0.1", "10.96.0.1:https", false),
            ("https://10.96.0.1", " 10.96.0.1 , .svc", true),
            ("https://10.96.0.1", "localhost,,10.96.0.1", true),
            ("https://10.96.0.1", "*", true),
            ("https://10.96.0.1", "", false),
            ("https://[fd00::1]:6443", "fd00::/8", true),
            ("https://[fd00::1]:6443", "fd00::1", true),
            ("https://[fd00::1]:6443", "[fd00::1]:6443", true),
            ("https://[fd00::1]:6443", "[fd00::1]:1", false),
            ("https://api.example.org", "example.org", true),
            ("https://example.org", "example.org", true),
            ("https://example.org", ".example.org", false),
            ("https://api.example.org", ".example.org", true),
            ("https://api.example.org", "*.example.org", true),
            ("https://example.org", "*.example.org", false),
            ("https://api.example.org", "le.org", false),
            ("https://API.Example.org", "api.EXAMPLE.org", true),
            ("https://api.example.org:6443", "example.org:6443", true),
            ("https://127.0.0.1:6443", "", true),
            ("https://127.9.9.9", "", true),
            ("https://localhost", "", true),
            ("https://[::1]", "", true),
            ("https://[::ffff:10.96.0.1]", "10.96.0.0/12", true),
        ] {
            let way = way(server, &["", "proxy:3128", exempt]);
            let expected = if direct {
                "direct"
            } else {
                "Http http://proxy:3128/"
            };
            assert_eq!(way, expected, "{server} {exempt:?}");
        }
    }

    #[test]
    fn each_kind_of_server_has_its_variable() {
        let both = ["plain:1", "tls:2", ""];
        assert_eq!(way("http://a", &both), "Http http://plain:1/");
        assert_eq!(way("https://a", &both), "Http http://tls:2/");
        assert_eq!(way("https://a", &["plain:1", "", ""]), "direct");
    }

    #[test]
    fn a_proxy_may_be_written_in_many_ways() {
        for (text, expected, login) in [
            ("proxy", "Http http://proxy:80/", None),
            ("http://proxy:3128/", "Http http://proxy:3128/", None),
            (" HTTP://proxy:3128", "Http http://proxy:3128/", None),
            ("https://proxy", "Https https://proxy:443/", None),
            ("socks5://proxy", "Socks5 http://proxy:1080/", None),
            ("socks5h://[::1]:9", "Socks5 http://[::1]:9/", None),
            (
                "http://me:pa%40ss%3Aword%@proxy:1",
                "Http http://proxy:1/",
                Some(("me", "pa@ss:word%")),
            ),
            ("me@proxy:1", "Http http://proxy:1/", Some(("me", ""))),
        ] {
            let proxy = parse(text).unwrap();
            assert_eq!(format!("{proxy:?}"), expected, "{text}");
            let found = proxy.login.as_ref();
            let found = found.map(|(name, password)| (name.as_str(), password.as_str()));
            assert_eq!(found, login, "{text}");
        }
    }

    #[test]
    fn a_kubeconfig_names_a_proxy_as_kubectl_wants_it() {
        let server = Uri::from_static("https://127.0.0.1");
        let chosen = |named| choose(&server, Some(named), &Environment::default());
        let shown = |named| format!("{:?}", chosen(named).unwrap().unwrap());
        assert_eq!(shown("HTTP://a:1"), "Http http://a:1/", "loopback, too");
        assert_eq!(shown("socks5://a"), "Socks5 http://a:1080/");
        for named in ["a:1", "socks5h://a", "ftp://a"] {
            assert!(
                chosen(named).unwrap_err().starts_with("its proxy-url: "),
                "{named}"
            );
        }
    }

    #[test]
    fn what_is_no_proxy_is_an_error_that_does_not_show_the_password() {
        for text in ["", "http://", "ftp://proxy", "a b", "http://me:secret@a b"] {
            let why = parse(text).unwrap_err();
            assert!(!why.contains("secret") && !why.contains('\n'), "{why}");
        }
    }
}
