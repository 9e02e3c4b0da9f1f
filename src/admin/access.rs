//! Who may change the state of the relay: a process of this machine that means to, over a Unix
//! socket, or over a port that is bound to loopback. Behind a port that others reach, too, a proxy
//! on this host would make everybody a process of this machine.
//!
//! A web page that a browser on this machine shows could ask, too. It names itself as `Origin`,
//! or, where a name was bent to lead here, that name as `Host`; and the browser says with
//! `Sec-Fetch-Site` that some page asks, also where it leaves the origin out.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName,
    header::{HOST, ORIGIN},
    uri::Authority,
};

use crate::net::Peer;

/// Why a change of state is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It comes over the network.
    #[error(
        "the state is changed from this machine only, over loopback or a Unix socket; {0} is neither. \
         In a pod: `kubectl exec` or `kubectl port-forward`"
    )]
    Elsewhere(IpAddr),
    /// It comes over a port that is not for this machine alone.
    #[error(
        "this port is for reading only, because other machines reach it: the state is changed over \
         a Unix socket or a port on loopback. Start the relay with `--admin-address unix:PATH` as well"
    )]
    ReadOnly,
    /// The name that was asked for is not this machine's loopback.
    #[error("the state is changed at `localhost` or a loopback address only, by that name")]
    Host,
    /// Whoever asks has not said who they are.
    #[error("this port wants a client certificate for all but /livez and /readyz")]
    NoCertificate,
    /// A web page asks.
    #[error("the state is not changed from a web page")]
    Origin,
}

/// How the page that asks is related to us. A person who types the address is `none`.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether this peer may change something by a request with these headers.
///
/// # Errors
/// It may not.
pub fn may_change(peer: Peer, headers: &HeaderMap) -> Result<(), Refusal> {
    if let Peer::Tcp { from, loopback } = peer {
        let ip = from.ip().to_canonical();
        if !ip.is_loopback() {
            return Err(Refusal::Elsewhere(ip));
        }
        if !loopback {
            return Err(Refusal::ReadOnly);
        }
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        if hosts.next().is_some() || !host.is_some_and(is_loopback) {
            return Err(Refusal::Host);
        }
    }
    // No page of ours asks, and a client on a command line has no origin.
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    if headers.contains_key(ORIGIN) || sites.any(|site| site != "none") {
        return Err(Refusal::Origin);
    }
    Ok(())
}

/// Whether this path is answered on a port that knows clients by their certificates. The kubelet,
/// which probes, has none.
///
/// # Errors
/// It is not.
pub fn may_ask(path: &str, has_certificate: bool) -> Result<(), Refusal> {
    match path {
        "/livez" | "/readyz" => Ok(()),
        _ if has_certificate => Ok(()),
        _ => Err(Refusal::NoCertificate),
    }
}

/// Whether this `Host` names the loopback of the client.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare.unwrap_or(name).parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost") && !host.contains('@'),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn asked(peer: Option<&str>, headers: &[(http::HeaderName, &str)]) -> Result<(), Refusal> {
        let peer = peer.map_or(Peer::UNIX, |ip| Peer::Tcp {
            from: SocketAddr::new(ip.parse().unwrap(), 1),
            loopback: true,
        });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        may_change(peer, &map)
    }

    #[test]
    fn the_state_is_changed_from_this_machine_only() {
        let host = [(HOST, "localhost:8713")];
        for (peer, may) in [
            (None, true),
            (Some("127.0.0.1"), true),
            (Some("127.8.9.1"), true),
            (Some("::1"), true),
            (Some("::ffff:127.0.0.1"), true),
            (Some("::ffff:10.0.0.1"), false),
            (Some("10.0.0.1"), false),
            (Some("0.0.0.0"), false),
            (Some("fe80::1"), false),
        ] {
            let asked = asked(peer, &host);
            assert_eq!(asked.is_ok(), may, "{peer:?}");
            assert!(may || matches!(asked, Err(Refusal::Elsewhere(_))));
        }
    }

    #[test]
    fn a_port_that_others_reach_changes_nothing_whoever_asks() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "localhost:8713".parse().unwrap());
        for (ip, refusal) in [
            ("127.0.0.1", Refusal::ReadOnly),
            ("::1", Refusal::ReadOnly),
            ("10.0.0.1", Refusal::Elsewhere([10, 0, 0, 1].into())),
        ] {
            let from = SocketAddr::new(ip.parse().unwrap(), 1);
            let peer = Peer::Tcp {
                from,
                loopback: false,
            };
            assert_eq!(may_change(peer, &headers), Err(refusal), "{ip}");
        }
    }

    #[test]
    fn over_tcp_it_is_asked_for_by_a_name_of_loopback() {
        for (host, may) in [
            ("localhost", true),
            ("LocalHost:8713", true),
            ("127.0.0.1:8713", true),
            ("127.1.2.3", true),
            ("[::1]:8713", true),
            ("[::ffff:127.0.0.1]", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:8713", false),
            ("localhost@evil.example", false),
            ("evil@localhost", false),
            ("10.0.0.1:8713", false),
            ("0.0.0.0:8713", false),
            ("", false),
            (":8713", false),
            ("http://localhost/", false),
        ] {
            let expected = if may { Ok(()) } else { Err(Refusal::Host) };
            assert_eq!(
                asked(Some("127.0.0.1"), &[(HOST, host)]),
                expected,
                "{host}"
            );
        }
        assert_eq!(asked(Some("127.0.0.1"), &[]), Err(Refusal::Host));
        let two = [(HOST, "localhost"), (HOST, "evil.example")];
        assert_eq!(asked(Some("127.0.0.1"), &two), Err(Refusal::Host));
        assert_eq!(asked(None, &[]), Ok(()), "a browser opens no socket file");
    }

    #[test]
    fn a_port_that_knows_clients_answers_probes_alone_to_strangers() {
        for (path, open) in [
            ("/livez", true),
            ("/readyz", true),
            ("/readyz/", false),
            ("//livez", false),
            ("/livez/../metrics", false),
            ("/metrics", false),
            ("/statusz", false),
            ("/migrate/cutover", false),
            ("/", false),
            ("*", false),
        ] {
            assert_eq!(may_ask(path, false).is_ok(), open, "{path}");
            assert_eq!(may_ask(path, true), Ok(()), "{path}");
        }
    }

    #[test]
    fn no_web_page_changes_it() {
        for origin in ["null", "https://evil.example", "http://localhost:3000"] {
            let headers = [(HOST, "localhost:8713"), (ORIGIN, origin)];
            for peer in [Some("127.0.0.1"), None] {
                assert_eq!(asked(peer, &headers), Err(Refusal::Origin), "{origin}");
            }
        }
    }

    #[test]
    fn nor_one_that_leaves_its_origin_out() {
        for (sites, may) in [
            (&["none"][..], true),
            (&["cross-site"], false),
            (&["same-site"], false),
            (&["same-origin"], false),
            (&["Cross-Site"], false),
            (&[""], false),
            (&["none", "cross-site"], false),
        ] {
            let sites = sites.iter().map(|site| (SEC_FETCH_SITE, *site));
            let headers: Vec<_> = [(HOST, "localhost:8713")]
                .into_iter()
                .chain(sites)
                .collect();
            let expected = if may { Ok(()) } else { Err(Refusal::Origin) };
            for peer in [Some("127.0.0.1"), None] {
                assert_eq!(asked(peer, &headers), expected, "{headers:?}");
            }
        }
    }
}
