//! Nested lists to a flat row of elements and a shape.
//!
//! The shape is found on the way: the first list at each level sets the size for all lists of
//! that level, the first element (or empty list) the rank. The loop keeps its own stack, so it
//! can stop where the text stops and go on when more of it has arrived.

use super::element::Element;
use super::fault::{Fault, What};
use super::reader::Reader;
use crate::proto::tensorflow::TensorShapeProto;
use crate::proto::tensorflow::tensor_shape_proto::Dim;

/// The most dimensions that TensorFlow gives a tensor.
pub const MAX_RANK: usize = 254;

/// The shape of a tensor as far as it is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    /// The size of each level, outermost first; `None` while its first list is still open.
    sizes: Vec<Option<usize>>,
    /// Set by the first element or empty list.
    rank: Option<usize>,
}

impl Shape {
    /// The sizes of a shape that has been read to its end, after `prefix`.
    pub(crate) fn to_proto(&self, prefix: Option<usize>) -> TensorShapeProto {
        let sizes = prefix.into_iter().chain(self.sizes.iter().map(|size| size.unwrap_or(0)));
        let dim = sizes.map(|size| Dim { size: i64::try_from(size).unwrap_or(i64::MAX), ..Dim::default() });
        TensorShapeProto { dim: dim.collect(), unknown_rank: false }
    }

    /// How many levels of lists there are.
    pub(crate) fn rank(&self) -> usize {
        self.sizes.len()
    }

    /// How many elements a tensor of this shape has.
    pub(crate) fn elements(&self) -> usize {
        self.sizes.iter().map(|size| size.unwrap_or(0)).product()
    }

    /// The shape as messages write it: `[2,3]`.
    pub(crate) fn text(&self) -> String {
        let sizes: Vec<_> = self.sizes.iter().map(|size| size.unwrap_or(0).to_string()).collect();
        format!("[{}]", sizes.join(","))
    }
}

/// Where the reading of one nested value stands: how many elements each open list has so far,
/// outermost first.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    open: Vec<usize>,
}

impl Progress {
    /// How many lists are open.
    pub(crate) fn depth(&self) -> usize {
        self.open.len()
    }
}

/// What came of [`read`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The value has ended; the position is behind it.
    Done,
    /// The text ended where an element was due.
    Suspended,
}

/// Reads one nested value to its end.
pub(crate) fn read_whole<E: Element>(
    reader: &mut Reader<'_>,
    shape: &mut Shape,
    store: &mut E::Store,
) -> Result<(), Fault> {
    // The commonest value of all: a scalar where scalars came before.
    if shape.rank == Some(0) {
        let first = reader.peek();
        if first != b'[' || E::IS_LIST {
            return read_element::<E>(reader, 0, shape, store);
        }
    }
    match read::<E>(reader, &mut Progress::default(), shape, store)? {
        Step::Done => Ok(()),
        Step::Suspended => reader.fault("Invalid value."),
    }
}

/// Reads a nested value, or goes on with one, until it or the text ends.
///
/// Text that is to go on later must be cut right behind a comma that stands in no string.
pub(crate) fn read<E: Element>(
    reader: &mut Reader<'_>,
    progress: &mut Progress,
    shape: &mut Shape,
    store: &mut E::Store,
) -> Result<Step, Fault> {
    loop {
        if reader.peek() == 0 && reader.at >= reader.bytes.len() {
            return Ok(Step::Suspended);
        }
        let depth = progress.open.len();
        let lists = innermost_lists::<E>(reader, depth, shape, store);
        if lists > 0 {
            // The last of them is counted below, like every value that has ended.
            if let Some(count) = progress.open.last_mut() {
                *count += lists - 1;
            }
        } else if reader.byte() == b'[' && !(E::IS_LIST && starts_element(reader)) {
            open_list(reader, depth, shape)?;
            progress.open.push(0);
            if reader.open_array()? {
                continue;
            }
            settle_rank(shape, depth + 1);
            close_list(reader, shape, progress)?;
        } else if let (Some(count), true) = (progress.open.last_mut(), shape.rank == Some(depth)) {
            match run::<E>(reader, store, count)? {
                Run::Closed => close_list(reader, shape, progress)?,
                Run::Suspended => return Ok(Step::Suspended),
                Run::List => continue,
            }
        } else {
            read_element::<E>(reader, depth, shape, store)?;
        }
        // A value has ended: so may the lists around it.
        loop {
            let Some(count) = progress.open.last_mut() else { return Ok(Step::Done) };
            *count += 1;
            if reader.next_element()? {
                break;
            }
            close_list(reader, shape, progress)?;
        }
    }
}

