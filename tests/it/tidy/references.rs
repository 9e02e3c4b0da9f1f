//! What comments and documents cite is in the repository.

use std::fs;

use super::{root, texts};

#[test]
fn cited_decisions_and_sections_exist() {
    let decisions = fs::read_to_string(root().join("docs/decisions.md")).unwrap();
    let protocol = fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    let decided = |number: &str| decisions.contains(&format!("\n## D{number} "));
    let described = |number: &str| {
        // The third part of a number is a step within its section.
        let parts: Vec<_> = number.split('.').take(2).collect();
        let heading = format!("{}# {}", "#".repeat(parts.len()), parts.join("."));
        let ends: &[char] = &['.', ' '];
        protocol
            .split_once(&format!("\n{heading}"))
            .is_some_and(|(_, rest)| rest.starts_with(ends))
    };
    let (mut cited, mut lost) = (0, Vec::new());
    for file in texts() {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let known = numbers_after(line, "D", "")
                .map(decided)
                .chain(numbers_after(line, "protocol ", ".").map(described))
                // No document here is called so.
                .chain(numbers_after(line, "spec ", ".").map(|_| false));
            for known in known {
                cited += 1;
                if !known {
                    lost.push(format!("{}:{}: {line}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(cited > 150, "only {cited} citations");
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

/// The numbers that follow `word`, where it is a word; of digits, and of `dots` between them.
fn numbers_after<'a>(line: &'a str, word: &'a str, dots: &'a str) -> impl Iterator<Item = &'a str> {
    let part_of_a_word = |char: char| char.is_alphanumeric() || char == '_' || char == '-';
    line.match_indices(word).filter_map(move |(at, _)| {
        let (before, rest) = (line.get(..at)?, line.get(at + word.len()..)?);
        let of_number = |char: char| char.is_ascii_digit() || dots.contains(char);
        let end = rest.find(|char| !of_number(char)).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number = number.trim_end_matches('.');
        let alone = !before.ends_with(part_of_a_word) && !after.starts_with(part_of_a_word);
        (alone && number.starts_with(|first: char| first.is_ascii_digit())).then_some(number)
    })
}
