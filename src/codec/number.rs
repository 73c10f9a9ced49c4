//! JSON numbers to machine numbers, correctly rounded, eight digits at a time.
//!
//! [`float`] and [`integer`] are the fast paths: they take the common shapes of a number and
//! return `None` for everything else. [`scan`] knows the whole grammar, says
//! what is wrong, and is what the fast paths fall back to.

use std::num::NonZeroU64;

use super::fault::{Fault, What};

/// Mantissas of the fast path stay at or below this, so that they fit an `i64`.
const MAX_MANTISSA: u64 = 10_u64.pow(18);

/// The largest power of ten that a double holds exactly.
const MAX_SCALE: usize = 22;

/// Integers up to here are exact in a double.
const EXACT: u64 = 1 << 53;

/// The powers of ten that a double holds exactly, filled up so that no index is too large.
const POWERS: [f64; 32] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
];

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

/// A binary float that decimals are read into: what differs is how little precision suffices.
pub(crate) trait Float: Copy {
    /// The float nearest to `mantissa / 10^scale`, or `None` if that takes a closer look.
    ///
    /// `mantissa` is at most [`MAX_MANTISSA`], `scale` at most [`MAX_SCALE`].
    fn from_decimal(mantissa: u64, scale: usize) -> Option<Self>;

    /// The float of a correctly rounded double.
    fn from_f64(value: f64) -> Self;

    /// The same value below zero.
    fn negate(self) -> Self;
}

impl Float for f64 {
    #[inline(always)]
    fn from_decimal(mantissa: u64, scale: usize) -> Option<Self> {
        // Both operands are exact, so the one division rounds correctly (Clinger).
        if mantissa > EXACT {
            return None;
        }
        Some(to_f64(mantissa) / POWERS[scale & 31])
    }

    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn negate(self) -> Self {
        -self
    }
}

impl Float for f32 {
    #[inline(always)]
    fn from_decimal(mantissa: u64, scale: usize) -> Option<Self> {
        let double = to_f64(mantissa) / POWERS[scale & 31];
        // Beyond 2^53 the mantissa and the quotient were both rounded: the double is off by at
        // most two units in the last place. Unless it lies that close to the middle between two
        // floats, the correctly rounded double gives the same float. (A nonzero quotient is at
        // least 1e-22 and so never a subnormal float, whose middles would lie elsewhere.)
        const DROPPED: u64 = (1 << 29) - 1;
        const MIDDLE: u64 = 1 << 28;
        if mantissa > EXACT && (double.to_bits() & DROPPED).abs_diff(MIDDLE) <= 4 {
            return None;
        }
        Some(Self::from_f64(double))
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding a double to a float is what is asked for")]
    fn from_f64(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn negate(self) -> Self {
        -self
    }
}

#[inline(always)]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "MAX_MANTISSA fits; callers know the rounding"
)]
fn to_f64(mantissa: u64) -> f64 {
    // The signed conversion is one instruction, the unsigned one is not.
    mantissa as i64 as f64
}

/// How much of the text a fast path looks at: more than the longest number it takes. With a
/// fixed size, the bounds are checked once for a number.
type Window = [u8; 32];

/// A window of the text and a byte more in front of it, which may be a sign.
type SignedWindow = [u8; size_of::<Window>() + 1];

/// The last few bytes of the text, filled up with zeros.
#[cold]
#[inline(never)]
fn padded(bytes: &[u8], start: usize) -> SignedWindow {
    let mut text = [0; size_of::<SignedWindow>()];
    let rest = bytes.get(start..).unwrap_or_default();
    let length = rest.len().min(text.len());
    text[..length].copy_from_slice(&rest[..length]);
    text
}

/// Reads `[-]digits[.digits]` of up to 18 significant digits: the value and where it ends.
#[inline(always)]
pub(crate) fn float<F: Float>(bytes: &[u8], start: usize) -> Option<(F, usize)> {
    match bytes.get(start..).and_then(<[u8]>::first_chunk) {
        Some(text) => signed_float(text, start),
        None => last_float(bytes, start),
    }
}

#[cold]
#[inline(never)]
fn last_float<F: Float>(bytes: &[u8], start: usize) -> Option<(F, usize)> {
    signed_float(&padded(bytes, start), start)
}

