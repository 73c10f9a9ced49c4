//! Integers: those that fit 64 bits.

use super::Plain;
use super::digits::{Digits, Window, behind, load, padded, window};

/// Reads `[-]digits` whose magnitude fits 64 bits: the sign and the magnitude.
///
/// `None` if the token is longer or is no number. What is behind it may go on with it: that is
/// for the caller to see.
#[inline(always)]
pub(crate) fn integer(bytes: &[u8], start: usize) -> Option<Plain<(bool, u64)>> {
    let Some(text) = window::<{ size_of::<Window>() + 1 }>(bytes, start) else {
        let Plain { value, length, behind } = last_integer(bytes, start)?;
        return Some(Plain { value, length, behind });
    };
    if let [b'-', window @ ..] = text {
        let (value, length, behind) = whole(bytes, start + 1, window)?;
        return Some(Plain { value: (true, value), length: 1 + length, behind });
    }
    let [window @ .., _] = text;
    let (value, length, behind) = whole(bytes, start, window)?;
    Some(Plain { value: (false, value), length, behind })
}

#[cold]
#[inline(never)]
fn last_integer(bytes: &[u8], start: usize) -> Option<Plain<(bool, u64)>> {
    integer(&padded(bytes, start), 0)
}

#[inline(always)]
fn whole(bytes: &[u8], start: usize, window: &Window) -> Option<(u64, usize, u32)> {
    let Some(digits) = Digits::of(load(window, 0)).part() else {
        let (value, count, behind) = long_whole(bytes, start)?;
        return Some((value, count, behind));
    };
    let count = digits.count();
    if count == 0 || (window[0] == b'0' && count > 1) {
        return None;
    }
    Some((digits.value(), count, behind(window, count)))
}

/// Reads an integer of eight digits or more.
#[inline(never)]
fn long_whole(bytes: &[u8], start: usize) -> Option<(u64, usize, u32)> {
    let text = bytes.get(start..).unwrap_or_default();
    if text.first() == Some(&b'0') {
        return None;
    }
    let mut count = 0;
    let mut value = 0_u64;
    for digit in text.iter().take_while(|byte| byte.is_ascii_digit()) {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        count += 1;
    }
    Some((value, count, behind(&padded(text, count), 0)))
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
