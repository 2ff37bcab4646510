//! The repository's files, with comments and literals told from code.

use std::fs;
use std::path::{Path, PathBuf};

/// The repository.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("a package lies in a folder").into()
}

/// A file of the repository.
pub(crate) struct Source {
    /// Below the repository, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with blanks for comments and for what is inside literals. Same length, same lines.
    pub(crate) code: String,
    /// Where each string begins, and what is in it, escapes as they are.
    pub(crate) literals: Vec<(usize, String)>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, literals) = mask(text);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            literals,
        }
    }

    /// Every text file of the repository that people write.
    pub(crate) fn all() -> Vec<Self> {
        let mut paths = Vec::new();
        collect(&root(), &mut paths);
        paths.sort();
        paths.iter().filter_map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Option<Self> {
        let text = String::from_utf8(fs::read(path).ok()?).ok()?;
        let below = path.strip_prefix(root()).ok()?;
        let parts: Vec<_> = below.iter().map(|it| it.to_string_lossy()).collect();
        Some(Self::new(&parts.join("/"), &text))
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// What stands before the file's own tests; nothing in a file that holds the tests of others.
    pub(crate) fn body(&self) -> &str {
        if self.path.ends_with("/tests.rs") {
            return "";
        }
        let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\r\nmod tests {"];
        let end = tests.iter().filter_map(|it| self.text.find(it)).min();
        &self.text[..end.unwrap_or(self.text.len())]
    }

    pub(crate) fn finding(&self, at: usize, what: &str) -> String {
        let line = self.text[..at].matches('\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    // In a worktree `.git` is a file.
    const NOT_OURS: [&str; 6] = [
        "target",
        ".git",
        ".tools",
        "corpus",
        "Cargo.lock",
        "LICENSE",
    ];
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let kind = entry.file_type().expect("an entry has a type");
        if NOT_OURS.iter().any(|it| entry.file_name() == *it) {
            continue;
        } else if kind.is_dir() {
            collect(&entry.path(), paths);
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
}

/// What stands between the bracket that `text` begins with and its partner.
pub(crate) fn balanced(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth <= 1 => return &text[1..at],
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// The words of a text: runs of letters, digits and underscores.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    let all = text.split(|it: char| !it.is_alphanumeric() && it != '_');
    all.filter(|it| !it.is_empty())
}

/// Blanks comments and the insides of literals, and lists the strings.
fn mask(text: &str) -> (String, Vec<(usize, String)>) {
    let (mut code, mut literals) = (String::with_capacity(text.len()), Vec::new());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let is_word = code.ends_with(|it: char| it.is_alphanumeric() || it == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some((open, inside, end)) = string(rest, is_word) {
            literals.push((at, rest[open..open + inside].to_owned()));
            end
        } else if let Some(length) = character(rest) {
            length
        } else {
            let letter = rest.chars().next().expect("there is a rest");
            code.push(letter);
            at += letter.len_utf8();
            continue;
        };
        let blanks = rest[..length].bytes();
        code.extend(blanks.map(|it| if it == b'\n' { '\n' } else { ' ' }));
        at += length;
    }
    assert_eq!(code.len(), text.len(), "a masked text keeps its length");
    (code, literals)
}

/// The length of a comment that may hold others.
fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if rest.starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Of a string at the start: where its inside begins, how long that is, and how long all is.
fn string(text: &str, is_word: bool) -> Option<(usize, usize, usize)> {
    let bare = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - bare.len();
    let raw = bare
        .strip_prefix('r')
        .map(|it| it.len() - it.trim_start_matches('#').len());
    let starts_word = prefix > 0 || raw.is_some();
    if prefix > 1 || starts_word && is_word {
        return None;
    }
    let open = prefix + raw.map_or(0, |hashes| 1 + hashes);
    if !text[open..].starts_with('"') {
        return None;
    }
    let inside = &text[open + 1..];
    let (length, close) = match raw {
        Some(hashes) => {
            let end = format!("\"{}", "#".repeat(hashes));
            (inside.find(&end).unwrap_or(inside.len()), end.len())
        }
        None => (escaped_until(inside, b'"'), 1),
    };
    Some((open + 1, length, text.len().min(open + 1 + length + close)))
}

/// The length of a character literal at the start; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    let length = match first {
        '\\' => escaped_until(inside, b'\''),
        _ => first.len_utf8(),
    };
    inside[length..].starts_with('\'').then_some(length + 2)
}

fn escaped_until(text: &str, end: u8) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        if byte == end && !is_escaped {
            return at;
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    text.len()
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = concat!(
        "let a = \"one // \\\" one\"; // two\n",
        "/* two /* two */ two */ let r = r#\"one\"one\"#; let h: &'static str = \"\";\n",
        "let i = ['\"', '\\'', 'é']; let bar\"one\"; br\"one\"\n"
    );
    let source = Source::new("a.rs", text);
    for gone in ["one", "two", "*", "é", "\""] {
        assert!(!source.code.contains(gone), "{gone:?} in {}", source.code);
    }
    for kept in ["let a =", "let r =", "&'static str =", "let i = ["] {
        assert!(
            source.code.contains(kept),
            "{kept:?} not in {}",
            source.code
        );
    }
    let strings: Vec<_> = source.literals.iter().map(|it| &*it.1).collect();
    assert_eq!(strings, ["one // \\\" one", "one\"one", "", "one", "one"]);
}
