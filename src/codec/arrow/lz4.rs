//! Buffers compressed with LZ4: a frame of blocks, each of which is literal bytes and repetitions of earlier ones.
//!
//! The blocks are a library's. Its reader of frames makes buffers of the size of a block, up to 4 MiB, however few bytes
//! a frame is said to have; here there is the room that was counted and no more.
//!
//! The checksums that a frame may have, as polars writes them, are passed over: the connection has its own, and
//! whoever is to find out more with them needs xxHash here.

use lz4_flex::block::decompress_into_with_dict;

/// What a frame starts with.
const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// What the first byte behind that says: the version of the format, and which fields there are.
const VERSION: u8 = 0b1100_0000;
const FIRST_VERSION: u8 = 0b0100_0000;
const BLOCK_CHECKSUM: u8 = 0b0001_0000;
const SIZE: u8 = 0b0000_1000;
const DICTIONARY: u8 = 0b0000_0001;

/// Set in the length of a block that is not compressed.
const PLAIN: u32 = 1 << 31;

/// How far back the repetitions of a block go at most.
const WINDOW: usize = 64 << 10;

/// The bytes of a frame, if it is whole and has exactly so many. Room for them is made at once.
pub(super) fn inflate(frame: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut rest = frame;
    if take(&mut rest, MAGIC.len())? != MAGIC {
        return None;
    }
    let flags = *take(&mut rest, 2)?.first()?;
    if flags & VERSION != FIRST_VERSION || flags & DICTIONARY != 0 {
        return None;
    }
    // The size is known already; a byte of checksum ends the head.
    take(&mut rest, if flags & SIZE == 0 { 1 } else { 9 })?;
    let (mut out, mut at) = (vec![0; length], 0);
    loop {
        let head = u32::from_le_bytes(*take(&mut rest, 4)?.first_chunk()?);
        if head == 0 {
            return (at == length).then_some(out);
        }
        let block = take(&mut rest, usize::try_from(head & !PLAIN).ok()?)?;
        let (done, left) = out.split_at_mut(at);
        if head & PLAIN == 0 {
            let window = &done[at.saturating_sub(WINDOW)..];
            at += decompress_into_with_dict(block, left, window).ok()?;
        } else {
            left.get_mut(..block.len())?.copy_from_slice(block);
            at += block.len();
        }
        if flags & BLOCK_CHECKSUM != 0 {
            take(&mut rest, 4)?;
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of these blocks, whose flags say more than the version.
    fn frame(flags: u8, blocks: &[&[u8]]) -> Vec<u8> {
        let mut frame = MAGIC.to_vec();
        frame.extend([FIRST_VERSION | flags, 0x40]);
        frame.resize(frame.len() + if flags & SIZE == 0 { 1 } else { 9 }, 0);
        for block in blocks {
            frame.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
            frame.extend(*block);
            frame.resize(frame.len() + if flags & BLOCK_CHECKSUM == 0 { 0 } else { 4 }, 0);
        }
        frame.extend([0; 4]);
        frame
    }

    #[test]
    fn blocks_are_inflated() {
        let check = |block: &[u8], expected: &[u8]| {
            for flags in [0, SIZE, BLOCK_CHECKSUM, SIZE | BLOCK_CHECKSUM] {
                let frame = frame(flags, &[block]);
                assert_eq!(inflate(&frame, expected.len()).as_deref(), Some(expected));
                let padded = [&frame[..], &[0; 7]].concat();
                assert_eq!(inflate(&padded, expected.len()).as_deref(), Some(expected), "padding");
                for length in [expected.len().wrapping_sub(1), expected.len() + 1] {
                    assert!(length == usize::MAX || inflate(&frame, length).is_none());
                }
                for end in 0..frame.len() {
                    assert_eq!(inflate(&frame[..end], expected.len()), None);
                }
            }
        };
        check(b"\x00", b"");
        check(b"\x30abc", b"abc");
        check(&[&[0xf0, 2], &b"0123456789abcdefg"[..]].concat(), b"0123456789abcdefg");
        check(&[&[0xf0, 255, 0], &[7; 270][..]].concat(), &[7; 270]);
        // A repetition of what is before it, and of what it appends itself.
        check(b"\x40abcd\x04\x00\x00", b"abcdabcd");
        check(b"\x23ab\x02\x00\x10c", b"ababababac");
        check(&[&b"\x1fa\x01\x00\xff\x01"[..], b"\x00"].concat(), &[b'a'; 1 + 4 + 15 + 256]);
    }

    #[test]
    fn blocks_may_repeat_bytes_of_earlier_ones() {
        let blocks: [&[u8]; 2] = [b"\x40abcd", b"\x00\x04\x00\x10e"];
        assert_eq!(inflate(&frame(0, &blocks), 9).as_deref(), Some(&b"abcdabcde"[..]));
        let mut plain = frame(0, &[b"abcd"]);
        plain[10] = 0x80;
        assert_eq!(inflate(&plain, 4).as_deref(), Some(&b"abcd"[..]));
    }

    #[test]
    fn what_is_damaged_is_nothing() {
        let check = |block: &[u8]| assert_eq!(inflate(&frame(0, &[block]), 100), None);
        // Before the start, at no distance, beyond the end, and far beyond it.
        check(b"\x10a\x02\x00\x10b");
        check(b"\x10a\x00\x00\x10b");
        check(b"\x1fa\x01\x00\x60\x10b");
        check(&[&b"\x1fa\x01\x00"[..], &[255; 1 << 10], b"\x00"].concat());
        let mut other = frame(0, &[b"\x10a"]);
        assert!(inflate(&other, 1).is_some());
        other[4] = 0x80;
        assert_eq!(inflate(&other, 1), None, "another version");
        other[4] = 0x41;
        assert_eq!(inflate(&other, 1), None, "a dictionary that is not there");
        assert_eq!(inflate(b"\x28\xb5\x2f\xfd\x00\x00\x00\x00", 1), None, "Zstandard");
    }
}
