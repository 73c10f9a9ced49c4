//! Floats: the common shapes of a decimal, without a loop over its digits.

use super::Plain;
use super::digits::{Digits, INTEGER_POWERS, LongWindow, Window, behind, load, padded, pair, window};

/// Mantissas of the fast path stay at or below this, so that they fit an `i64`.
const MAX_MANTISSA: u64 = 10_u64.pow(18);

/// The largest power of ten that a double holds exactly.
const MAX_SCALE: usize = 22;

/// Integers up to here are exact in a double.
const EXACT: u64 = 1 << 53;

/// The bits of a double that a float has no room for, and their value in the middle between two
/// floats.
const DROPPED: u64 = (1 << 29) - 1;
const MIDDLE: u64 = 1 << 28;

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

    /// The float nearest to `mantissa / 10^8`; `mantissa` has at most nine digits.
    fn from_eight(mantissa: u64) -> Self;

    /// The float nearest to a number of one digit, a point and nine digits or more, or `None` if
    /// that takes a closer look. `mantissa` has the first digit and the sixteen behind the point.
    fn from_long(mantissa: u64, text: &[u8]) -> Option<Self>;

    /// The float of an integer of at most seven digits, which is exact.
    #[inline(always)]
    fn from_integer(integer: u64) -> Self {
        Self::from_f64(to_f64(integer))
    }

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

    #[inline(always)]
    fn from_eight(mantissa: u64) -> Self {
        to_f64(mantissa) / 1e8
    }

    #[inline(always)]
    fn from_long(_: u64, text: &[u8]) -> Option<Self> {
        // Most of these have more digits than a double holds exactly.
        fast_float2::parse(text).ok()
    }

    #[inline(always)]
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
        if mantissa > EXACT && (double.to_bits() & DROPPED).abs_diff(MIDDLE) <= 4 {
            return None;
        }
        Some(Self::from_f64(double))
    }

    #[inline(always)]
    fn from_eight(mantissa: u64) -> Self {
        Self::from_f64(to_f64(mantissa) / 1e8)
    }

    #[inline(always)]
    fn from_long(mantissa: u64, _: &[u8]) -> Option<Self> {
        // From here on, one more in the last place is at most 91 units of the double's last
        // place; rounding the mantissa, the quotient and the true value add two. Unless the
        // double lies that close to the middle between two floats, all of these doubles give
        // the same float.
        const SMALLEST: u64 = 10_u64.pow(14);
        const DISTANCE: u64 = 128;
        let double = to_f64(mantissa) / 1e16;
        if mantissa < SMALLEST || (double.to_bits() & DROPPED).abs_diff(MIDDLE) <= DISTANCE {
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

/// Reads `[-]digits[.digits]` of the common lengths. What is behind it may go on with it: that
/// is for the caller to see.
#[inline(always)]
pub(crate) fn float<F: Float>(bytes: &[u8], start: usize) -> Option<Plain<F>> {
    // Results of functions that are not inlined are taken apart everywhere here: passed on as
    // they are, they would keep those of the fast path out of the registers, too.
    let Some(text) = window::<{ size_of::<Window>() + 1 }>(bytes, start) else {
        let Plain { value, length, behind } = last_float(bytes, start)?;
        return Some(Plain { value, length, behind });
    };
    // Two copies of the code rather than a computed start: a branch is guessed, a start that
    // depends on a byte makes the whole rest wait for it.
    let [sign, _] = pair(text).to_le_bytes();
    if sign == b'-' {
        let [_, window @ ..] = text;
        let (value, length, behind) = magnitude::<F>(bytes, start + 1, window)?;
        return Some(Plain { value: value.negate(), length: 1 + length, behind });
    }
    let [window @ .., _] = text;
    let (value, length, behind) = magnitude::<F>(bytes, start, window)?;
    Some(Plain { value, length, behind })
}

#[cold]
#[inline(never)]
fn last_float<F: Float>(bytes: &[u8], start: usize) -> Option<Plain<F>> {
    float(&padded(bytes, start), 0)
}

/// A number without its sign: its value, its length and the four bytes behind it.
type Magnitude<F> = (F, usize, u32);

/// Reads a number without its sign; `window` is the text from `start` on.
#[inline(always)]
fn magnitude<F: Float>(bytes: &[u8], start: usize, window: &Window) -> Option<Magnitude<F>> {
    // One digit and a point: the shape of probabilities, pixels and embeddings.
    const ZERO_POINT: u16 = u16::from_le_bytes(*b"0.");
    let first = pair(window).wrapping_sub(ZERO_POINT);
    if first <= 9 {
        return unit(bytes, start, window, first.into());
    }
    let digits = Digits::of(load(window, 0)).part()?;
    let count = digits.count();
    if count == 0 || (window[0] == b'0' && count > 1) {
        return None;
    }
    let behind = behind(window, count);
    if behind.to_le_bytes()[0] == b'.' {
        let (value, length, behind) = fraction(bytes, start, count + 1, digits.value())?;
        return Some((value, length, behind));
    }
    Some((F::from_integer(digits.value()), count, behind))
}

const EIGHT_DIGITS: u64 = 100_000_000;

/// A number of one digit before the point, which is given.
#[inline(always)]
fn unit<F: Float>(bytes: &[u8], start: usize, short: &Window, first: u64) -> Option<Magnitude<F>> {
    let head = Digits::of(load(short, 2));
    if let Some(head) = head.part() {
        let count = head.count();
        if count == 0 {
            return None;
        }
        let value = F::from_eight(first * EIGHT_DIGITS + head.fraction());
        return Some((value, 2 + count, behind(short, 2 + count)));
    }
    let Some(text) = window(bytes, start) else {
        let (value, length, behind) = last_unit(bytes, start)?;
        return Some((value, length, behind));
    };
    // A double of Python has up to 17 digits behind any zeros.
    let long = long_unit(text, first * EIGHT_DIGITS + head.value()).and_then(|(mantissa, length)| {
        Some((F::from_long(mantissa, text.get(..length)?)?, length, behind(text, length)))
    });
    if long.is_some() {
        return long;
    }
    let (value, length, behind) = fraction(bytes, start, 2, first)?;
    Some((value, length, behind))
}

#[cold]
#[inline(never)]
fn last_unit<F: Float>(bytes: &[u8], start: usize) -> Option<Magnitude<F>> {
    let text = padded(bytes, start);
    magnitude(&text, 0, window(&text, 0)?)
}

/// Goes on with a number of one digit before the point and more than eight behind it, the first
/// nine of which are given: all 17 of them up to the sixteenth behind the point, and the length.
/// Those behind the sixteenth only have to be digits.
#[inline(always)]
fn long_unit(text: &LongWindow, first: u64) -> Option<(u64, usize)> {
    let middle = Digits::of(load(text, 10));
    if let Some(middle) = middle.part() {
        return Some((first * EIGHT_DIGITS + middle.fraction(), 10 + middle.count()));
    }
    let tail = Digits::of(load(text, 18)).part()?;
    Some((first * EIGHT_DIGITS + middle.value(), 18 + tail.count()))
}

/// Reads the digits behind the point, `from` bytes behind the start, after the mantissa of those
/// before it.
#[inline(never)]
fn fraction<F: Float>(bytes: &[u8], start: usize, from: usize, mantissa: u64) -> Option<Magnitude<F>> {
    let last;
    let text = if let Some(text) = window(bytes, start) {
        text
    } else {
        last = padded(bytes, start);
        &last
    };
    let mut digits = Digits::of(load(text, from));
    if digits.count() == 0 {
        return None;
    }
    let mut mantissa = extend(mantissa, digits)?;
    let mut scale = digits.count();
    for place in [from + 8, from + 16] {
        if digits.count() < 8 {
            break;
        }
        digits = Digits::of(load(text, place));
        mantissa = extend(mantissa, digits)?;
        scale += digits.count();
    }
    if scale > MAX_SCALE {
        return None;
    }
    Some((F::from_decimal(mantissa, scale)?, from + scale, behind(text, from + scale)))
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
    let count = digits.count() & 15;
    if mantissa >= LIMITS[count] {
        return None;
    }
    Some(mantissa * INTEGER_POWERS[count] + digits.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares what the fast path makes of a text, if anything, with the correctly rounded double.
    fn check(text: &str) -> bool {
        let expected: f64 = text.parse().unwrap();
        // Whether the text ends right behind the number must not matter.
        for text in [text.to_owned(), format!("{text}, 0.123456789012345678901234567890")] {
            let plain = float::<f64>(text.as_bytes(), 0);
            assert!(plain.is_none_or(|plain| plain.value.to_bits() == expected.to_bits()), "{text}");
            let plain = float::<f32>(text.as_bytes(), 0);
            assert!(
                plain.is_none_or(|plain| plain.value.to_bits() == f32::from_f64(expected).to_bits()),
                "{text}"
            );
        }
        float::<f32>(text.as_bytes(), 0).is_some_and(|plain| plain.length == text.len())
    }

    #[test]
    fn decimals_near_the_middle_between_two_floats_are_rounded_by_way_of_a_double() {
        let (mut read, mut all) = (0, 0);
        for index in 0..2_000_u32 {
            // Floats from 1e-3 to 10, of any fraction.
            let bits = 0x3A80_0000 + index.wrapping_mul(0x9E37_79B1) % (0x4120_0000 - 0x3A80_0000);
            let middle = f64::midpoint(f32::from_bits(bits).into(), f32::from_bits(bits + 1).into());
            for distance in [-200_i64, -60, -3, -1, 0, 1, 2, 70, 150] {
                let value = f64::from_bits(middle.to_bits().wrapping_add_signed(distance));
                for digits in [7, 8, 9, 15, 16, 17, 18, 23] {
                    read += u32::from(check(&format!("{value:.digits$}")));
                    read += u32::from(check(&format!("-{value:.digits$}")));
                    all += 2;
                }
            }
        }
        assert!(read > all / 3, "{read} of {all}");
    }

    #[test]
    fn numbers_end_where_their_digits_end() {
        for text in
            ["0.5", "7", "-7", "0", "-0.0", "1234567", "0.12345678", "9.123456789", "12.5", "1234567.5"]
        {
            assert!(check(text), "{text}");
        }
        for text in ["", "-", ".5", "0.", "00", "01", "-01", "x", "+1", "0.x", "12345678", "12345678.5"] {
            assert!(float::<f32>(text.as_bytes(), 0).is_none(), "{text}");
        }
    }
}
