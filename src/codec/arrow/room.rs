//! How much memory a stream takes to be read, found out from its metadata before any is taken.

use bytes::Bytes;

use super::batch;
use super::layout::Leaf;
use super::table::Table;
use crate::codec::dtype;
use crate::codec::nested::MAX_RANK;
use crate::codec::signature::Signatures;
use crate::proto::tensorflow::DataType;

/// What a string takes, also while the list of them grows.
const STRING: usize = 3 * size_of::<Bytes>();

/// What a batch takes for each of its columns.
const PIECE: usize = 3 * size_of::<Bytes>();

/// The most bytes that it takes to read a stream, besides its own. What is refused takes nothing.
pub(crate) fn room(body: &Bytes, signatures: Option<&Signatures>, inflated: usize) -> usize {
    let Ok(mut table) = Table::open(body, MAX_RANK) else { return 0 };
    let mut counts = vec![0_usize; table.columns.len()];
    let (mut batches, mut coded, mut unpacked) = (0_usize, 0_usize, 0_usize);
    // Up to what is damaged it is read.
    while let Ok(Some((message, content))) = table.messages.read() {
        let dictionary = message.header_as_dictionary_batch().and_then(|batch| batch.data());
        let Some(batch) = dictionary.or_else(|| message.header_as_record_batch()) else { continue };
        // What inflates to more than that is refused.
        let size = batch::inflated(batch, &content).min(inflated);
        unpacked = unpacked.saturating_add(size).min(inflated);
        let size = size.saturating_add(content.len());
        let most = size.saturating_mul(8);
        let count = |length: i64| usize::try_from(length).unwrap_or(usize::MAX).min(most);
        if dictionary.is_some() {
            coded = coded.saturating_add(count(batch.length()).min(size));
            continue;
        }
        batches += 1;
        let mut nodes = batch.nodes().map(|nodes| nodes.iter()).into_iter().flatten();
        for (column, sum) in table.columns.iter().zip(&mut counts) {
            let Some(node) = nodes.nth(column.layout.lists.len()) else { break };
            // More than has a place in the batch is refused.
            let most = most / column.layout.leaf.bits().max(1);
            *sum = sum.saturating_add(count(node.length()).min(most));
        }
    }
    // Strings that are the same bytes here are bytes of their own in the message to the model server.
    let is_folded = table.columns.iter().any(|column| column.layout.leaf.is_folded());
    let folded = if is_folded { inflated } else { 0 };
    let mut room = coded.saturating_mul(STRING).saturating_add(folded).saturating_add(unpacked);
    for (column, count) in table.columns.iter().zip(counts) {
        let dtype = column.layout.leaf.dtype();
        let own = match &column.layout.leaf {
            Leaf::Bits => 1,
            Leaf::Numbers(_) => 0,
            // Numbers of dictionaries are found one by one before they are joined.
            leaf => STRING + dtype::width(leaf.dtype()).unwrap_or_default(),
        };
        // Several batches are joined, and then there are both.
        let joined = if batches > 1 { dtype::width(dtype).unwrap_or_default() } else { 0 };
        let cast = cast_to(&column.name, dtype, signatures);
        room = room.saturating_add(count.saturating_mul(own + joined + cast));
        room = room.saturating_add(batches.saturating_mul(PIECE));
    }
    room
}

/// How many bytes a number of a column has as that of an input; 0 if it is of its dtype already.
fn cast_to(name: &str, dtype: DataType, signatures: Option<&Signatures>) -> usize {
    let Some(signatures) = signatures.filter(|_| dtype != DataType::DtString) else { return 0 };
    let signatures = signatures.names().filter_map(|name| signatures.get(name).ok());
    let inputs = signatures.filter_map(|signature| {
        let index = signature.inputs.binary_search_by(|input| input.name.as_str().cmp(name)).ok()?;
        signature.inputs.get(index)
    });
    let others = inputs.filter(|input| input.dtype != dtype);
    others.filter_map(|input| dtype::width(input.dtype)).max().unwrap_or_default()
}
