//! A value as typed, with the lists around it that the shape of an input wants.

/// A value in JSON, and the sizes of its lists.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) sizes: Vec<usize>,
}

impl Piece {
    /// Several values of one shape as a list.
    pub(super) fn join(pieces: Vec<Self>) -> Self {
        let mut sizes = vec![pieces.len()];
        sizes.extend(pieces.first().map(|piece| piece.sizes.clone()).unwrap_or_default());
        let texts: Vec<_> = pieces.into_iter().map(|piece| piece.text).collect();
        Self { text: format!("[{}]", texts.join(", ")), sizes }
    }

    /// The same with as many lists around it, or around its elements, as the shape has dimensions more. What does
    /// not fit stays as it is, for the server to say so.
    pub(super) fn fit(self, shape: &[i64]) -> Self {
        let Some(missing) = shape.len().checked_sub(self.sizes.len()) else { return self };
        // Rows first: a row of three for [?, 3], three rows for [?, 1].
        let outside = (0..=missing).rev().find(|&outside| {
            let ones = std::iter::repeat_n(1, outside);
            let sizes =
                ones.chain(self.sizes.iter().copied()).chain(std::iter::repeat_n(1, missing - outside));
            sizes.zip(shape).all(|(size, wanted)| {
                usize::try_from(*wanted).is_err() || usize::try_from(*wanted) == Ok(size)
            })
        });
        let outside = outside.unwrap_or(missing);
        let text = self.around_elements(missing - outside);
        let text = format!("{}{text}{}", "[".repeat(outside), "]".repeat(outside));
        let mut sizes = vec![1; outside];
        sizes.extend(self.sizes);
        sizes.resize(shape.len(), 1);
        Self { text, sizes }
    }

    /// The text with so many lists around each element. Nothing is read and written again, which would make other
    /// numbers of some, and which the tokens `NaN` and `Infinity` would not pass.
    fn around_elements(&self, depth: usize) -> String {
        if depth == 0 {
            return self.text.clone();
        }
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let mut out = String::with_capacity(self.text.len() * 2);
        // The lists that are open around an element, and what is open in one.
        let (mut lists, mut nested) = (0, 0_usize);
        let (mut is_element, mut is_string, mut is_escaped) = (false, false, false);
        for character in self.text.chars() {
            let ends = nested == 0 && !is_string && matches!(character, ',' | ']' | '}');
            let begins_list = character == '[' && !is_element && lists < self.sizes.len();
            let begins = !is_element && !ends && !begins_list && !character.is_whitespace();
            if begins {
                out.push_str(&open);
            } else if ends && is_element {
                out.push_str(&close);
            }
            is_element = (is_element || begins) && !ends;
            out.push(character);
            match character {
                _ if is_string => {
                    is_string = is_escaped || character != '"';
                    is_escaped = !is_escaped && character == '\\';
                }
                '"' => is_string = true,
                _ if begins_list => lists += 1,
                '[' | '{' => nested += 1,
                ']' | '}' if ends => lists = lists.saturating_sub(1),
                ']' | '}' => nested -= 1,
                _ => {}
            }
        }
        if is_element {
            out.push_str(&close);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn values_get_the_lists_that_they_lack() {
        let check = |text: &str, shape: &[i64], expected: &str| {
            let value: Value = serde_json::from_str(text).unwrap();
            let piece = Piece { text: text.to_owned(), sizes: super::super::sizes(&value) };
            let fitted = piece.fit(shape);
            assert_eq!(fitted.text, expected, "{text} {shape:?}");
            assert_eq!(fitted.sizes.len(), shape.len().max(super::super::sizes(&value).len()), "{text}");
        };
        check("1.5", &[], "1.5");
        check("1.5", &[-1], "[1.5]");
        check("1.5", &[-1, 1], "[[1.5]]");
        check("[1,2,3]", &[-1, 3], "[[1,2,3]]");
        check("[1,2,3]", &[-1, 1], "[[1],[2],[3]]");
        check("[1,2,3]", &[-1, -1], "[[1,2,3]]");
        check("[[1,2],[3,4]]", &[-1, 2, 2, 1], "[[[[1],[2]],[[3],[4]]]]");
        check(r#"["a,]\"[", {"b64": "AA=="}]"#, &[-1, 1], r#"[["a,]\"["], [{"b64": "AA=="}]]"#);
        check(
            "[90.88184001853247,18446744073709551616]",
            &[-1, 1],
            "[[90.88184001853247],[18446744073709551616]]",
        );
        // Nothing fits: the server says so.
        check("[1,2,3]", &[-1, 2], "[[1,2,3]]");
        check("[[1]]", &[-1], "[[1]]");
        check(r#"{"b64":"AA=="}"#, &[-1], r#"[{"b64":"AA=="}]"#);
    }

    #[test]
    fn rows_are_joined() {
        let piece = |text: &str| Piece { text: text.to_owned(), sizes: vec![] };
        let joined = Piece::join(vec![piece("1"), piece("NaN")]);
        assert_eq!(joined.text, "[1, NaN]");
        assert_eq!(joined.clone().fit(&[-1]).text, "[1, NaN]");
        assert_eq!(joined.clone().fit(&[-1, 1]).text, "[[1], [NaN]]");
        assert_eq!(joined.fit(&[-1, 2]).text, "[[1, NaN]]");
    }
}
