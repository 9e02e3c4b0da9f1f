//! Whether the peer of a TCP connection has acknowledged all that was written, by what the kernel
//! shows of its connections.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// Bytes between these two that the peer has not acknowledged; `None` if the kernel does not say.
/// May take milliseconds where there are many connections.
pub(super) fn bytes(ours: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let table = match ours {
        SocketAddr::V4(_) => "/proc/self/net/tcp",
        SocketAddr::V6(_) => "/proc/self/net/tcp6",
    };
    found(&fs::read_to_string(table).ok()?, ours, peer)
}

fn found(table: &str, ours: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let of_line = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let ends = (address(words.next()?)?, address(words.next()?)?);
        let queues = words.nth(1)?;
        let (sent, _) = queues.split_once(':')?;
        Some((ends, u64::from_str_radix(sent, 16).ok()?))
    };
    let rows = table.lines().skip(1).filter_map(of_line);
    let ends = (plain(ours), plain(peer));
    rows.filter(|(row, _)| *row == ends)
        .map(|(_, sent)| sent)
        .next()
}

/// As the table writes it: words of four bytes in the order of the machine.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = (0..ip.len() / 8).map(|word| {
        let digits = ip.get(word * 8..word * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    });
    let words: Vec<[u8; 4]> = words.collect::<Option<_>>()?;
    let ip = match words.as_slice() {
        [ip] => IpAddr::V4(Ipv4Addr::from(*ip)),
        [..] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
    };
    Some((ip, port))
}

fn plain(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip(), address.port())
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    #[test]
    fn the_send_queue_of_the_connection_is_found_among_others() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n\
            1: 0100007F:A1B2 0100007F:1F90 01 0000002A:00000000 01:00000014 00000000 0\n";
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(found(table, at(0xA1B2), at(0x1F90)), Some(42));
        assert_eq!(found(table, at(0xA1B3), at(0x1F90)), None);
        let six = "sl\n 0: 00000000000000000000000001000000:1F90 \
            B80D0120000000000000000002000000:0050 01 00000001:00000000 00:0 0 0\n";
        let ours: SocketAddr = "[::1]:8080".parse().unwrap();
        let peer: SocketAddr = "[2001:db8::2]:80".parse().unwrap();
        assert_eq!(found(six, ours, peer), Some(1));
    }

    #[test]
    fn what_a_peer_has_acknowledged_is_seen_of_a_real_connection() {
        use std::{
            io::Write as _,
            net::{TcpListener, TcpStream},
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _theirs = listener.accept().unwrap();
        let ends = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
        assert_eq!(bytes(ends.0, ends.1), Some(0));
        // More than a peer takes that does not read.
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[0; 65536]).is_ok() {}
        assert!(bytes(ends.0, ends.1).is_some_and(|bytes| bytes > 0));
    }
}
