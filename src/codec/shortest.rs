//! Floats to their shortest decimals.
//!
//! Of all decimals that read back to the float this finds the shortest, and of those the
//! nearest. The float is scaled to a whole number of units with a fraction, of seven to nine digits for one of
//! 32 bits; how far it is from the nearest multiple of ten decides whether a digit can go. All of that is
//! exact: floats very small or large, for which it would not be, are left to another printer,
//! like those of which a neighbour is not as far away. No branch depends on the digits, since
//! they are as random as the floats. A test prints and reads all floats there are.

use std::hint::select_unpredictable;

/// How much room a text needs. What is written beyond its length means nothing.
pub(crate) const ROOM: usize = 24;

/// The most zeros before the first digit, the one before the point included.
const MAX_ZEROS: u32 = 5;

/// The exponents of floats from about 1e-5 to 2^23, as they are stored.
const EXPONENTS: std::ops::Range<u32> = 110..150;

/// What the floats of one exponent have in common.
///
/// Their unit is the power of ten that goes into the gap between two of them once to ten times.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// The gap, in units with 32 bits behind the point.
    gap: u64,
    /// From here on the floats have a digit more.
    longer: u32,
    /// What makes nine digits of the digits, without and with the one more.
    factors: [u32; 2],
    /// The power of ten that the first digit stands for, without and with the one more.
    exponents: [i32; 2],
}

const SCALES: [Scale; 40] = scales(24, 150 - EXPONENTS.start.cast_signed());

/// The scales of floats whose significands of so many bits count in `2^-places`, and of those with larger exponents.
pub(crate) const fn scales<const COUNT: usize>(bits: u32, mut places: i32) -> [Scale; COUNT] {
    let mut scales = [Scale::of(bits, 0); COUNT];
    let mut index = 0;
    while index < COUNT {
        scales[index] = Scale::of(bits, places);
        (index, places) = (index + 1, places - 1);
    }
    scales
}

impl Scale {
    /// Of the floats whose significands of so many bits count in `2^-places`: at most eight of 32 bits, at least
    /// one of 2^46.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a gap is less than ten, with 32 bits behind the point"
    )]
    const fn of(bits: u32, places: i32) -> Self {
        // The logarithm is exact in this range.
        let power = if places > 0 { (places * 1_262_611 + (1 << 22) - 1) >> 22 } else { 0 };
        // There are at most as many twos to divide by as the power of ten has.
        let gap = ((10_u128.pow(power.cast_unsigned()) << (32 + 8)) >> (places + 8)) as u64;
        let smallest = (gap << (bits - 1) >> 32) as u32 / 10 * 10;
        let (mut longer, mut factor, mut exponent) = (10, 100_000_000, -power);
        while longer <= smallest {
            longer *= 10;
            factor /= 10;
            exponent += 1;
        }
        Self { gap, longer, factors: [factor, factor / 10], exponents: [exponent, exponent + 1] }
    }
}

/// The nine digits that a float is written with, the last ones perhaps zeros.
#[derive(Clone, Copy)]
pub(crate) struct Decimal {
    /// The digits as a number.
    digits: u32,
    /// The first digit stands for ten to this power, which is very small for a float that is
    /// left to others.
    exponent: i32,
}

impl Decimal {
    /// Of a float that is left to others.
    pub(crate) const NONE: Self = Self { digits: 0, exponent: i32::MIN };
}

/// Finds the digits of a float of 32 bits.
#[inline(always)]
pub(crate) fn decimal(float: f32) -> Decimal {
    let bits = float.to_bits();
    let fraction = bits & 0x7F_FFFF;
    let biased = (bits >> 23) & 0xFF;
    let Some(scale) = SCALES.get(biased.wrapping_sub(EXPONENTS.start) as usize) else {
        return Decimal::NONE;
    };
    // At a power of two the float below is only half as far away: another rule than here.
    if fraction == 0 {
        return Decimal::NONE;
    }
    scaled(fraction | 1 << 23, scale)
}

/// Finds the digits of a float whose neighbours are equally far away, unless one has to know more than that.
#[inline(always)]
pub(crate) fn scaled(significand: u32, scale: &Scale) -> Decimal {
    // In units, with 32 bits behind the point.
    let scaled = u64::from(significand) * scale.gap;
    let tens = ((scaled + (5 << 32)) >> 32) as u32 / 10 * 10;
    let distance = scaled.wrapping_sub(u64::from(tens) << 32).cast_signed().unsigned_abs();
    let half_gap = scale.gap / 2;
    // Which float the middle between two reads as is for others to know.
    if distance == half_gap {
        return Decimal::NONE;
    }
    // A half goes to the even neighbour.
    let nearest = ((scaled + (scaled >> 32 & 1) + 0x7FFF_FFFF) >> 32) as u32;
    let digits = select_unpredictable(distance < half_gap, tens, nearest);
    let is_longer = usize::from(digits >= scale.longer);
    Decimal { digits: digits * scale.factors[is_longer], exponent: scale.exponents[is_longer] }
}

