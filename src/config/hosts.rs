//! Hosts as settings name them. What no look-up could ever find is a mistake of the setting, not
//! of the network.
//!
//! Absent here: look-ups.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{HostPort, values::ValueError};

/// The longest name, and the longest part of one between two dots, in bytes.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A host on its own: a name, or an address. Brackets around an IPv6 address are taken off.
pub(super) fn host(text: &str) -> Result<String, ValueError> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_host = match bracketed {
        Some(inner) => is_ipv6(inner),
        None => is_ipv6(text) || is_name(text),
    };
    if is_host {
        return Ok(bracketed.unwrap_or(text).to_owned());
    }
    match text.parse::<HostPort>() {
        Ok(_) => Err(ValueError::HostWithPort),
        Err(_) => Err(ValueError::Host),
    }
}

/// Perhaps in a zone, as `fe80::1%eth0`.
pub(super) fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok()
}

/// A name that can be looked up, or an IPv4 address.
pub(super) fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_in_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(is_in_names)
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let looks_like_address = text.split('.').count() == 4 && text.split('.').all(is_number);
    name.len() <= LONGEST_NAME
        && name.split('.').all(is_label)
        && (!looks_like_address || text.parse::<Ipv4Addr>().is_ok())
}

/// Whether nobody can listen at both at once, as far as that can be said without a look-up.
pub(super) fn overlap(one: &HostPort, other: &HostPort) -> bool {
    // Port 0 is another one each time.
    one.port == other.port
        && one.port != 0
        && (one.host == other.host || {
            let (ours, theirs) = (addresses(&one.host), addresses(&other.host));
            ours.iter()
                .any(|a| theirs.iter().any(|b| covers(*a, *b) || covers(*b, *a)))
        })
}

fn addresses(host: &str) -> Vec<IpAddr> {
    match host {
        "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        other => other.parse().into_iter().collect(),
    }
}

/// Who listens at all IPv6 addresses does so at all IPv4 ones, too.
fn covers(wide: IpAddr, one: IpAddr) -> bool {
    match wide {
        _ if wide == one => true,
        IpAddr::V4(wide) => wide.is_unspecified() && one.is_ipv4(),
        IpAddr::V6(wide) => wide.is_unspecified(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        let longest_label = "l".repeat(63);
        let longest = [&*longest_label; 4].join(".");
        for (text, is) in [
            ("reducer", "reducer"),
            (
                "reducer.otel.svc.cluster.local.",
                "reducer.otel.svc.cluster.local.",
            ),
            ("my_service-2", "my_service-2"),
            ("10.0.0.1", "10.0.0.1"),
            ("1.2.3.4.example", "1.2.3.4.example"),
            ("::1", "::1"),
            ("[fe80::1%eth0]", "fe80::1%eth0"),
            (&longest[..253], &longest[..253]),
        ] {
            assert_eq!(host(text).as_deref(), Ok(is));
        }
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a b",
            "a\u{0}b",
            "http://a",
            "a/b",
            "a@b",
            "a?b",
            "h\u{e4}",
            "10.0.0.256",
            "[a]",
            "[::1",
            "::1]",
            "[]",
            "::g",
            "a:b",
            "fe80::1%",
            &"l".repeat(64),
            &longest,
        ] {
            assert_eq!(host(text), Err(ValueError::Host), "{text:?}");
        }
        for text in ["a:7000", "10.0.0.1:7000", "[::1]:7000"] {
            assert_eq!(host(text), Err(ValueError::HostWithPort), "{text:?}");
        }
    }

    #[test]
    fn two_listeners_overlap_when_one_address_would_reach_both() {
        for (one, other, overlaps) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.2:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::]:1", "0.0.0.0:1", true),
            ("localhost:1", "[::1]:1", true),
            ("localhost:1", "127.0.0.1:1", true),
            ("relay:1", "relay:1", true),
            ("relay:1", "127.0.0.1:1", false),
        ] {
            let (a, b) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlap(&a, &b), overlaps, "{one} and {other}");
            assert_eq!(overlap(&b, &a), overlaps, "{other} and {one}");
        }
    }
}
