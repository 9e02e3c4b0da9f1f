//! As much reading of Rust as the house rules need: production code without comments
//! and texts, the paths it names, the modules it declares.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// A file of production code.
pub struct Source {
    /// From the root of the crate.
    pub path: String,
    /// As long in lines as the file, with comments, texts and test modules blanked.
    code: String,
}

impl Source {
    /// The sources at `path`, a file or a folder, without those that only tests compile.
    pub fn all(path: &str) -> Vec<Self> {
        let path = super::root().join(path);
        let files = if path.is_file() {
            vec![path]
        } else {
            super::files(&path)
        };
        let tests = only_for_tests();
        let inside = |file: &Path, test: &PathBuf| file.starts_with(test.with_extension(""));
        files
            .into_iter()
            .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
            .filter(|file| !tests.iter().any(|test| test == file || inside(file, test)))
            .map(|file| Self {
                path: file
                    .strip_prefix(super::root())
                    .unwrap()
                    .display()
                    .to_string(),
                code: without_tests(&plain(&fs::read_to_string(&file).unwrap())),
            })
            .collect()
    }

    /// The folder or file below `src`; none for the roots.
    pub fn module(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let module = below.split('/').next()?;
        let module = module.strip_suffix(".rs").unwrap_or(module);
        (module != "lib" && module != "main").then_some(module)
    }

    /// The lines of code with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// The paths that are named, `use` lists taken apart, with the number of their line.
    pub fn paths(&self) -> Vec<(usize, String)> {
        let line = |at: usize| self.code[..at].matches('\n').count() + 1;
        let mut paths = Vec::new();
        for (at, _) in self.code.match_indices("use ") {
            if !self.code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
            {
                let tree = self.code[at + 4..].split(';').next().unwrap();
                let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
                paths.extend(expand("", &tree).into_iter().map(|path| (line(at), path)));
            }
        }
        for (at, _) in self.code.match_indices("crate::") {
            let part = |c: char| !c.is_alphanumeric() && c != '_' && c != ':';
            let path = self.code[at..].split(part).next().unwrap();
            paths.push((line(at), path.trim_end_matches(':').to_owned()));
        }
        // `crate::{a, b}` is read by its `use`, where it is whole.
        paths.retain(|(_, path)| path != "crate");
        paths.sort();
        paths.dedup();
        paths
    }
}

/// The files below `src` that only tests compile; read once.
fn only_for_tests() -> &'static [PathBuf] {
    static FILES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FILES.get_or_init(|| {
        let files = super::files(&super::root().join("src"));
        files.iter().flat_map(|file| declared(file, true)).collect()
    })
}

/// The files of the modules that `file` declares.
pub fn modules(file: &Path) -> Vec<PathBuf> {
    [declared(file, false), declared(file, true)].concat()
}

/// The files of the modules that `file` declares for tests only, or for all.
fn declared(file: &Path, for_tests: bool) -> Vec<PathBuf> {
    let Ok(text) = fs::read_to_string(file) else {
        return Vec::new();
    };
    let (mut found, mut attributes) = (Vec::new(), String::new());
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            attributes += line;
            continue;
        }
        let item = line
            .strip_prefix("pub ")
            .or_else(|| line.strip_prefix("pub(crate) "));
        let name = item
            .unwrap_or(line)
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(';'));
        if let Some(name) = name
            && attributes.contains("cfg(test)") == for_tests
        {
            found.push(match attributes.split("path = \"").nth(1) {
                Some(path) => file.with_file_name(path.split('"').next().unwrap()),
                None => module_file(file, name),
            });
        }
        if !line.starts_with("//") {
            attributes.clear();
        }
    }
    found
}

fn module_file(parent: &Path, name: &str) -> PathBuf {
    let stem = parent.file_stem().unwrap();
    // A bench is a root, too: each file of its folder is a target.
    let bench = parent.parent().is_some_and(|dir| dir.ends_with("benches"));
    let root = bench || ["mod", "lib", "main"].iter().any(|root| *root == stem);
    let dir = if root {
        parent.parent().unwrap().to_owned()
    } else {
        parent.with_extension("")
    };
    let folder = dir.join(name).join("mod.rs");
    if folder.exists() {
        folder
    } else {
        dir.join(format!("{name}.rs"))
    }
}

/// `a::{b, c::{d, self}}` as `a::b`, `a::c::d` and `a::c::self`.
fn expand(prefix: &str, tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap().trim();
        return if path.is_empty() {
            Vec::new()
        } else {
            vec![format!("{prefix}{path}")]
        };
    };
    let prefix = format!("{prefix}{}", head.trim());
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut start, mut paths) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                paths.extend(expand(&prefix, &inner[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    paths.extend(expand(&prefix, &inner[start..]));
    paths
}

/// Comments and texts become blanks; lines stay lines.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_text(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..]
                .find(&end)
                .map_or(rest.len(), |at| start + at + end.len())
        } else if c == '"' {
            text_end(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'/'") {
            3
        } else {
            0
        };
        if skip == 0 {
            plain.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            plain.extend(
                rest[..skip]
                    .chars()
                    .map(|c| if c == '\n' { '\n' } else { ' ' }),
            );
            rest = &rest[skip..];
        }
    }
    plain
}

/// The number of `#` if a raw text starts here.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let text = after.trim_start_matches('#');
    text.starts_with('"').then(|| after.len() - text.len())
}

/// The length of the text that starts here, quotes included.
fn text_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Without the `#[cfg(test)]` items that have a body.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept += &rest[..at];
        let item = &rest[at..];
        let end = match (item.find('{'), item.find(';')) {
            (Some(body), semicolon) if semicolon.is_none_or(|semicolon| body < semicolon) => {
                body_end(item, body)
            }
            (_, Some(semicolon)) => semicolon + 1,
            (_, None) => item.len(),
        };
        kept.extend(item[..end].chars().filter(|c| *c == '\n'));
        rest = &item[end..];
    }
    kept + rest
}

fn body_end(code: &str, start: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return start + at + 1;
        }
    }
    code.len()
}

#[test]
fn code_is_read_without_comments_texts_and_tests() {
    let code = "use crate::{a, b::{C, self as d}}; // crate::no\n\
                fn f() { g(\"crate::no \\\" \", r#\"crate::no\"#); crate::e::h(); }\n\
                #[cfg(test)]\nmod tests { use crate::no; }\nuse std::io;\n";
    let source = Source {
        path: String::from("src/x/y.rs"),
        code: without_tests(&plain(code)),
    };
    let paths = source.paths();
    let found: Vec<(usize, &str)> = paths.iter().map(|(line, path)| (*line, &**path)).collect();
    assert_eq!(
        found,
        [
            (1, "crate::a"),
            (1, "crate::b::C"),
            (1, "crate::b::self"),
            (2, "crate::e::h"),
            (5, "std::io")
        ]
    );
    assert_eq!(source.module(), Some("x"));
}
