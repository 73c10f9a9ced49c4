//! A pull reader over JSON text, in the dialect of TensorFlow Serving's REST API.
//!
//! The dialect is strict JSON with the bare tokens `NaN`, `Inf` and `Infinity` (each with an
//! optional minus sign), an optional byte order mark in front, and raw bytes in strings that
//! need not be UTF-8. The reader allocates only for strings with escapes, never recurses, and
//! counts the levels that it is in: nothing is read deeper than [`Limits::depth`].

use std::ops::Range;

use super::fault::{Fault, What};
use super::limits::Limits;
use super::number;

/// A position in JSON text. Clone it to remember a place, assign the clone to go back.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
    pub(crate) limits: &'a Limits,
    /// How many objects and lists are open.
    depth: usize,
}

/// The content of a JSON string: a range of the text, or bytes of its own where escapes stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text {
    Plain(Range<usize>),
    Unescaped(Vec<u8>),
}

impl Text {
    /// The bytes that the string stands for.
    pub(crate) fn bytes<'t>(&'t self, json: &'t [u8]) -> &'t [u8] {
        match self {
            Self::Plain(range) => json.get(range.clone()).unwrap_or_default(),
            Self::Unescaped(bytes) => bytes,
        }
    }
}

impl<'a> Reader<'a> {
    /// A reader at the start of the text, after a byte order mark if there is one.
    pub(crate) fn new(bytes: &'a [u8], limits: &'a Limits) -> Self {
        let at = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        Self { bytes, at, limits, depth: 0 }
    }

    /// A reader at a place that another one has been at, with `depth` objects and lists open.
    pub(crate) fn inside(bytes: &'a [u8], at: usize, depth: usize, limits: &'a Limits) -> Self {
        Self { bytes, at, limits, depth }
    }

    pub(crate) fn fault<T>(&self, text: &'static str) -> Result<T, Fault> {
        Err(Fault::new(self.at, What::Syntax(text)))
    }

    /// The byte at the position, or 0 at the end (a NUL is not JSON anywhere).
    #[inline(always)]
    pub(crate) fn byte(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Skips white space and looks at the next byte without taking it; 0 at the end.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> u8 {
        loop {
            let byte = self.byte();
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
    }

    /// Takes `{`, and `}` if the object is empty. True if there are members to read.
    pub(crate) fn open_object(&mut self) -> Result<bool, Fault> {
        self.open(b'}')
    }

    /// Takes `[`, and `]` if the array is empty. True if there are elements to read.
    pub(crate) fn open_array(&mut self) -> Result<bool, Fault> {
        self.open(b']')
    }

    #[inline]
    fn open(&mut self, close: u8) -> Result<bool, Fault> {
        if self.depth >= self.limits.depth {
            return Err(Fault::new(self.at, What::Depth(self.limits.depth)));
        }
        self.at += 1;
        if self.peek() == close {
            self.at += 1;
            return Ok(false);
        }
        self.depth += 1;
        Ok(true)
    }

    /// Takes the bracket at the position, which ends the innermost object or list.
    #[inline(always)]
    fn close(&mut self) {
        self.at += 1;
        self.depth = self.depth.saturating_sub(1);
    }

    /// Reads a member's name and the colon behind it.
    pub(crate) fn key(&mut self) -> Result<Text, Fault> {
        if self.peek() != b'"' {
            return self.fault("Missing a name for object member.");
        }
        let key = self.string()?;
        if self.peek() != b':' {
            return self.fault("Missing a colon after a name of object member.");
        }
        self.at += 1;
        Ok(key)
    }

    /// After a member's value: true if another member follows, false after the closing brace.
    pub(crate) fn next_member(&mut self) -> Result<bool, Fault> {
        match self.peek() {
            b',' => self.at += 1,
            b'}' => {
                self.close();
                return Ok(false);
            }
            _ => return self.fault("Missing a comma or '}' after an object member."),
        }
        Ok(true)
    }

    /// After an element: true if another follows, false after the closing bracket.
    pub(crate) fn next_element(&mut self) -> Result<bool, Fault> {
        match self.peek() {
            b',' => self.at += 1,
            b']' => {
                self.close();
                return Ok(false);
            }
            _ => return self.fault("Missing a comma or ']' after an array element."),
        }
        Ok(true)
    }

    /// Reads a string; the position is at its opening quote.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Text, Fault> {
        self.text(usize::MAX)
    }

    /// Reads a string that is an element of a tensor, and so limited in size.
    #[inline]
    pub(crate) fn string_element(&mut self) -> Result<Text, Fault> {
        let (start, most) = (self.at, self.limits.string_size);
        match self.text(most)? {
            Text::Plain(range) if range.len() > most => Err(Fault::new(start, What::StringSize(most))),
            text => Ok(text),
        }
    }

    /// Reads a string, of which at most so many bytes are put together where it has escapes.
    #[inline(always)]
    fn text(&mut self, most: usize) -> Result<Text, Fault> {
        let start = self.at + 1;
        let rest = self.bytes.get(start..).unwrap_or_default();
        // Most names and labels are short: a plain loop beats the set-up of a vector search.
        for (length, &byte) in rest.iter().enumerate().take(16) {
            match byte {
                b'"' => {
                    self.at = start + length + 1;
                    return Ok(Text::Plain(start..start + length));
                }
                b'\\' | 0..=0x1F => return self.string_from(start, length, most),
                _ => {}
            }
        }
        self.string_from(start, rest.len().min(16), most)
    }

    /// Goes on with a string whose first `length` bytes are known to be plain.
    fn string_from(&mut self, start: usize, length: usize, most: usize) -> Result<Text, Fault> {
        let from = start + length;
        let rest = self.bytes.get(from..).unwrap_or_default();
        let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        let run = &rest[..plain];
        // Without an early end, so that the compiler makes it a vector loop.
        if run.iter().fold(0, |found, &byte| found | u8::from(byte < 0x20)) != 0 {
            let offset = run.iter().position(|&byte| byte < 0x20).unwrap_or(0);
            return self.control_character(from + offset);
        }
        self.at = from + plain;
        match self.byte() {
            b'"' => {
                self.at += 1;
                Ok(Text::Plain(start..from + plain))
            }
            b'\\' => self.unescape(start, most),
            _ => self.fault("Missing a closing quotation mark in string."),
        }
    }

    #[cold]
    fn control_character<T>(&mut self, at: usize) -> Result<T, Fault> {
        self.at = at;
        match self.byte() {
            0 => self.fault("Missing a closing quotation mark in string."),
            _ => self.fault("Invalid escape character in string."),
        }
    }

    /// Reads the rest of a string that has an escape at the position.
    fn unescape(&mut self, start: usize, most: usize) -> Result<Text, Fault> {
        let too_large = || Err(Fault::new(start - 1, What::StringSize(most)));
        if self.at - start > most {
            return too_large();
        }
        let mut text = self.bytes[start..self.at].to_vec();
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let plain =
                rest.iter().position(|&byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)).unwrap_or(rest.len());
            if text.len().saturating_add(plain) > most {
                return too_large();
            }
            text.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.byte() {
                b'"' => {
                    self.at += 1;
                    return Ok(Text::Unescaped(text));
                }
                b'\\' => self.escape(&mut text)?,
                _ => return self.control_character(self.at),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Fault> {
        let byte = self.bytes.get(self.at + 1).copied().unwrap_or(0);
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode_escape(text),
            _ => return self.fault("Invalid escape character in string."),
        };
        text.push(plain);
        self.at += 2;
        Ok(())
    }

    fn unicode_escape(&mut self, text: &mut Vec<u8>) -> Result<(), Fault> {
        let surrogate = "The surrogate pair in string is invalid.";
        let unit = self.hex4(self.at + 2)?;
        let mut length = 6;
        let code_point = match unit {
            0xD800..=0xDBFF => {
                if self.bytes.get(self.at + 6..self.at + 8) != Some(b"\\u") {
                    return self.fault(surrogate);
                }
                let low = self.hex4(self.at + 8)?;
                if !(0xDC00..=0xDFFF).contains(&low) {
                    return self.fault(surrogate);
                }
                length = 12;
                0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
            }
            _ => unit,
        };
        // A low surrogate on its own stands for no character.
        let Some(character) = char::from_u32(code_point) else { return self.fault(surrogate) };
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += length;
        Ok(())
    }

    fn hex4(&self, at: usize) -> Result<u32, Fault> {
        let digits = self.bytes.get(at..at + 4).unwrap_or_default();
        let mut value = 0;
        for &digit in digits {
            let Some(digit) = char::from(digit).to_digit(16) else { break };
            value = value << 4 | digit;
        }
        if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return self.fault("Incorrect hex digit after \\u escape in string.");
        }
        Ok(value)
    }

