//! Integers: those that fit 64 bits.

use super::digits::{Digits, SignedWindow, Window, load, padded};

/// Reads `[-]digits` whose magnitude fits 64 bits: the sign, the magnitude and the end.
///
/// `None` if the token is longer, has a fraction or an exponent, or is no number.
#[inline(always)]
pub(crate) fn integer(bytes: &[u8], start: usize) -> Option<(bool, u64, usize)> {
    match bytes.get(start..).and_then(<[u8]>::first_chunk) {
        Some(text) => signed_integer(text, start),
        None => last_integer(bytes, start),
    }
}

#[cold]
#[inline(never)]
fn last_integer(bytes: &[u8], start: usize) -> Option<(bool, u64, usize)> {
    signed_integer(&padded(bytes, start), start)
}

#[inline(always)]
fn signed_integer(text: &SignedWindow, start: usize) -> Option<(bool, u64, usize)> {
    if let [b'-', window @ ..] = text {
        let (value, length) = whole(window)?;
        return Some((true, value, start + 1 + length));
    }
    let [window @ .., _] = text;
    let (value, length) = whole(window)?;
    Some((false, value, start + length))
}

#[inline(always)]
fn whole(window: &Window) -> Option<(u64, usize)> {
    let digits = Digits::of(load(window, 0));
    if digits.count == 0 || (digits.count > 1 && window[0] == b'0') {
        return None;
    }
    let (value, end) = if digits.count < 8 { (digits.value(), digits.count) } else { long_whole(window)? };
    match window[end & 31] {
        b'.' | b'e' | b'E' => None,
        _ => Some((value, end)),
    }
}

/// Reads an integer of eight digits or more.
#[inline(never)]
fn long_whole(window: &Window) -> Option<(u64, usize)> {
    let digits = window.iter().take_while(|byte| byte.is_ascii_digit());
    let mut count = 0;
    let mut value = 0_u64;
    for digit in digits {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        count += 1;
    }
    Some((value, count))
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
