//! Label selectors, as far as a mistake in one can be found without an API server.

use super::ValueError;

/// A label selector as `kubectl -l` takes it. The API server has the last word; what cannot
/// be meant as one is refused at the start.
pub(super) fn parse(text: &str) -> Result<String, ValueError> {
    for requirement in requirements(text) {
        if !is_requirement(requirement.trim()) {
            return Err(ValueError::Selector(requirement.trim().to_owned()));
        }
    }
    Ok(text.to_owned())
}

/// The parts between the commas that are not in parentheses.
fn requirements(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |at| {
        depth += i32::from(at == '(') - i32::from(at == ')');
        at == ',' && depth == 0
    })
}

fn is_requirement(text: &str) -> bool {
    let is_key = |key: &str| !key.trim().is_empty() && key.trim().bytes().all(in_key);
    let is_value = |value: &str| value.trim().bytes().all(in_value);
    let is_set = |set: &str| {
        let inner = set
            .trim()
            .strip_prefix('(')
            .and_then(|set| set.strip_suffix(')'));
        inner.is_some_and(|values| values.split(',').all(is_value))
    };
    for operator in [" notin ", " in ", " notin(", " in("] {
        if let Some(at) = text.find(operator) {
            let (key, rest) = text.split_at(at);
            let set = rest
                .trim_start()
                .trim_start_matches(|c: char| c.is_ascii_lowercase());
            return is_key(key) && is_set(set);
        }
    }
    for operator in ["!=", "==", "=", "<", ">"] {
        if let Some((key, value)) = text.split_once(operator) {
            return is_key(key) && is_value(value);
        }
    }
    is_key(text.strip_prefix('!').unwrap_or(text))
}

fn in_key(byte: u8) -> bool {
    in_value(byte) || byte == b'/'
}

fn in_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_a_list_of_requirements_on_labels() {
        for text in [
            "app=web",
            "app==web,tier!=db",
            "env in (a, b), example.org/team notin (x)",
            "env in(a,b)",
            "canary",
            "!canary, app = web",
            "app=",
            "n>3",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(text));
        }
        for (text, wrong) in [
            ("", ""),
            ("app=web,", ""),
            ("=web", "=web"),
            ("app=web tier=db", "app=web tier=db"),
            ("env in a", "env in a"),
            ("env in (a", "env in (a"),
            ("{app: web}", "{app: web}"),
        ] {
            let refused = ValueError::Selector(wrong.to_owned());
            assert_eq!(parse(text), Err(refused), "{text}");
        }
    }
}