    /// Reads an object of exactly one member, `b64`, with a string; otherwise stays where it is.
    ///
    /// The position is at the opening brace.
    pub(crate) fn base64_object(&mut self) -> Option<Text> {
        let start = self.clone();
        let text = self.base64_members();
        if text.is_none() {
            *self = start;
        }
        text
    }

    fn base64_members(&mut self) -> Option<Text> {
        if !self.open_object().ok()? {
            return None;
        }
        let key = self.key().ok()?;
        if key.bytes(self.bytes) != b"b64" || self.peek() != b'"' {
            return None;
        }
        let text = self.string().ok()?;
        if self.peek() != b'}' {
            return None;
        }
        self.close();
        Some(text)
    }

    /// Reads past one value of any kind, checking its syntax.
    pub(crate) fn skip_value(&mut self) -> Result<(), Fault> {
        let mut open = OpenContainers::default();
        loop {
            match self.peek() {
                b'{' => {
                    if self.open_object()? {
                        open.push(true);
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    if self.open_array()? {
                        open.push(false);
                        continue;
                    }
                }
                _ => self.skip_scalar()?,
            }
            // A value has ended: so may the containers around it.
            loop {
                let Some(is_object) = open.last() else { return Ok(()) };
                let more = if is_object { self.next_member()? } else { self.next_element()? };
                if more {
                    if is_object {
                        self.key()?;
                    }
                    break;
                }
                open.pop();
            }
        }
    }

    fn skip_scalar(&mut self) -> Result<(), Fault> {
        match self.byte() {
            b'"' => self.string().map(drop),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => {
                self.at = number::scan(self.bytes, self.at)?.end;
                Ok(())
            }
        }
    }

    /// Reads exactly the given word; a fault stands at the first byte that differs.
    pub(crate) fn literal(&mut self, word: &str) -> Result<(), Fault> {
        for expected in word.bytes() {
            if self.byte() != expected {
                return self.fault("Invalid value.");
            }
            self.at += 1;
        }
        Ok(())
    }
}

/// Which containers are open, one bit each, so that half a million levels cost 64 KiB.
#[derive(Debug, Default)]
struct OpenContainers {
    bits: Vec<u64>,
    depth: usize,
}

impl OpenContainers {
    fn push(&mut self, is_object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.bits.len() {
            self.bits.push(0);
        }
        self.bits[word] = self.bits[word] & !(1 << bit) | u64::from(is_object) << bit;
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }

    fn last(&self) -> Option<bool> {
        let top = self.depth.checked_sub(1)?;
        Some(self.bits[top / 64] >> (top % 64) & 1 == 1)
    }
}
