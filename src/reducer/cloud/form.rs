//! Which texts can be what they should be. A page of a proxy, an error in words or a text of
//! somebody else's never has the form of an instance's id.

/// The longest text that is taken, in bytes.
const LONGEST: usize = 255;

/// Which characters a kind of text has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An EC2 instance's id: `i-` and hexadecimal digits.
    InstanceId,
    /// A zone, a type of machine, a network, a host: letters, digits, `-`, `.` and `_`.
    Name,
    /// A role or service account: as a name, and `+`, `=`, `,`, `@`, `:`.
    Account,
    /// Decimal digits.
    Number,
    /// What a later request shows: visible characters of ASCII other than those of markup.
    Token,
}

impl Form {
    /// The text without white space around it, if it has this form and a bearable length.
    pub fn check(self, text: &str) -> Option<&str> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let (digits, longest) = match self {
            Self::InstanceId => (text.strip_prefix("i-")?, LONGEST),
            Self::Token => (text, 4096),
            Self::Name | Self::Account | Self::Number => (text, LONGEST),
        };
        let fits = (1..=longest).contains(&digits.len()) && digits.bytes().all(|b| self.has(b));
        fits.then_some(text)
    }

    fn has(self, byte: u8) -> bool {
        match self {
            Self::InstanceId => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Name => byte.is_ascii_alphanumeric() || b"-._".contains(&byte),
            Self::Account => byte.is_ascii_alphanumeric() || b"-._+=,@:".contains(&byte),
            Self::Number => byte.is_ascii_digit(),
            Self::Token => byte.is_ascii_graphic() && !b"<>{}\"".contains(&byte),
        }
    }
}

/// A network card's address, in lower case with colons, as the paths of EC2 have it.
pub fn mac(text: &str) -> Option<&str> {
    let text = text.trim().trim_end_matches('/');
    let is_octet = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    (text.split(':').count() == 6 && text.split(':').all(is_octet)).then_some(text)
}

/// What follows the last slash.
pub fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_only_in_the_form_of_what_was_asked_for() {
        let long = "a".repeat(256);
        for (form, text, taken) in [
            (Form::InstanceId, "i-0dcf0a95274953dff", true),
            (Form::InstanceId, "i-", false),
            (Form::InstanceId, "i-0DCF", false),
            (Form::InstanceId, "0dcf", false),
            (Form::InstanceId, "i-0d/../x", false),
            (Form::Name, "us-east-1a", true),
            (Form::Name, "", false),
            (Form::Name, "us east", false),
            (Form::Name, "<html>", false),
            (Form::Name, "zürich", false),
            (Form::Name, "a\nb", false),
            (Form::Name, &long, false),
            (Form::Account, "svc-1@project.iam.gserviceaccount.com", true),
            (Form::Account, "not a role", false),
            (Form::Number, "525339921445", true),
            (Form::Number, "52x", false),
            (Form::Token, "AQAEALyk0EIxWg==", true),
            (Form::Token, "<!DOCTYPE html>", false),
            (Form::Token, "a\r\nX-Other: b", false),
        ] {
            let expected = taken.then_some(text);
            assert_eq!(form.check(text), expected, "{form:?} {text:?}");
        }
        assert_eq!(Form::Name.check(" m5.large\r\n"), Some("m5.large"));
    }

    #[test]
    fn a_network_cards_address_has_six_octets() {
        for (text, expected) in [
            ("06:1a:b0:11:1b:a9/", Some("06:1a:b0:11:1b:a9")),
            ("06:1a:b0:11:1b:a9", Some("06:1a:b0:11:1b:a9")),
            ("06:1a:b0:11:1b", None),
            ("06:1a:b0:11:1b:a9:00", None),
            ("06:1a:b0:11:1b:../", None),
            ("", None),
        ] {
            assert_eq!(mac(text), expected, "{text}");
        }
    }
}
