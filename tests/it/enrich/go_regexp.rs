//! Go's dialect of regular expressions, against what Go's own package said.

use std::time::{Duration, Instant};

use k8s_relay::enrich::go_regexp::GoRegexp;

use super::golden;

#[test]
fn patterns_are_valid_and_match_exactly_as_go_says() {
    let recorded = golden("go-regexp.json");
    let keys: Vec<&str> = texts(&recorded["keys"]).collect();
    let patterns = recorded["patterns"].as_array().unwrap();
    let mut wrong = Vec::new();
    for row in patterns {
        let pattern = row["pattern"].as_str().unwrap();
        let ours = GoRegexp::new(pattern).ok().map(|regexp| {
            let matched = |(at, key): (usize, &&str)| regexp.is_match(key).then_some(at as u64);
            keys.iter().enumerate().filter_map(matched).collect()
        });
        let goes: Option<Vec<u64>> = row["matches"]
            .as_array()
            .map(|at| at.iter().filter_map(|at| at.as_u64()).collect());
        if ours != goes {
            wrong.push(format!("{pattern:?}: {ours:?}, Go: {goes:?}"));
        }
    }
    assert!(patterns.len() >= 1000);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    for (pattern, said) in [
        ("(", "missing ): `(`"),
        ("a**", "repetition of a repetition: `*`"),
        ("[z-a]", "invalid character class or range: `z-a`"),
        ("*app", "nothing to repeat: `*`"),
        (r"\u0041", r"invalid escape sequence: `\u`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
    ] {
        let error = GoRegexp::new(pattern).unwrap_err().to_string();
        assert_eq!(error, said, "{pattern}");
    }
}

#[test]
fn an_expression_that_is_catastrophic_elsewhere_takes_linear_time() {
    let key = "a".repeat(4096);
    for pattern in ["^(a+)+$!", "^(a|a)*$!", "(a*)*b", "(.*)(.*)(.*)(.*)(.*)!"] {
        let regexp = GoRegexp::new(pattern).unwrap();
        let began = Instant::now();
        assert!(!regexp.is_match(&key), "{pattern}");
        // Backtracking would take longer than anybody's patience.
        assert!(began.elapsed() < Duration::from_secs(10), "{pattern}");
    }
}

#[test]
fn deep_nesting_is_refused_and_overflows_no_stack() {
    for pattern in [
        "(".repeat(100_000),
        "(?:".repeat(50_000),
        "((a?){9}".repeat(2000),
    ] {
        assert!(GoRegexp::new(&pattern).is_err());
    }
    let closed = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(GoRegexp::new(&closed).is_err());
}

fn texts(list: &serde_json::Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
}
