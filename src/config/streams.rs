//! How lines are answered while they arrive.

/// Bodies of lines, each of which is a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// How many lines go to the model server in one call.
    pub batch: usize,
    /// How many such calls of one request are under way at once.
    pub window: usize,
    /// How many bytes of answers may wait for a client that still sends, before no more of its body is read.
    pub buffer: usize,
    /// The most bytes of a line.
    pub max_line: usize,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self { batch: 256, window: 4, buffer: 64 << 20, max_line: 16 << 20 }
    }
}
