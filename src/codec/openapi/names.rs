//! Names for what the document defines, as generators of clients like them: letters and digits, each once.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a segment of a path may have as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The names that are taken.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// This name, with a number behind it if it is taken.
    pub(super) fn take(&mut self, wanted: &str) -> String {
        let numbered = (2_u64..).map(|number| format!("{wanted}{number}"));
        let free = std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !self.0.contains(name));
        let name = free.unwrap_or_default();
        self.0.insert(name.clone());
        name
    }
}

/// The words of a name: runs of ASCII letters and digits.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

/// `HalfPlusTwo`.
pub(super) fn pascal(text: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    words(text).map(capital).collect()
}

/// `half_plus_two`.
pub(super) fn snake(text: &str) -> String {
    words(text).map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

/// A name as a segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_taken_once() {
        assert_eq!(
            (pascal("half_plus-two é3"), snake("Half_plus-two é3")),
            ("HalfPlusTwo3".into(), "half_plus_two_3".into())
        );
        assert_eq!(segment("a b:c/{d}-e.f"), "a%20b%3Ac%2F%7Bd%7D-e.f");
        let mut names = Names::default();
        assert_eq!(
            [names.take("a"), names.take("a"), names.take("a2"), names.take("a")],
            ["a", "a2", "a22", "a3"]
        );
    }
}
