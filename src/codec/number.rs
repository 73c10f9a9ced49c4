//! JSON numbers to machine numbers, correctly rounded, eight digits at a time.
//!
//! [`float`] and [`integer`] are the fast paths: they take the common shapes of a number and
//! return `None` for everything else. [`scan`] knows the whole grammar, says
//! what is wrong, and is what the fast paths fall back to.

mod digits;
mod float;
mod integer;

use super::fault::{Fault, What};
pub(crate) use float::{Float, float};
pub(crate) use integer::{Integer, integer};

/// A number that a fast path has read.
pub(crate) struct Plain<T> {
    pub(crate) value: T,
    /// How long its text is.
    pub(crate) length: usize,
    /// The four bytes behind it, the first in the low byte, as zeros where the text ends.
    pub(crate) behind: u32,
}

impl<T> Plain<T> {
    /// Itself, unless the token goes on with a fraction or an exponent.
    #[inline(always)]
    pub(crate) fn complete(self) -> Option<Self> {
        let [next, ..] = self.behind.to_le_bytes();
        if matches!(next, b'.' | b'e' | b'E') { None } else { Some(self) }
    }

    /// The same with another value.
    #[inline(always)]
    pub(crate) fn map<U>(self, value: impl FnOnce(T) -> U) -> Plain<U> {
        Plain { value: value(self.value), length: self.length, behind: self.behind }
    }
}

/// A number token as the grammar sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    /// Where the token ends.
    pub(crate) end: usize,
    /// True without a fraction or an exponent.
    pub(crate) is_integer: bool,
    /// The value of `NaN`, `Inf` and their like.
    special: Option<f64>,
}

/// Reads the token that starts at `start`, whatever its shape, and checks it.
pub(crate) fn scan(bytes: &[u8], start: usize) -> Result<Token, Fault> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let digits = |mut at: usize| {
        while byte(at).is_ascii_digit() {
            at += 1;
        }
        at
    };
    let negative = byte(start) == b'-';
    let first = start + usize::from(negative);
    if matches!(byte(first), b'N' | b'I') {
        return scan_special(bytes, first, negative);
    }
    let mut end = if byte(first) == b'0' { first + 1 } else { digits(first) };
    if end == first {
        return Err(Fault::new(first, What::Syntax("Invalid value.")));
    }
    let mut is_integer = true;
    let integer_end = end;
    let mut fraction_digits = 0;
    if byte(end) == b'.' {
        is_integer = false;
        let fraction = end + 1;
        end = digits(fraction);
        fraction_digits = end - fraction;
        if fraction_digits == 0 {
            return Err(Fault::new(end, What::Syntax("Miss fraction part in number.")));
        }
    }
    let too_big = Err(Fault::new(start, What::Syntax("Number too big to be stored in double.")));
    // An integer part of fewer digits is below the largest double.
    if integer_end - first > 308 && parse(bytes, first, integer_end).is_infinite() {
        return too_big;
    }
    if matches!(byte(end), b'e' | b'E') {
        is_integer = false;
        let sign = byte(end + 1);
        let exponent = end + 1 + usize::from(matches!(sign, b'+' | b'-'));
        end = digits(exponent);
        if end == exponent {
            return Err(Fault::new(end, What::Syntax("Miss exponent in number.")));
        }
        // As the original judges it: by the literal exponent, not by the value.
        let largest = 308 + fraction_digits;
        let literal = bytes[exponent..end]
            .iter()
            .fold(0_usize, |sum, digit| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
        if sign != b'-' && literal > largest {
            return too_big;
        }
    }
    Ok(Token { end, is_integer, special: None })
}

/// Reads `NaN`, `Inf` or `Infinity` behind the sign.
fn scan_special(bytes: &[u8], first: usize, negative: bool) -> Result<Token, Fault> {
    let word = |from: usize, word: &[u8]| {
        let matching = word
            .iter()
            .zip(bytes.get(from..).unwrap_or_default())
            .take_while(|(left, right)| left == right)
            .count();
        if matching == word.len() {
            Ok(from + matching)
        } else {
            Err(Fault::new(from + matching, What::Syntax("Invalid value.")))
        }
    };
    if bytes.get(first) == Some(&b'N') {
        return Ok(Token { end: word(first, b"NaN")?, is_integer: false, special: Some(f64::NAN) });
    }
    let mut end = word(first, b"Inf")?;
    if bytes.get(end) == Some(&b'i') {
        end = word(end, b"inity")?;
    }
    let value = if negative { f64::NEG_INFINITY } else { f64::INFINITY };
    Ok(Token { end, is_integer: false, special: Some(value) })
}

/// The value of a token that [`scan`] has accepted, correctly rounded.
pub(crate) fn value(bytes: &[u8], start: usize, token: Token) -> f64 {
    token.special.unwrap_or_else(|| parse(bytes, start, token.end))
}

/// The correctly rounded value of a plain decimal; the grammar has been checked before.
fn parse(bytes: &[u8], start: usize, end: usize) -> f64 {
    fast_float2::parse(bytes.get(start..end).unwrap_or_default()).unwrap_or(f64::NAN)
}
