//! Which name was meant: the settings and profiles say it of a wrong one.

/// The known name that a wrong one is nearest to, if it is near enough to be a slip.
///
/// Case, `-` and `_` do not count, nor does what variables have before the setting's name.
pub(crate) fn nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wrong = plain(wrong);
    let distance = |name: &str| strsim::damerau_levenshtein(&wrong, &plain(name));
    let (near, distance) = known
        .into_iter()
        .map(|name| (name, distance(name)))
        .min_by_key(|(_, distance)| *distance)?;
    (distance <= 1.max(wrong.chars().count() / 3)).then_some(near)
}

fn plain(name: &str) -> String {
    // A name that is longer than any setting's is near to none, however long it is.
    let name: String = name.chars().take(100).collect();
    let name = name.to_ascii_lowercase().replace('_', "-");
    let bare = ["k8s-relay-", "ebpf-net-"]
        .into_iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    bare.map_or(name.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = [
            "source",
            "settle",
            "labels",
            "page-size",
            "EBPF_NET_INTAKE_PORT",
        ];
        for (wrong, near) in [
            ("sorce", Some("source")),
            ("Source", Some("source")),
            ("page_size", Some("page-size")),
            ("pagesize", Some("page-size")),
            ("K8S_RELAY_SETTEL", Some("settle")),
            ("K8S_RELAY_INTAKE_PORT", Some("EBPF_NET_INTAKE_PORT")),
            ("lables", Some("labels")),
            ("bogus", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong, known), near, "{wrong}");
        }
        assert_eq!(nearest(&"source".repeat(100_000), known), None);
    }
}
