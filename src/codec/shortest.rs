//! Floats of 32 bits to their shortest decimals.
//!
//! Of all decimals that read back to the float this finds the shortest, and of those the
//! nearest. The float is scaled to a whole number of seven to nine digits with a fraction; how
//! far it is from the number rounded to tens decides whether a digit can go. Floats for which
//! that comparison is too close to call, and those very small or large, are left to another
//! printer. No branch depends on the
//! digits, since they are as random as the floats. A test prints and reads all floats there are.

/// The smallest power of ten in [`POWERS`].
const MIN_POWER: i32 = -31;

/// The powers of ten from -31 to 45 as 64-bit significands: for each the whole part of
/// `10^power * 2^(63 - floor(log2(10^power)))`, plus one.
#[rustfmt::skip]
const POWERS: [u64; 77] = [
    0x81CE_B32C_4B43_FCF5, 0xA242_5FF7_5E14_FC32, 0xCAD2_F7F5_359A_3B3F, 0xFD87_B5F2_8300_CA0E,
    0x9E74_D1B7_91E0_7E49, 0xC612_0625_7658_9DDB, 0xF796_87AE_D3EE_C552, 0x9ABE_14CD_4475_3B53,
    0xC16D_9A00_9592_8A28, 0xF1C9_0080_BAF7_2CB2, 0x971D_A050_74DA_7BEF, 0xBCE5_0864_9211_1AEB,
    0xEC1E_4A7D_B695_61A6, 0x9392_EE8E_921D_5D08, 0xB877_AA32_36A4_B44A, 0xE695_94BE_C44D_E15C,
    0x901D_7CF7_3AB0_ACDA, 0xB424_DC35_095C_D810, 0xE12E_1342_4BB4_0E14, 0x8CBC_CC09_6F50_88CC,
    0xAFEB_FF0B_CB24_AAFF, 0xDBE6_FECE_BDED_D5BF, 0x8970_5F41_36B4_A598, 0xABCC_7711_8461_CEFD,
    0xD6BF_94D5_E57A_42BD, 0x8637_BD05_AF6C_69B6, 0xA7C5_AC47_1B47_8424, 0xD1B7_1758_E219_652C,
    0x8312_6E97_8D4F_DF3C, 0xA3D7_0A3D_70A3_D70B, 0xCCCC_CCCC_CCCC_CCCD, 0x8000_0000_0000_0001,
    0xA000_0000_0000_0001, 0xC800_0000_0000_0001, 0xFA00_0000_0000_0001, 0x9C40_0000_0000_0001,
    0xC350_0000_0000_0001, 0xF424_0000_0000_0001, 0x9896_8000_0000_0001, 0xBEBC_2000_0000_0001,
    0xEE6B_2800_0000_0001, 0x9502_F900_0000_0001, 0xBA43_B740_0000_0001, 0xE8D4_A510_0000_0001,
    0x9184_E72A_0000_0001, 0xB5E6_20F4_8000_0001, 0xE35F_A931_A000_0001, 0x8E1B_C9BF_0400_0001,
    0xB1A2_BC2E_C500_0001, 0xDE0B_6B3A_7640_0001, 0x8AC7_2304_89E8_0001, 0xAD78_EBC5_AC62_0001,
    0xD8D7_26B7_177A_8001, 0x8786_7832_6EAC_9001, 0xA968_163F_0A57_B401, 0xD3C2_1BCE_CCED_A101,
    0x8459_5161_4014_84A1, 0xA56F_A5B9_9019_A5C9, 0xCECB_8F27_F420_0F3B, 0x813F_3978_F894_0985,
    0xA18F_07D7_36B9_0BE6, 0xC9F2_C9CD_0467_4EDF, 0xFC6F_7C40_4581_2297, 0x9DC5_ADA8_2B70_B59E,
    0xC537_1912_364C_E306, 0xF684_DF56_C3E0_1BC7, 0x9A13_0B96_3A6C_115D, 0xC097_CE7B_C907_15B4,
    0xF0BD_C21A_BB48_DB21, 0x9676_9950_B50D_88F5, 0xBC14_3FA4_E250_EB32, 0xEB19_4F8E_1AE5_25FE,
    0x92EF_D1B8_D0CF_37BF, 0xB7AB_C627_0503_05AE, 0xE596_B7B0_C643_C71A, 0x8F7E_32CE_7BEA_5C70,
    0xB35D_BF82_1AE4_F38C,
];

/// How much room a text needs. What is written beyond its length means nothing.
pub(crate) const ROOM: usize = 24;

/// The most zeros before the first digit, the one before the point included.
const MAX_ZEROS: u32 = 5;