#[inline(always)]
fn signed_float<F: Float>(text: &SignedWindow, start: usize) -> Option<(F, usize)> {
    // Two copies of the code rather than a computed start: a branch is guessed, a start that
    // depends on a byte makes the whole rest wait for it.
    if let [b'-', window @ ..] = text {
        let (value, length) = magnitude::<F>(window)?;
        return Some((value.negate(), start + 1 + length));
    }
    let [window @ .., _] = text;
    let (value, length) = magnitude::<F>(window)?;
    Some((value, start + length))
}

#[inline(always)]
fn magnitude<F: Float>(window: &Window) -> Option<(F, usize)> {
    // One digit and a point: the shape of probabilities, pixels and embeddings.
    if window[1] == b'.' {
        let digit = window[0].wrapping_sub(b'0');
        return if digit <= 9 { fraction(window, 2, u64::from(digit)) } else { None };
    }
    let digits = Digits::of(load(window, 0));
    if digits.count == 0 || digits.count == 8 || (digits.count > 1 && window[0] == b'0') {
        return None;
    }
    let mantissa = digits.value();
    match window[digits.count & 7] {
        b'.' => long_fraction(window, (digits.count & 7) + 1, mantissa),
        b'e' | b'E' => None,
        _ => Some((F::from_decimal(mantissa, 0)?, digits.count)),
    }
}

/// Reads the digits behind a point that does not stand behind the first digit.
#[inline(never)]
fn long_fraction<F: Float>(window: &Window, start: usize, mantissa: u64) -> Option<(F, usize)> {
    fraction(window, start, mantissa)
}

/// Reads the digits behind the point, after the mantissa of those before it.
#[inline(always)]
fn fraction<F: Float>(window: &Window, start: usize, mantissa: u64) -> Option<(F, usize)> {
    let mut digits = Digits::of(load(window, start));
    if digits.count == 0 {
        return None;
    }
    let mut mantissa = extend(mantissa, digits)?;
    let mut scale = digits.count;
    if digits.count == 8 {
        digits = Digits::of(load(window, start + 8));
        mantissa = extend(mantissa, digits)?;
        scale += digits.count;
        if digits.count == 8 {
            // A double of Python has up to 17 digits behind any zeros: a few more.
            digits = Digits::of(load(window, start + 16));
            mantissa = extend(mantissa, digits)?;
            scale += digits.count;
            if scale > MAX_SCALE {
                return None;
            }
        }
    }
    let end = start + scale;
    if window[end & 31] | 0x20 == b'e' {
        return None;
    }
    Some((F::from_decimal(mantissa, scale & 31)?, end))
}

/// Reads `[-]digits` whose magnitude fits 64 bits: the sign, the magnitude and the end.
///
/// `None` if the token is longer, has a fraction or an exponent, or is no number.
#[inline(always)]
pub(crate) fn integer(bytes: &[u8], start: usize) -> Option<(bool, u64, usize)> {
    match bytes.get(start..).and_then(<[u8]>::first_chunk) {
        Some(text) => signed_integer(text, start),
        None => last_integer(bytes, start),
    }
}

#[cold]
#[inline(never)]
fn last_integer(bytes: &[u8], start: usize) -> Option<(bool, u64, usize)> {
    signed_integer(&padded(bytes, start), start)
}

#[inline(always)]
fn signed_integer(text: &SignedWindow, start: usize) -> Option<(bool, u64, usize)> {
    if let [b'-', window @ ..] = text {
        let (value, length) = whole(window)?;
        return Some((true, value, start + 1 + length));
    }
    let [window @ .., _] = text;
    let (value, length) = whole(window)?;
    Some((false, value, start + length))
}

#[inline(always)]
fn whole(window: &Window) -> Option<(u64, usize)> {
    let digits = Digits::of(load(window, 0));
    if digits.count == 0 || (digits.count > 1 && window[0] == b'0') {
        return None;
    }
    let (value, end) = if digits.count < 8 { (digits.value(), digits.count) } else { long_whole(window)? };
    match window[end & 31] {
        b'.' | b'e' | b'E' => None,
        _ => Some((value, end)),
    }
}