/// Reads whole innermost lists for as long as they are written plainly, and says how many.
///
/// What is written otherwise, from the first list on that is, is left for the loop above. So
/// is everything whose shape is not known yet.
#[inline(always)]
fn innermost_lists<E: Element>(
    reader: &mut Reader<'_>,
    depth: usize,
    shape: &Shape,
    store: &mut E::Store,
) -> usize {
    let (Some(rank), Some(content)) = (shape.rank, E::content(store)) else { return 0 };
    match shape.sizes.last() {
        Some(&Some(size)) if depth > 0 && depth + 1 == rank && size > 0 => {
            let most = most_bytes::<E>(reader);
            let (end, lists) = lists_of::<E>(reader.bytes, reader.at, size, content, most, None);
            reader.at = end;
            lists
        }
        _ => 0,
    }
}

/// Reads lists for as long as they are written plainly, each on a line of its own, and says how many: values of
/// which another one has been read. Lines end in `\r\n` if `has_returns`.
///
/// It ends behind the bracket of the last one, whatever is there.
pub(crate) fn read_lines<E: Element>(
    reader: &mut Reader<'_>,
    has_returns: bool,
    shape: &mut Shape,
    store: &mut E::Store,
) -> usize {
    let (Some(1), &[Some(size @ 1..)], Some(content)) =
        (shape.rank, shape.sizes.as_slice(), E::content(store))
    else {
        return 0;
    };
    let most = most_bytes::<E>(reader);
    let between = if has_returns { Between::LINES_WITH_RETURNS } else { Between::LINES };
    let (end, lists) = lists_of::<E>(reader.bytes, reader.at, size, content, most, Some(between));
    reader.at = end;
    lists
}

/// How a body separates its elements: with a comma, or with a comma and a space.
///
/// It is found once for many elements, so that where the next one starts does not wait for the
/// byte between them: the loops guess it and check afterwards.
#[derive(Clone, Copy)]
struct Separator {
    length: usize,
    /// Which bits of the bytes behind an element are the separator's, and what they are.
    mask: u32,
    text: u32,
    /// The same where a list ends and the next one starts.
    between: Between,
}

/// How a body goes on from the last element of a list to the first one of the next.
#[derive(Clone, Copy)]
struct Between {
    length: usize,
    mask: u32,
    text: u32,
}

impl Between {
    const COMMA: Self = Self { length: 3, mask: 0xFF_FFFF, text: u32::from_le_bytes(*b"],[\0") };
    const COMMA_AND_SPACE: Self = Self { length: 4, mask: 0xFFFF_FFFF, text: u32::from_le_bytes(*b"], [") };
    const LINES: Self = Self { length: 3, mask: 0xFF_FFFF, text: u32::from_le_bytes(*b"]\n[\0") };
    const LINES_WITH_RETURNS: Self =
        Self { length: 4, mask: 0xFFFF_FFFF, text: u32::from_le_bytes(*b"]\r\n[") };

    #[inline(always)]
    fn is(self, behind: u32) -> bool {
        behind & self.mask == self.text
    }
}

impl Separator {
    const COMMA: Self =
        Self { length: 1, mask: 0xFF, text: u32::from_le_bytes(*b",\0\0\0"), between: Between::COMMA };
    const COMMA_AND_SPACE: Self = Self {
        length: 2,
        mask: 0xFFFF,
        text: u32::from_le_bytes(*b", \0\0"),
        between: Between::COMMA_AND_SPACE,
    };

    /// The separator behind an element, or behind the list that it ends.
    fn of(behind: u32) -> Self {
        let [first, second, third, _] = behind.to_le_bytes();
        let space = if first == b']' { third } else { second };
        if space == b' ' { Self::COMMA_AND_SPACE } else { Self::COMMA }
    }

    /// True if white space follows that is none of this: the next element is not written plainly.
    fn is_followed_by_space(self, behind: u32) -> bool {
        behind.to_le_bytes().get(self.length).is_some_and(|&next| next <= b' ')
    }

