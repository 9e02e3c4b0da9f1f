//! Quantities of Kubernetes, such as `100m` or `64Mi`, as numbers.

/// Reads a quantity in its base unit: cores or bytes. `None` if it is none.
///
/// # Precision
/// That of `f64`; what is shown to 15 digits is exact.
pub fn parse(text: &str) -> Option<f64> {
    let is_of_number = |char: char| char.is_ascii_digit() || matches!(char, '.' | '+' | '-');
    let end = text.find(|char| !is_of_number(char)).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let binary = |power: i32| 1024f64.powi(power);
    let (multiply, divide) = match suffix {
        "" => (1.0, 1.0),
        "n" => (1.0, 1e9),
        "u" => (1.0, 1e6),
        "m" => (1.0, 1e3),
        "k" => (1e3, 1.0),
        "M" => (1e6, 1.0),
        "G" => (1e9, 1.0),
        "T" => (1e12, 1.0),
        "P" => (1e15, 1.0),
        "E" => (1e18, 1.0),
        "Ki" => (binary(1), 1.0),
        "Mi" => (binary(2), 1.0),
        "Gi" => (binary(3), 1.0),
        "Ti" => (binary(4), 1.0),
        "Pi" => (binary(5), 1.0),
        "Ei" => (binary(6), 1.0),
        exponent => {
            let power = exponent.strip_prefix(['e', 'E'])?;
            let power: i32 = power
                .parse()
                .ok()
                .filter(|power| (-99..=99).contains(power))?;
            return finite(format!("{digits}e{power}").parse().ok()?);
        }
    };
    // `+1.5` and `.5` are quantities, and numbers for Rust; `1.5.2` and `-` are neither.
    let number: f64 = digits.parse().ok()?;
    finite(number * multiply / divide)
}

fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_their_base_unit() {
        for (text, number) in [
            ("100m", Some(0.1)),
            ("200m", Some(0.2)),
            ("1", Some(1.0)),
            ("1.5", Some(1.5)),
            (".5", Some(0.5)),
            ("100Mi", Some(104_857_600.0)),
            ("2Gi", Some(2_147_483_648.0)),
            ("1k", Some(1000.0)),
            ("12e6", Some(12e6)),
            ("1E3", Some(1000.0)),
            ("5E", Some(5e18)),
            ("250000000n", Some(0.25)),
            ("-1", Some(-1.0)),
            ("", None),
            ("Mi", None),
            ("1KiB", None),
            ("1 Gi", None),
            ("1.5.2", None),
            ("1e999", None),
            ("1K", None),
        ] {
            assert_eq!(parse(text), number, "{text}");
        }
    }
}
