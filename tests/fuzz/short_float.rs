//! Rounding to 16-bit floats by looking for the nearest one among all of them.

use std::sync::OnceLock;

/// IEEE half, by its number of exponent bits.
pub const HALF: u32 = 5;

/// Bfloat16, likewise.
pub const BFLOAT16: u32 = 8;

/// The bits of the nearest value, ties to the even one.
pub fn round(value: f64, exponent_bits: u32) -> u16 {
    static HALVES: OnceLock<Vec<f64>> = OnceLock::new();
    static BFLOATS: OnceLock<Vec<f64>> = OnceLock::new();
    let all = if exponent_bits == HALF { &HALVES } else { &BFLOATS };
    let magnitudes = all.get_or_init(|| magnitudes(exponent_bits));
    let infinity = magnitudes.len() - 1;
    let sign = u16::from(value.is_sign_negative()) << 15;
    let value = value.abs();
    let above = magnitudes.partition_point(|&magnitude| magnitude < value);
    if above == 0 || above > infinity {
        return sign | above.min(infinity) as u16;
    }
    let below = above - 1;
    // Exact: neighbours differ in few bits.
    let middle = magnitudes[below] / 2.0 + magnitudes[above] / 2.0;
    let nearest = if value < middle || (value == middle && below % 2 == 0) { below } else { above };
    sign | nearest as u16
}

/// All magnitudes in their order, which is the order of their bits. The last one stands for
/// infinity: the value that would be next.
fn magnitudes(exponent_bits: u32) -> Vec<f64> {
    let fraction_bits = 15 - exponent_bits;
    let bias = (1 << (exponent_bits - 1)) - 1;
    let infinity = ((1_u32 << exponent_bits) - 1) << fraction_bits;
    (0..=infinity)
        .map(|bits| {
            let exponent = (bits >> fraction_bits) as i32;
            let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1_u32 << fraction_bits);
            match exponent {
                0 => fraction * 2.0_f64.powi(1 - bias),
                _ => (1.0 + fraction) * 2.0_f64.powi(exponent - bias),
            }
        })
        .collect()
}
