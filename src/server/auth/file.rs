//! The file of tokens: TOML, a table per token. It holds hashes and never a token.
//!
//! What it says of a mistake names the entry and not its values, for one may be a token that
//! somebody pasted in the place of its hash.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use super::{Digest, Key, Pattern};

/// The most tokens of a file: each costs every request a comparison.
pub(super) const MOST: usize = 10_000;

/// The most bytes of a file.
const MAX_SIZE: u64 = 16 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    models: Option<Vec<String>>,
}

/// Reads a file of tokens.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn read(path: &Path) -> Result<Vec<Key>, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_SIZE + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_SIZE {
        return Err(format!("it is larger than {MAX_SIZE} bytes"));
    }
    parse(&text)
}

/// The tokens of a file's text.
pub(super) fn parse(text: &str) -> Result<Vec<Key>, String> {
    let file: File = toml::from_str(text).map_err(|error| {
        // Its whole text shows the line, and a token might be in it.
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
        format!("line {}: {}", 1 + before.matches('\n').count(), without_value(error.message()))
    })?;
    if file.token.is_empty() {
        // This is what a file is while it is written, and nobody means it.
        return Err("there is no [[token]] in it".to_owned());
    }
    if file.token.len() > MOST {
        return Err(format!("it has more than {MOST} tokens"));
    }
    let (mut names, mut digests) = (BTreeSet::new(), BTreeSet::new());
    let mut keys = Vec::with_capacity(file.token.len());
    for (number, entry) in (1..).zip(file.token) {
        let key = key(entry).map_err(|error| format!("token {number}: {error}"))?;
        if !names.insert(key.name.clone()) {
            return Err(format!("token {number}: the name {:?} is there twice", key.name));
        }
        if !digests.insert(key.digest) {
            return Err(format!("token {number}: the same token has another name, too"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// A message about a value of the wrong type quotes the value if it is a string.
fn without_value(message: &str) -> String {
    let around =
        message.split_once("string \"").and_then(|(before, rest)| Some((before, rest.rsplit_once('"')?.1)));
    around.map_or_else(|| message.to_owned(), |(before, after)| format!("{before}a string{after}"))
}

fn key(entry: Entry) -> Result<Key, String> {
    let Entry { name, sha256, models } = entry;
    if !is_name(&name) {
        return Err("a name has 1 to 100 characters that can be printed, but for \" and \\".to_owned());
    }
    let digest = from_hex(&sha256).ok_or("sha256 is 64 hexadecimal digits")?;
    if digest == super::hash(b"") {
        // A script whose variable is unset makes this; it would let everybody in.
        return Err("sha256 is that of an empty token".to_owned());
    }
    let models = models.map(|models| models.iter().map(|model| pattern(model)).collect()).transpose()?;
    Ok(Key { name, digest, models })
}

/// Whether a token can have this name, in the log and in the file.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |character: char| !character.is_control() && !matches!(character, '"' | '\\');
    (1..=100).contains(&name.chars().count()) && name.chars().all(fits)
}

fn pattern(text: &str) -> Result<Pattern, String> {
    let pattern = match text.strip_suffix('*') {
        Some(prefix) => Pattern::Prefix(prefix.to_owned()),
        None => Pattern::Exact(text.to_owned()),
    };
    match &pattern {
        Pattern::Exact(name) if name.is_empty() => Err("the name of a model is empty".to_owned()),
        Pattern::Exact(name) | Pattern::Prefix(name) if name.contains('*') => {
            Err("a * stands at the end of a model's name only".to_owned())
        }
        _ => Ok(pattern),
    }
}

fn from_hex(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// A hash as it is written in the file.
pub(crate) fn to_hex(digest: &Digest) -> String {
    digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        let [one, two] = ["aB".repeat(32), "0f".repeat(32)];
        let text = format!(
            "# people\n[[token]]\nname = 'one'\nsha256 = '{one}'\n\n\
             [[token]]\nname = 'two'\nsha256 = '{two}'\nmodels = ['m', 'a/b-*', '*']\n"
        );
        let keys = parse(&text).unwrap();
        assert_eq!((keys[0].name.as_str(), to_hex(&keys[0].digest)), ("one", one.to_lowercase()));
        assert_eq!(keys[0].models, None);
        let patterns = [
            Pattern::Exact("m".to_owned()),
            Pattern::Prefix("a/b-".to_owned()),
            Pattern::Prefix(String::new()),
        ];
        assert_eq!(keys[1].models.as_deref(), Some(&patterns[..]));
    }

    #[test]
    fn mistakes_are_named_and_values_are_not() {
        let hash = "0".repeat(64);
        let check = |text: &str, expected: &str| {
            let text = text.replace("HASH", &hash);
            let error = parse(&text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        };
        check("", "no [[token]]");
        check("[[token]]\nname = 'a'\nsha256 = 'secret'", "token 1: sha256 is 64");
        check("[[token]]\nname = 'a'\nsha256 = \"secret\nmore", "line 4");
        check("[[token]]\nname = 'a'", "missing field `sha256`");
        check("token = 'secret'", "a string, expected a sequence");
        check("[[token]]\nname = 'a'\nsha256 = 'HASH'\nmodels = 'secret'", "a string, expected a sequence");
        check("[[token]]\nname = 'a'\nsha256 = ['secret']", "expected a string");
        let empty = to_hex(&super::super::hash(b""));
        check(&format!("[[token]]\nname = 'a'\nsha256 = '{empty}'"), "of an empty token");
        check("[[token]]\nname = ''\nsha256 = 'HASH'", "a name has");
        check("[[token]]\nname = \"a\\n\"\nsha256 = 'HASH'", "a name has");
        check("[[token]]\nname = 'a'\nsha256 = 'HASH'\nmodel = ['a']", "unknown field `model`");
        check("[[tokens]]\nname = 'a'\nsha256 = 'HASH'", "unknown field `tokens`");
        check("[[token]]\nname = 'a'\nsha256 = 'HASH'\nmodels = ['a*b']", "at the end");
        check("[[token]]\nname = 'a'\nsha256 = 'HASH'\nmodels = ['']", "is empty");
        let twice = "[[token]]\nname = 'a'\nsha256 = 'HASH'\n";
        check(&(twice.to_owned() + twice), "token 2: the name \"a\" is there twice");
        check(&(twice.to_owned() + &twice.replace("'a'", "'b'")), "token 2: the same token");
        let many = (0..=MOST).fold(String::new(), |text, index| {
            text + &format!("[[token]]\nname = '{index}'\nsha256 = '{index:064x}'\n")
        });
        check(&many, "more than 10000");
    }
}
