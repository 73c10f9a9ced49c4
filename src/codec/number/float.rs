//! Floats: the common shapes of a decimal, without a loop over its digits.

use super::digits::{Digits, INTEGER_POWERS, SignedWindow, Window, load, padded};

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
