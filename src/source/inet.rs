//! The address texts that libc's `inet_addr` reads (protocol 6.4). Pure.

use std::net::Ipv4Addr;

/// What `inet_addr` makes of `text`; 255.255.255.255 if it is no address (quirk Q25).
///
/// One to four numbers with dots between them, each decimal, octal (`0…`) or hexadecimal
/// (`0x…`); the last one fills the bytes that the others leave. Whatever follows the
/// first white space is ignored, as is what follows a NUL byte.
pub(super) fn inet_addr(text: &str) -> Ipv4Addr {
    // What nearly every pod has; the general way takes the same texts, slower.
    text.parse()
        .ok()
        .or_else(|| general(text.as_bytes()))
        .unwrap_or(Ipv4Addr::BROADCAST)
}

fn general(text: &[u8]) -> Option<Ipv4Addr> {
    let mut address = 0;
    let mut rest = text;
    for free_bits in [32, 24, 16, 8] {
        let (number, after) = number(rest)?;
        match after.split_first() {
            Some((b'.', after)) if free_bits > 8 && number <= 0xff => {
                address |= number << (free_bits - 8);
                rest = after;
            }
            Some((b'\0' | b' ' | b'\t'..=b'\r', _)) | None => {
                let fits = number <= u32::MAX >> (32 - free_bits);
                return fits.then(|| Ipv4Addr::from_bits(address | number));
            }
            Some(_) => return None,
        }
    }
    None
}

/// Reads a number as `strtoul` with base 0 does, if there is a digit and it fits.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', digits @ ..] if digits.first().is_some_and(u8::is_ascii_hexdigit) => {
            (16, digits)
        }
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let mut number: Option<u32> = None;
    let mut rest = digits;
    while let Some((digit, after)) = rest.split_first()
        && let Some(digit) = char::from(*digit).to_digit(radix)
    {
        number = Some(number.unwrap_or(0).checked_mul(radix)?.checked_add(digit)?);
        rest = after;
    }
    Some((number?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_libc_reads_it() {
        for (text, octets) in [
            ("10.1.2.3", [10, 1, 2, 3]),
            ("0.0.0.0", [0, 0, 0, 0]),
            ("255.255.255.255", [255, 255, 255, 255]),
            ("10.1.2", [10, 1, 0, 2]),
            ("10.1.65535", [10, 1, 255, 255]),
            ("10.1", [10, 0, 0, 1]),
            ("10.16777215", [10, 255, 255, 255]),
            ("167772161", [10, 0, 0, 1]),
            ("4294967295", [255, 255, 255, 255]),
            ("0x7f.1", [127, 0, 0, 1]),
            ("0X7F000001", [127, 0, 0, 1]),
            ("010.0.0.1", [8, 0, 0, 1]),
            ("00000010.0.0.1", [8, 0, 0, 1]),
            ("10.1.2.3 ", [10, 1, 2, 3]),
            ("10.1.2.3\t\r\n", [10, 1, 2, 3]),
            ("10.1.2.3 and more", [10, 1, 2, 3]),
            ("10.1.2.3\u{b}", [10, 1, 2, 3]),
            ("10.1.2.3\0more", [10, 1, 2, 3]),
        ] {
            assert_eq!(inet_addr(text), Ipv4Addr::from(octets), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_all_ones() {
        for text in [
            "",
            " ",
            ".",
            " 10.1.2.3",
            "10.1.2.256",
            "256.1.2.3",
            "10.1.65536",
            "10.16777216",
            "4294967296",
            "99999999999999999999999999",
            "10.1.2.3.",
            "10.1.2.3.4",
            "10..2.3",
            "10.1.2.",
            "10.1.2.x",
            "10.1.2.3x",
            "0x",
            "0x.1",
            "08.0.0.1",
            "-1",
            "+1",
            "fd00::1",
            "::ffff:10.1.2.3",
            "localhost",
            "10.1.2.3\u{a0}",
        ] {
            assert_eq!(inet_addr(text), Ipv4Addr::BROADCAST, "{text:?}");
        }
    }
}
