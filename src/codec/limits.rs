//! How much one body may ask for, beyond its number of bytes: depth, dimensions, elements, strings.
//!
//! The readers look at a limit where a list opens or where room is made, never once per number of
//! a plain list, and never make room beyond it. What goes beyond a limit is INVALID_ARGUMENT with
//! its place, like everything else that is wrong with what a body says; its number of bytes is not
//! known here.

use super::nested::MAX_RANK;

/// The limits of a JSON body. Each is the most that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Levels of objects and lists, those in ignored members too; the body's own object is one.
    pub depth: usize,
    /// Dimensions of a tensor; there are never more than [`MAX_RANK`].
    pub rank: usize,
    /// Elements of one tensor. Of a list of examples it bounds the examples, the features of each
    /// and the elements of a feature.
    pub elements: usize,
    /// Bytes of one string among the elements, after its escapes or base64 have been decoded.
    pub string_size: usize,
    /// Bytes that what is compressed inside of a body inflates to.
    pub inflated: usize,
}

impl Limits {
    /// No limits, for reading once more what has been read within some.
    pub(crate) const NONE: Self = Self {
        depth: usize::MAX,
        rank: MAX_RANK,
        elements: usize::MAX,
        string_size: usize::MAX,
        inflated: usize::MAX,
    };

    /// The most dimensions that a tensor can have and may have.
    pub(crate) fn most_dimensions(&self) -> usize {
        self.rank.min(MAX_RANK)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 512, rank: MAX_RANK, elements: 1 << 28, string_size: 256 << 20, inflated: 64 << 20 }
    }
}
