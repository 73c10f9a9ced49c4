//! The two 16-bit floats, IEEE half and bfloat16, to and from doubles.
//!
//! Conversions round to nearest, ties to even, straight from the double: going through a
//! float first would round twice.

/// A 16-bit float format: one sign bit, then `EXPONENT_BITS`, then the rest of the fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    exponent_bits: u32,
}

/// IEEE 754 binary16.
pub(crate) const HALF: Format = Format { exponent_bits: 5 };

/// The upper half of an IEEE 754 binary32.
pub(crate) const BFLOAT16: Format = Format { exponent_bits: 8 };

impl Format {
    const fn fraction_bits(self) -> u32 {
        15 - self.exponent_bits
    }

    const fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    const fn infinity(self) -> u16 {
        ((1 << self.exponent_bits) - 1) << self.fraction_bits()
    }

    /// The bits of the nearest value; beyond the largest one that is an infinity.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "each cast keeps the bits it is for"
    )]
    pub(crate) fn round(self, value: f64) -> u16 {
        let sign = u16::from(value.is_sign_negative()) << 15;
        if value.is_nan() {
            // The quiet bit alone: payloads have no spelling in JSON.
            return sign | self.infinity() | 1 << (self.fraction_bits() - 1);
        }
        let bits = value.abs().to_bits();
        let exponent = (bits >> 52) as i32 - 1023;
        if exponent > self.bias() {
            return sign | self.infinity();
        }
        let smallest = 1 - self.bias();
        // A subnormal result loses one more bit for every power of two below the smallest normal.
        let lost = 52 - self.fraction_bits().cast_signed() + (smallest - exponent).max(0);
        if lost > 54 {
            return sign;
        }
        let significand = bits & ((1 << 52) - 1) | u64::from(exponent > -1023) << 52;
        let kept = significand >> lost;
        let rest = significand & ((1 << lost) - 1);
        let middle = 1_u64 << (lost - 1);
        let round_up = rest > middle || (rest == middle && kept & 1 == 1);
        // The hidden bit adds one to the exponent field, and a carry out of the fraction another.
        let field =
            if exponent < smallest { 0 } else { (exponent - smallest) as u64 } << self.fraction_bits();
        sign | (field + kept + u64::from(round_up)) as u16
    }

    /// Whether the bits are neither an infinity nor a NaN.
    #[inline(always)]
    pub(crate) fn is_finite(self, bits: u16) -> bool {
        bits & 0x7FFF < self.infinity()
    }

    /// The magnitude of a finite value: a whole number, and the power of two that it counts. That one is the gap
    /// to the value above.
    #[inline(always)]
    pub(crate) fn parts(self, bits: u16) -> (u16, i32) {
        let fraction_bits = self.fraction_bits();
        let exponent = i32::from(bits >> fraction_bits & ((1 << self.exponent_bits) - 1));
        let hidden = u16::from(exponent > 0) << fraction_bits;
        let scale = exponent.max(1) - self.bias() - fraction_bits.cast_signed();
        (hidden | bits & ((1 << fraction_bits) - 1), scale)
    }

    /// The bit that the significands of all but subnormal values begin with.
    #[inline(always)]
    pub(crate) fn hidden(self) -> u16 {
        1 << self.fraction_bits()
    }

    /// Whether the gap to the value below is only half as large as that to the one above.
    pub(crate) fn is_power_of_two(self, bits: u16) -> bool {
        bits & (self.hidden() - 1) == 0 && bits & 0x7FFF > self.hidden()
    }

    /// The value of the bits, exactly.
    pub(crate) fn to_f64(self, bits: u16) -> f64 {
        let magnitude = if self.is_finite(bits) {
            let (significand, scale) = self.parts(bits);
            f64::from(significand) * 2.0_f64.powi(scale)
        } else if bits & 0x7FFF == self.infinity() {
            f64::INFINITY
        } else {
            f64::NAN
        };
        if bits >> 15 == 1 { -magnitude } else { magnitude }
    }
}