    #[inline(always)]
    fn is(self, behind: u32) -> bool {
        behind & self.mask == self.text
    }
}

/// About how many bytes the loops make room for at once. It is zeroed before it is written,
/// which costs less than asking for room with every element.
const BLOCK: usize = 2048;

/// The most bytes that a tensor may have.
fn most_bytes<E: Element>(reader: &Reader<'_>) -> usize {
    reader.limits.elements.saturating_mul(E::WIDTH)
}

/// Makes room for some more values of `width` bytes and returns it; empty if they might be too
/// many for a tensor of `most` bytes. The text has been read up to `at`, and the next value takes
/// about `text` bytes of it.
fn block<'c>(
    content: &'c mut Vec<u8>,
    most: usize,
    width: usize,
    bytes: &[u8],
    at: usize,
    text: usize,
) -> &'c mut [u8] {
    let mark = content.len();
    let left = bytes.len() - at;
    let allowed = most.saturating_sub(mark);
    let block = (left / text.max(1) + 1).min(BLOCK / width).max(1).min(allowed / width) * width;
    if content.capacity() - mark < block {
        // What the rest will take if it is like the text so far, and a little more: a large
        // tensor is copied once then, not every time that it has doubled.
        let rest = mark.saturating_mul(left) / at.max(1);
        content.reserve((rest + rest / 16).min(allowed).max(block));
    }
    content.resize(mark + block, 0);
    &mut content[mark..]
}

/// Lists of exactly `size` elements, written as Python or a compact writer does it: where they
/// end and how many they are. Between them there is what is between elements, or this.
#[inline(never)]
fn lists_of<E: Element>(
    bytes: &[u8],
    start: usize,
    size: usize,
    content: &mut Vec<u8>,
    most: usize,
    between: Option<Between>,
) -> (usize, usize) {
    let (mut end, mut lists) = (start, 0);
    let first = if bytes.get(start) == Some(&b'[') { E::fast(bytes, start + 1) } else { None };
    let Some(first) = first else { return (end, lists) };
    let separator = Separator::of(first.behind);
    let separator = Separator { between: between.unwrap_or(separator.between), ..separator };
    let (width, text) = (size * E::WIDTH, size * (first.length + 1));
    let mut at = Some(start + 1);
    while let Some(start) = at {
        let mark = content.len();
        let block = block(content, most, width, bytes, start, text);
        if block.is_empty() {
            break;
        }
        let written;
        (at, written) = fill_lists::<E>(bytes, start, separator, block, width, &mut end);
        content.truncate(mark + written);
        lists += written / width;
    }
    (end, lists)
}

/// Reads lists into a block until it is full or they end: where the first element of the next
/// one stands, and how many bytes have been written.
#[inline(always)]
fn fill_lists<E: Element>(
    bytes: &[u8],
    start: usize,
    separator: Separator,
    block: &mut [u8],
    width: usize,
    end: &mut usize,
) -> (Option<usize>, usize) {
    let (mut at, mut written) = (start, 0);
    for list in block.chunks_exact_mut(width) {
        let mut rooms = list.chunks_exact_mut(E::WIDTH);
        let Some(last) = rooms.next_back() else { break };
        for room in rooms {
            match E::fast(bytes, at) {
                Some(element) if separator.is(element.behind) => {
                    room.copy_from_slice(element.value.as_ref());
                    at += separator.length + element.length;
                }
                _ => return (None, written),
            }
        }
        match E::fast(bytes, at) {
            Some(element) if element.behind.to_le_bytes()[0] == b']' => {
                last.copy_from_slice(element.value.as_ref());
                written += width;
                *end = at + element.length + 1;
                if !separator.between.is(element.behind) {
                    return (None, written);
                }
                at += separator.between.length + element.length;
            }
            _ => return (None, written),
        }
    }
    (Some(at), written)
}

