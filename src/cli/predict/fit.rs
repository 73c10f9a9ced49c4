//! A value as typed, with the lists around it that the shape of an input wants.

use serde_json::Value;

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

    /// The text with so many lists around each element.
    fn around_elements(&self, depth: usize) -> String {
        match serde_json::from_str::<Value>(&self.text) {
            Ok(mut value) if depth > 0 => {
                wrap(&mut value, self.sizes.len(), depth);
                value.to_string()
            }
            _ => self.text.clone(),
        }
    }
}

fn wrap(value: &mut Value, levels: usize, depth: usize) {
    match value {
        Value::Array(items) if levels > 0 => items.iter_mut().for_each(|item| wrap(item, levels - 1, depth)),
        value => {
            for _ in 0..depth {
                *value = Value::Array(vec![value.take()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(joined.fit(&[-1, 2]).text, "[[1, NaN]]");
    }
}
