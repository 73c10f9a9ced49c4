//! 16-bit floats to their shortest decimals.
//!
//! The digits of most are found as those of 32 bits are. The others are some number of gaps between neighbours, too, and
//! the power of ten that goes into such a gap once to ten times is their unit: the nearest multiple of a hundred, ten or
//! one unit that reads back to the value is its text. All of that is exact. A test writes all values there are.

use super::half::{Format, HALF};
use super::shortest::{self, Decimal, Scale};
use super::writer::{Float, NanStyle, Number, write_float, write_floats};
use crate::error::Result;

/// A float of this format as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Short {
    pub(crate) bits: u16,
    pub(crate) format: Format,
}

/// The smallest normal halves count in two to minus this power. The bfloat16 that do are about 1e-5, below which texts
/// have an exponent.
const PLACES: i32 = 24;

/// From there to the values between gaps of eight.
const HALVES: [Scale; 28] = shortest::scales(11, PLACES);
const BFLOATS: [Scale; 28] = shortest::scales(8, PLACES);

/// The largest power of ten that is not above two to this power.
fn unit(gap: i32) -> i32 {
    // The logarithm is exact for all gaps of floats.
    (gap * 1_262_611) >> 22
}

/// The digits of any value, and the power of ten that the last of them stands for.
#[expect(clippy::cast_possible_truncation, reason = "there are five digits at most")]
#[inline(never)]
fn digits(significand: u16, gap: i32, is_power: bool) -> (u32, i32) {
    // Below a power of two the gap is half as large.
    let power = unit(gap - i32::from(is_power));
    let fives = 5_u128.pow(power.unsigned_abs());
    let bits = gap - power;
    let (up, down) = if bits < 0 { (0, bits.unsigned_abs()) } else { (bits.unsigned_abs(), 0) };
    // A unit and a quarter of a gap as whole numbers.
    let (unit, quarter) =
        if power < 0 { (4_u128 << down, fives << up) } else { ((4 * fives) << down, 1 << up) };
    let value = 4 * u128::from(significand) * quarter;
    let (above, below) = (2 * quarter, if is_power { quarter } else { 2 * quarter });
    for step in [100, 10] {
        let step_units = step * unit;
        // A digit that is rounded up to ten is none less.
        if value < step_units {
            continue;
        }
        let nearest = round(value, step_units) * step_units;
        let (distance, limit) =
            if nearest > value { (nearest - value, above) } else { (value - nearest, below) };
        if distance < limit || (distance == limit && significand & 1 == 0) {
            return ((nearest / unit) as u32, power);
        }
    }
    (round(value, unit) as u32, power)
}

/// A quotient to the nearest whole number; a half goes to the even one.
fn round(value: u128, divisor: u128) -> u128 {
    let (floor, rest) = (value / divisor, 2 * (value % divisor));
    floor + u128::from(rest > divisor || (rest == divisor && floor & 1 == 1))
}

/// The double that is nearest to a decimal of few digits.
fn nearest(digits: u32, power: i32) -> f64 {
    /// The powers that are doubles, so that only the one operation rounds.
    const TENS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
        1e18, 1e19, 1e20, 1e21, 1e22,
    ];
    match TENS.get(power.unsigned_abs() as usize) {
        Some(tens) if power < 0 => f64::from(digits) / tens,
        Some(tens) => f64::from(digits) * tens,
        None => format!("{digits}e{power}").parse().unwrap_or_default(),
    }
}

impl Default for Short {
    fn default() -> Self {
        Self { bits: 0, format: HALF }
    }
}

impl From<Short> for f64 {
    fn from(short: Short) -> Self {
        short.format.to_f64(short.bits)
    }
}

impl Float for Short {
    #[inline(always)]
    fn decimal(self) -> Decimal {
        let (significand, gap) = self.format.parts(self.bits);
        let scales = if self.format == HALF { &HALVES } else { &BFLOATS };
        match scales.get((gap + PLACES).cast_unsigned() as usize) {
            // Subnormal ones have fewer digits, and a power of two another gap below it.
            Some(scale) if significand > self.format.hidden() => shortest::scaled(significand.into(), scale),
            _ => Decimal::NONE,
        }
    }

    #[inline(always)]
    fn is_negative(self) -> bool {
        self.bits >> 15 == 1
    }

    /// That of the double which is nearest to its digits: these digits, since doubles tell all decimals of fifteen
    /// apart.
    fn text(self, buffer: &mut zmij::Buffer) -> Option<&str> {
        if !self.format.is_finite(self.bits) {
            return None;
        }
        let (significand, gap) = self.format.parts(self.bits);
        let magnitude = if significand == 0 {
            0.0
        } else {
            let (digits, power) = digits(significand, gap, self.format.is_power_of_two(self.bits));
            nearest(digits, power)
        };
        Some(buffer.format_finite(if self.is_negative() { -magnitude } else { magnitude }))
    }
}

impl Number for Short {
    fn write(self, out: &mut Vec<u8>, nan: NanStyle) -> Result<()> {
        write_float(self, out, nan)
    }

    fn write_all(numbers: impl Iterator<Item = Self>, out: &mut Vec<u8>, nan: NanStyle) -> Result<()> {
        write_floats(numbers, out, nan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::half::BFLOAT16;

    /// The same by trying: of more and more digits those of the value, until they read back to it.
    fn tried(short: Short) -> String {
        let value = f64::from(short);
        let shortest = (0..5)
            .map(|precision| format!("{value:.precision$e}").parse::<f64>().unwrap())
            .find(|&text| short.format.round(text) == short.bits);
        zmij::Buffer::new().format_finite(shortest.unwrap()).to_owned()
    }

    #[test]
    fn all_values_are_written_in_their_shortest_form() {
        for format in [HALF, BFLOAT16] {
            let all = || (0..=u16::MAX).map(move |bits| Short { bits, format });
            let mut out = Vec::new();
            Short::write_all(all(), &mut out, NanStyle::Literal).unwrap();
            let text = String::from_utf8(out).unwrap();
            let mut texts = text.split(',');
            for short in all() {
                let expected = match f64::from(short) {
                    value if value.is_nan() => "NaN".to_owned(),
                    f64::INFINITY => "Infinity".to_owned(),
                    f64::NEG_INFINITY => "-Infinity".to_owned(),
                    _ => tried(short),
                };
                assert_eq!(texts.next(), Some(&*expected), "{short:?}");
                let mut one = Vec::new();
                short.write(&mut one, NanStyle::Literal).unwrap();
                assert_eq!(String::from_utf8(one).unwrap(), expected, "{short:?}");
            }
            assert_eq!(texts.next(), Some(""));
        }
    }
}