/// Writes a float of this sign in its digits and returns the length of the text, or `None` if it is left
/// to others.
#[inline(always)]
pub(crate) fn write(is_negative: bool, decimal: Decimal, room: &mut [u8; ROOM]) -> Option<usize> {
    let Decimal { digits, exponent } = decimal;
    let sign = usize::from(is_negative);
    let (first, rest) = digits_of(digits);
    // Counted from this end, since the bit scan from the other one is slow.
    let significant = 9 - rest.trailing_zeros() as usize / 8;
    let rest = (rest | 0x3030_3030_3030_3030).swap_bytes();
    if exponent > 0 {
        // Above ten, some of the other digits stand before the point, too.
        let whole = exponent.cast_unsigned() as usize & 7;
        room[0] = b'-';
        room[sign] = first;
        room[sign + 1..sign + 9].copy_from_slice(&rest.to_le_bytes());
        room[sign + 1 + whole..sign + 9 + whole]
            .copy_from_slice(&(((rest >> (8 * whole)) << 8) | 0x2E).to_le_bytes());
        return Some(sign + 1 + significant.max(whole + 2));
    }
    let zeros = exponent.unsigned_abs();
    if zeros > MAX_ZEROS {
        return None;
    }
    let zeros = zeros as usize & 7;

    // A sign, zeros with the point, then the digits: all but the first, for which a zero makes
    // way if it stands before the point.
    room[0] = b'-';
    room[sign..sign + 8].copy_from_slice(b"0.000000");
    room[sign + zeros + usize::from(zeros > 0)] = first;
    room[sign + zeros + 2..sign + zeros + 10].copy_from_slice(&rest.to_le_bytes());
    let shortest = if zeros == 0 { 2 } else { 1 };
    Some(sign + zeros + 1 + significant.max(shortest))
}

/// Nine decimal digits: the first, and the other eight, a byte for each, the leftmost on top.
///
/// Each step splits all numbers in two at once: one number below 10^8 becomes two below 10^4,
/// these four below 100 and these eight digits.
#[inline(always)]
fn digits_of(number: u32) -> (u8, u64) {
    let first = number / 100_000_000;
    let rest = u64::from(number - 100_000_000 * first);
    // Multiplying a quotient moves it up and takes what it stands for off what is below.
    let fours = rest + ((rest * 0xD1B7_1759) >> 45) * ((1 << 32) - 10_000);
    let pairs = fours + ((fours * 10_486) >> 20 & 0x0000_007F_0000_007F) * ((1 << 16) - 100);
    let digits = pairs + ((pairs * 103) >> 10 & 0x000F_000F_000F_000F) * ((1 << 8) - 10);
    (b'0' + first.to_le_bytes()[0], digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a float's text with another printer's; false if it is left to that one.
    fn check(float: f32) -> bool {
        let mut room = [b'x'; ROOM];
        let Some(length) = write(float.is_sign_negative(), decimal(float), &mut room) else { return false };
        let text = std::str::from_utf8(&room[..length]).unwrap();
        assert_eq!(text, zmij::Buffer::new().format_finite(float));
        true
    }

    #[test]
    fn texts_are_those_of_another_printer() {
        for float in [
            1.5,
            -1.5,
            10.5,
            -123.456,
            7_654_321.5,
            8_388_607.5,
            100.000_01,
            0.1,
            0.3,
            1e-5,
            -2e-5,
            0.75,
            0.007,
            9.999_999,
            0.999_999_94,
            3.0,
            -7.0,
        ] {
            assert!(check(float), "{float}");
        }
        for float in [0.0, -0.0, 1.0, 1e7, 1e-6, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE, f32::MAX] {
            assert!(!check(float), "{float}");
        }
        let covered =
            (0..1_000_000_u32).filter(|index| check(f32::from_bits(index.wrapping_mul(0x9E37_79B1))));
        // The range has more than a seventh of all floats.
        assert!(covered.count() > 140_000);
        for biased in 1..255_u32 {
            for offset in 0..50 {
                check(f32::from_bits((biased << 23) + offset));
                check(f32::from_bits((biased << 23) - 1 - offset));
            }
        }
    }
}
