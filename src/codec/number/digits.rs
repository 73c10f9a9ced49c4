//! Digits by the eight, in windows of the text.

use std::num::NonZeroU64;

/// What the fast paths look at first: with a fixed size, the bounds are checked once for a
/// number. The larger, the sooner the text ends in front of its last numbers.
pub(super) type Window = [u8; 16];

/// More than the longest number that a fast path takes, and what is behind it.
pub(super) type LongWindow = [u8; 40];

/// The bytes from a place on, if there are as many.
#[inline(always)]
pub(super) fn window<const SIZE: usize>(bytes: &[u8], start: usize) -> Option<&[u8; SIZE]> {
    bytes.get(start..start.wrapping_add(SIZE))?.first_chunk()
}

/// The last few bytes of the text, filled up with zeros.
pub(super) fn padded(bytes: &[u8], start: usize) -> LongWindow {
    let mut text = [0; size_of::<LongWindow>()];
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
pub(super) fn load<const SIZE: usize>(text: &[u8; SIZE], at: usize) -> u64 {
    window(text, at).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// Four bytes of a window, the first in the lowest byte; zero beyond its end.
#[inline(always)]
pub(super) fn behind<const SIZE: usize>(text: &[u8; SIZE], at: usize) -> u32 {
    window(text, at).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// The first two bytes of a window, the first in the low byte.
#[inline(always)]
pub(super) fn pair<const SIZE: usize>(text: &[u8; SIZE]) -> u16 {
    window(text, 0).map_or(0, |chunk| u16::from_le_bytes(*chunk))
}

/// The leading decimal digits of eight bytes.
#[derive(Clone, Copy)]
pub(super) struct Digits {
    /// The bytes with `'0'` taken off: a digit is a byte of at most 9.
    bytes: u64,
    /// The high bit of the first byte that is no digit, and some bits above.
    others: u64,
}

impl Digits {
    #[inline(always)]
    pub(super) fn of(chunk: u64) -> Self {
        let bytes = chunk ^ 0x3030_3030_3030_3030;
        // Adding 0x76 carries into the high bit of every byte above 9. A carry out of a byte
        // can only disturb the bytes behind it, and those lie behind the first non-digit.
        let others = (bytes.wrapping_add(0x7676_7676_7676_7676) | bytes) & 0x8080_8080_8080_8080;
        Self { bytes, others }
    }

    /// The digits if there are less than eight of them.
    #[inline(always)]
    pub(super) fn part(self) -> Option<Part> {
        Some(Part { bytes: self.bytes, others: NonZeroU64::new(self.others)? })
    }

    /// How many digits there are.
    #[inline(always)]
    pub(super) fn count(self) -> usize {
        self.part().map_or(8, Part::count)
    }

    /// The number that the digits write; 0 for none.
    #[inline(always)]
    pub(super) fn value(self) -> u64 {
        self.part().map_or_else(|| number(self.bytes), Part::value)
    }
}

/// Less than eight digits: eight are a case of their own, since the bit scan knows no answer
/// for them.
#[derive(Clone, Copy)]
pub(super) struct Part {
    bytes: u64,
    others: NonZeroU64,
}

impl Part {
    /// How many digits there are.
    #[inline(always)]
    pub(super) fn count(self) -> usize {
        self.others.trailing_zeros() as usize / 8
    }

    /// The number that the digits write; 0 for none.
    #[inline(always)]
    pub(super) fn value(self) -> u64 {
        // Move the digits to the top: the bytes below them become leading zeros. In two steps,
        // since a shift by all 64 bits is none.
        let half = 32 - 4 * self.count();
        number((self.bytes << half) << half)
    }

    /// The number that the digits write with zeros behind them, eight digits in all.
    ///
    /// Where they end is not needed for it, so that neither waits for the other.
    #[inline(always)]
    pub(super) fn fraction(self) -> u64 {
        number(self.bytes & ((self.others.get() ^ (self.others.get() - 1)) >> 8))
    }
}

/// The number of eight digits, the first in the lowest byte.
#[inline(always)]
fn number(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    const EVERY_FOURTH: u64 = 0x0000_00FF_0000_00FF;
    const HUNDREDS: u64 = 100 + (1_000_000 << 32);
    const UNITS: u64 = 1 + (10_000 << 32);
    let high = (pairs & EVERY_FOURTH).wrapping_mul(HUNDREDS);
    let low = (pairs >> 16 & EVERY_FOURTH).wrapping_mul(UNITS);
    high.wrapping_add(low) >> 32
}