/// Elements of one list, as far as they are written plainly, but never the last one of the
/// list: where they end, behind the separator, and how many they are.
#[inline(never)]
fn elements_of<E: Element>(bytes: &[u8], start: usize, content: &mut Vec<u8>, most: usize) -> (usize, usize) {
    let (mut at, mut count) = (start, 0);
    let Some(first) = E::fast(bytes, start) else { return (at, count) };
    let separator = Separator::of(first.behind);
    let text = first.length + separator.length;
    let mut more = separator.is(first.behind) && !separator.is_followed_by_space(first.behind);
    while more {
        let mark = content.len();
        let mut written = 0;
        let block = block(content, most, E::WIDTH, bytes, at, text);
        more = !block.is_empty();
        for room in block.chunks_exact_mut(E::WIDTH) {
            match E::fast(bytes, at) {
                Some(element) if separator.is(element.behind) => {
                    room.copy_from_slice(element.value.as_ref());
                    at += separator.length + element.length;
                    written += E::WIDTH;
                }
                _ => {
                    more = false;
                    break;
                }
            }
        }
        content.truncate(mark + written);
        count += written / E::WIDTH;
    }
    (at, count)
}

/// How a [`run`] of elements ended.
enum Run {
    /// With the list: its bracket has been taken.
    Closed,
    /// With the text.
    Suspended,
    /// With a list where an element was due.
    List,
}

/// Reads the elements of an innermost list, the hot loop of every tensor.
///
/// `count` is the number of elements that the list has so far; all that come are added to it.
fn run<E: Element>(reader: &mut Reader<'_>, store: &mut E::Store, count: &mut usize) -> Result<Run, Fault> {
    loop {
        if let Some(content) = E::content(store) {
            let most = most_bytes::<E>(reader);
            let (end, elements) = elements_of::<E>(reader.bytes, reader.at, content, most);
            reader.at = end;
            *count += elements;
        }
        match reader.peek() {
            0 if reader.at >= reader.bytes.len() => return Ok(Run::Suspended),
            b'[' if !(E::IS_LIST && starts_element(reader)) => return Ok(Run::List),
            _ => {}
        }
        read_one::<E>(reader, store)?;
        *count += 1;
        if !reader.next_element()? {
            return Ok(Run::Closed);
        }
        reader.peek();
    }
}

/// True if the list at the position is one element of a dtype whose elements are lists: its
/// first item is no list.
fn starts_element(reader: &Reader<'_>) -> bool {
    let mut ahead = reader.clone();
    matches!(ahead.open_array(), Ok(true)) && ahead.byte() != b'['
}

/// Reads one element if the tensor may have one more.
#[inline(always)]
fn read_one<E: Element>(reader: &mut Reader<'_>, store: &mut E::Store) -> Result<(), Fault> {
    let most = reader.limits.elements;
    if E::count(store) >= most {
        return Err(Fault::new(reader.at, What::Elements(most)));
    }
    E::read(reader, store)
}

fn read_element<E: Element>(
    reader: &mut Reader<'_>,
    depth: usize,
    shape: &mut Shape,
    store: &mut E::Store,
) -> Result<(), Fault> {
    let start = reader.at;
    read_one::<E>(reader, store)?;
    settle_rank(shape, depth);
    match shape.rank {
        Some(rank) if rank != depth => {
            Err(Fault::new(start, What::Level { level: depth + 1, expected: rank }))
        }
        _ => Ok(()),
    }
}

fn settle_rank(shape: &mut Shape, rank: usize) {
    shape.rank.get_or_insert(rank);
}

/// Checks that a list may open at this depth, and makes room for its size.
fn open_list(reader: &Reader<'_>, depth: usize, shape: &mut Shape) -> Result<(), Fault> {
    match shape.rank {
        Some(rank) if depth >= rank => Err(Fault::new(reader.at, What::ListLevel { level: depth, rank })),
        Some(_) => Ok(()),
        None if depth >= reader.limits.most_dimensions() => {
            Err(Fault::new(reader.at, What::Rank(reader.limits.most_dimensions())))
        }
        None => {
            shape.sizes.push(None);
            Ok(())
        }
    }
}

/// Ends the innermost list, whose bracket has been taken: its size is the level's or a fault.
fn close_list(reader: &Reader<'_>, shape: &mut Shape, progress: &mut Progress) -> Result<(), Fault> {
    let Some(size) = progress.open.pop() else { return Ok(()) };
    let level = progress.open.len();
    let Some(expected) = shape.sizes.get_mut(level) else { return Ok(()) };
    match *expected.get_or_insert(size) {
        expected if expected == size => Ok(()),
        expected => Err(Fault::new(reader.at - 1, What::ListSize { size, level, expected })),
    }
}