/// Reads an integer of eight digits or more.
#[inline(never)]
fn long_whole(window: &Window) -> Option<(u64, usize)> {
    let digits = window.iter().take_while(|byte| byte.is_ascii_digit());
    let mut count = 0;
    let mut value = 0_u64;
    for digit in digits {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        count += 1;
    }
    Some((value, count))
}

/// An integer type of a tensor, from the sign and the magnitude of a token.
pub(crate) trait Integer: Sized {
    /// The value, or `None` if it is out of range.
    fn from_parts(negative: bool, magnitude: u64) -> Option<Self>;
}

macro_rules! signed {
    ($($integer:ty)*) => { $(
        impl Integer for $integer {
            #[inline(always)]
            fn from_parts(negative: bool, magnitude: u64) -> Option<Self> {
                if magnitude > i64::MAX.cast_unsigned() + u64::from(negative) {
                    return None;
                }
                let value = magnitude.cast_signed();
                (if negative { value.wrapping_neg() } else { value }).try_into().ok()
            }
        }
    )* };
}

macro_rules! unsigned {
    ($($integer:ty)*) => { $(
        impl Integer for $integer {
            #[inline(always)]
            fn from_parts(negative: bool, magnitude: u64) -> Option<Self> {
                if negative && magnitude > 0 { None } else { magnitude.try_into().ok() }
            }
        }
    )* };
}

signed! { i8 i16 i32 i64 }
unsigned! { u8 u16 u32 u64 }

/// The powers of ten that one step of digits can need, and more, so that no index is too large.
const INTEGER_POWERS: [u64; 16] = {
    let mut powers = [1; 16];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = 10 * powers[exponent - 1];
        exponent += 1;
    }
    powers
};

/// The mantissa with the digits written behind it, if it stays within [`MAX_MANTISSA`].
#[inline(always)]
fn extend(mantissa: u64, digits: Digits) -> Option<u64> {
    // What may be extended by so many digits, from a table: a division takes longer than all else.
    const LIMITS: [u64; 16] = {
        let mut limits = [MAX_MANTISSA; 16];
        let mut count = 0;
        while count < limits.len() {
            limits[count] /= INTEGER_POWERS[count];
            count += 1;
        }
        limits
    };
    let count = digits.count & 15;
    if mantissa >= LIMITS[count] {
        return None;
    }
    Some(mantissa * INTEGER_POWERS[count] + digits.value())
}

/// Eight bytes of a window, the first in the lowest byte; zero beyond its end.
#[inline(always)]
fn load(window: &Window, at: usize) -> u64 {
    match window.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => 0,
    }
}

/// The leading decimal digits of eight bytes.
#[derive(Clone, Copy)]
struct Digits {
    /// The bytes with `'0'` taken off: a digit is a byte of at most 9.
    bytes: u64,
    count: usize,
}

impl Digits {
    #[inline(always)]
    fn of(chunk: u64) -> Self {
        let bytes = chunk ^ 0x3030_3030_3030_3030;
        // Adding 0x76 carries into the high bit of every byte above 9. A carry out of a byte
        // can only disturb the bytes behind it, and those lie behind the first non-digit.
        let others = (bytes.wrapping_add(0x7676_7676_7676_7676) | bytes) & 0x8080_8080_8080_8080;
        // Eight digits are a case of their own: the bit scan knows no answer for them.
        let count = match NonZeroU64::new(others) {
            Some(others) => others.trailing_zeros() as usize / 8,
            None => 8,
        };
        Self { bytes, count }
    }

    /// The number that the digits write; 0 for none.
    #[inline(always)]
    fn value(self) -> u64 {
        // Move the digits to the top: the bytes below them become leading zeros. In two steps,
        // since a shift by all 64 bits is none; a branch for that case would be guessed wrong.
        let half = 32 - 4 * self.count;
        let digits = (self.bytes << half) << half;
        let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
        const EVERY_FOURTH: u64 = 0x0000_00FF_0000_00FF;
        const HUNDREDS: u64 = 100 + (1_000_000 << 32);
        const UNITS: u64 = 1 + (10_000 << 32);
        let high = (pairs & EVERY_FOURTH).wrapping_mul(HUNDREDS);
        let low = (pairs >> 16 & EVERY_FOURTH).wrapping_mul(UNITS);
        high.wrapping_add(low) >> 32
    }
}
