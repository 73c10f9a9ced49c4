//! The parts of a form, cut out of its body.
//!
//! Clients write the delimiters, two lines of a head and the content, and that is what is read: no text around
//! the parts, no encodings of their own.

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::codec::media::{MediaType, parameter};
use crate::error::{Error, Result};

/// The most parts of a form, and bytes of the head of each.
pub(crate) const MOST_PARTS: usize = 1 << 16;
const MOST_HEAD: usize = 8 << 10;

/// The most characters of a boundary.
const MOST_BOUNDARY: usize = 70;

/// A part of a form.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    /// Empty if it does not say.
    pub(super) content_type: String,
    pub(super) content: Bytes,
}

impl Part {
    /// What its type is of those that bodies can have.
    pub(super) fn media_type(&self) -> Option<MediaType> {
        MediaType::of(&self.content_type)
    }

    /// Whether it is a field of a form and no file: a text, as nobody says otherwise.
    pub(super) fn is_plain(&self) -> bool {
        let name = self.content_type.split(';').next().unwrap_or_default().trim();
        name.is_empty() || name.eq_ignore_ascii_case("text/plain")
    }

    /// Its content as messages show it.
    pub(super) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.content[..self.content.len().min(100)]).into_owned()
    }
}

/// Cuts a form into its parts.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with what is wrong with it.
pub(super) fn parts(body: &Bytes, boundary: &str) -> Result<Vec<Part>> {
    if boundary.is_empty() || boundary.len() > MOST_BOUNDARY {
        return Err(fault("Content-Type names no boundary of up to 70 characters"));
    }
    let delimiter = format!("\r\n--{boundary}");
    let finder = Finder::new(&delimiter);
    // The line break of the first one may be there, too: who writes all of them alike sends it.
    let forms = [delimiter.as_str(), delimiter.trim_start()];
    let Some(first) = forms.into_iter().find(|first| body.starts_with(first.as_bytes())) else {
        return Err(fault("the body does not start with the boundary"));
    };
    let mut parts = Vec::new();
    let mut at = first.len();
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            break;
        }
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let Some(part) = rest[blanks..].strip_prefix(b"\r\n") else {
            return Err(fault("a boundary is not followed by the end of its line"));
        };
        if parts.len() == MOST_PARTS {
            return Err(fault(&format!("there are more than {MOST_PARTS} parts")));
        }
        let start = body.len() - part.len();
        // The line break before a delimiter may be the one that ends the head.
        let end =
            finder.find(&body[start - 2..]).ok_or_else(|| fault("the last boundary is missing"))? + start - 2;
        parts.push(part_of(&body.slice(start..end.max(start)))?);
        at = end + delimiter.len();
    }
    Ok(parts)
}

fn part_of(part: &Bytes) -> Result<Part> {
    let within = &part[..part.len().min(MOST_HEAD)];
    let length = memchr::memmem::find(within, b"\r\n\r\n").ok_or_else(|| fault("a part has no head"))?;
    let head = std::str::from_utf8(&part[..length]).map_err(|_| fault("the head of a part is no UTF-8"))?;
    let (mut name, mut content_type) = (None, String::new());
    for line in head.split("\r\n") {
        let (key, value) =
            line.split_once(':').ok_or_else(|| fault("a part has a header without a colon"))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "content-disposition" => name = parameter(value, "name"),
            "content-type" => value.trim().clone_into(&mut content_type),
            "content-encoding" => return Err(fault("a part is compressed")),
            "content-transfer-encoding"
                if !["7bit", "8bit", "binary"].contains(&value.trim().to_ascii_lowercase().as_str()) =>
            {
                return Err(fault("a part has a transfer encoding"));
            }
            _ => {}
        }
    }
    let name = name.ok_or_else(|| fault("a part has no name"))?;
    // What browsers put for the characters that would end the name.
    let name = name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n");
    Ok(Part { name, content_type, content: part.slice(length + 4..) })
}

fn fault(what: &str) -> Error {
    Error::invalid_argument(format!("The body is no form that can be read: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(body: &str) -> Result<Vec<(String, String, String)>> {
        let parts = parts(&Bytes::copy_from_slice(body.as_bytes()), "b")?;
        let text =
            |part: Part| (part.name, part.content_type, String::from_utf8(part.content.to_vec()).unwrap());
        Ok(parts.into_iter().map(text).collect())
    }

    #[test]
    fn parts_are_cut_at_the_boundary() {
        let body = "--b \t\r\nContent-Disposition: form-data; name=\"x%22\"; filename=\"n\"\r\nContent-Type: a/b\r\n\r\n\
                    one\r\n-b\r\n--c\r\n--b\r\nCONTENT-DISPOSITION: form-data;name=y\r\n\r\n\r\n--b--and more";
        let expected = [("x\"", "a/b", "one\r\n-b\r\n--c"), ("y", "", "")];
        let expected = expected.map(|(name, of, text)| (name.to_owned(), of.to_owned(), text.to_owned()));
        assert_eq!(cut(body).unwrap(), expected);
        assert_eq!(cut(&format!("\r\n{body}")).unwrap(), expected);
        assert_eq!(cut("--b--").unwrap(), []);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let head = "Content-Disposition: form-data; name=x\r\n\r\n";
        for (body, expected) in [
            (String::new(), "does not start with the boundary"),
            (format!("text\r\n--b\r\n{head}\r\n--b--"), "does not start"),
            (format!("--b\r\n{head}1"), "the last boundary is missing"),
            (format!("--b\r\n{head}1\r\n--b"), "not followed by the end"),
            (format!("--bc\r\n{head}1\r\n--b--"), "not followed by the end"),
            ("--b\r\n\r\n--b--".to_owned(), "no head"),
            (format!("--b\r\nX: {}\r\n{head}1\r\n--b--", "x".repeat(9000)), "no head"),
            ("--b\r\nContent-Type: a/b\r\n\r\n1\r\n--b--".to_owned(), "no name"),
            ("--b\r\nnothing\r\n\r\n1\r\n--b--".to_owned(), "without a colon"),
            (format!("--b\r\nContent-Encoding: gzip\r\n{head}1\r\n--b--"), "compressed"),
            (format!("--b\r\nContent-Transfer-Encoding: base64\r\n{head}1\r\n--b--"), "transfer encoding"),
            (
                format!("--b{}--", format!("\r\n{head}\r\n--b").repeat(MOST_PARTS + 1)),
                "more than 65536 parts",
            ),
        ] {
            let error = cut(&body).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
        assert!(parts(&Bytes::from_static(b"----"), "").is_err());
    }
}
