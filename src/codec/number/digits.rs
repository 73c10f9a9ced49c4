//! Digits by the eight, in windows of the text.

use std::num::NonZeroU64;

/// How much of the text a fast path looks at: more than the longest number it takes. With a
/// fixed size, the bounds are checked once for a number.
pub(super) type Window = [u8; 32];

/// A window of the text and a byte more in front of it, which may be a sign.
pub(super) type SignedWindow = [u8; size_of::<Window>() + 1];

/// The last few bytes of the text, filled up with zeros.
#[cold]
#[inline(never)]
pub(super) fn padded(bytes: &[u8], start: usize) -> SignedWindow {
    let mut text = [0; size_of::<SignedWindow>()];
    let rest = bytes.get(start..).unwrap_or_default();
    let length = rest.len().min(text.len());
    text[..length].copy_from_slice(&rest[..length]);
    text
}

/// The powers of ten that one step of digits can need, and more, so that no index is too large.
pub(super) const INTEGER_POWERS: [u64; 16] = {
    let mut powers = [1; 16];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = 10 * powers[exponent - 1];
        exponent += 1;
    }
    powers
};

/// Eight bytes of a window, the first in the lowest byte; zero beyond its end.
#[inline(always)]
pub(super) fn load(window: &Window, at: usize) -> u64 {
    match window.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => 0,
    }
}

/// The leading decimal digits of eight bytes.
#[derive(Clone, Copy)]
pub(super) struct Digits {
    /// The bytes with `'0'` taken off: a digit is a byte of at most 9.
    bytes: u64,
    pub(super) count: usize,
}

impl Digits {
    #[inline(always)]
    pub(super) fn of(chunk: u64) -> Self {
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
    pub(super) fn value(self) -> u64 {
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