/// The exponents of floats from about 1e-5 to 2^23, as they are stored.
const EXPONENTS: std::ops::Range<u32> = 110..150;

/// Writes a float and returns the length of its text, or `None` if it is left to others.
#[inline(always)]
pub(crate) fn write(float: f32, room: &mut [u8; ROOM]) -> Option<usize> {
    let bits = float.to_bits();
    let (fraction, biased) = (bits & 0x7F_FFFF, (bits >> 23) & 0xFF);
    // At a power of two the float below is only half as far away: another rule than below.
    if fraction == 0 || !EXPONENTS.contains(&biased) {
        return None;
    }
    let (digits, power) = shortest(fraction | 1 << 23, biased.cast_signed() - 150)?;
    // Seven to nine digits become nine: then the first stands for 10^(power + 8).
    let (factor, missing) = match digits {
        0..10_000_000 => (100, 2),
        10_000_000..100_000_000 => (10, 1),
        _ => (1, 0),
    };
    let digits = digits * factor;
    let exponent = power - missing + 8;
    if digits >= 1_000_000_000 {
        return None;
    }
    let (first, rest) = digits_of(digits);
    let significant = 9 - (rest ^ 0x3030_3030_3030_3030).leading_zeros() as usize / 8;
    if exponent > 0 {
        // Above ten, some of the other digits stand before the point, too.
        let whole = exponent.cast_unsigned() as usize & 7;
        let sign = (bits >> 31) as usize;
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
    let sign = (bits >> 31) as usize;
    room[0] = b'-';
    room[sign..sign + 8].copy_from_slice(b"0.000000");
    room[sign + zeros + usize::from(zeros > 0)] = first;
    room[sign + zeros + 2..sign + zeros + 10].copy_from_slice(&rest.to_le_bytes());
    let shortest = if zeros == 0 { 2 } else { 1 };
    Some(sign + zeros + 1 + significant.max(shortest))
}

/// The shortest digits of `significand * 2^exponent`, and the power of ten they are counted in.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the parts of a product are taken apart")]
fn shortest(significand: u32, exponent: i32) -> Option<(u32, i32)> {
    // The unit: the power of ten that goes into the gap between two floats once to ten times.
    // Both logarithms are exact in this range.
    let power = (exponent * 1_262_611) >> 22;
    let shift = (exponent + ((-power * 1_741_647) >> 19) + 1).cast_unsigned() & 7;
    let factor = POWERS.get((-power - MIN_POWER).cast_unsigned() as usize).copied()?;
    // In units, with 32 bits behind the point: the float, and half of the gap.
    let scaled = ((u128::from(factor) * u128::from(significand << shift)) >> 32) as u64;
    let half_gap = factor >> (33 - shift);
    let (whole, part) = ((scaled >> 32) as u32, scaled & 0xFFFF_FFFF);
    let tens = whole / 10 * 10;
    let below = scaled - (u64::from(tens) << 32);
    let above = (10 << 32) - below;
    // The scaled values are off by less than two.
    if below.wrapping_sub(half_gap).wrapping_add(4) <= 8 || above.wrapping_sub(half_gap).wrapping_add(4) <= 8
    {
        return None;
    }
    // A half goes to the even neighbour.
    let nearest = whole + ((part + u64::from(whole & 1) + 0x7FFF_FFFF) >> 32) as u32;
    let digits = if above < half_gap { tens + 10 } else { nearest };
    Some((if below < half_gap { tens } else { digits }, power))
}

/// The pairs of digits from 00 to 99, as text.
const PAIRS: [[u8; 2]; 128] = {
    let mut pairs = [[b'0'; 2]; 128];
    let mut number = 0_u8;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

/// Nine decimal digits as text: the first, and the other eight, the leftmost in the lowest byte.
///
/// All quotients are taken of the number itself, so that none waits for another.
#[inline(always)]
fn digits_of(number: u32) -> (u8, u64) {
    let (eighth, sixth, fourth, second) =
        (number / 100_000_000, number / 1_000_000, number / 10_000, number / 100);
    let pair = |pair: u32| u64::from(u16::from_le_bytes(PAIRS[(pair & 127) as usize]));
    let text = pair(sixth - 100 * eighth)
        | (pair(fourth - 100 * sixth) << 16)
        | (pair(second - 100 * fourth) << 32)
        | (pair(number - 100 * second) << 48);
    (b'0' + eighth.to_le_bytes()[0], text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a float's text with another printer's; false if it is left to that one.
    fn check(float: f32) -> bool {
        let mut room = [b'x'; ROOM];
        let Some(length) = write(float, &mut room) else { return false };
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
