//! The signatures in the `saved_model.pb` of a model.
//!
//! The graph, which can be hundreds of megabytes, is passed over and never in memory; what is kept is
//! capped. A file that is cut off or damaged is refused, or what is left of it is read: nothing panics.

use std::io::{BufReader, Read, Seek, SeekFrom};

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::graph::Signatures;
use crate::proto::tensorflow::MetaGraphDef;

/// The most that a file can have: it is one message of protocol buffers.
const LONGEST_FILE: u64 = 1 << 31;

/// The most that the signatures and tags of one graph may take; those of real models take kilobytes.
const MOST_KEPT: u64 = 16 << 20;

/// The tag of the graph that a server serves.
const SERVE: &str = "serve";

/// The fields of `SavedModel` and of `MetaGraphDef` that matter.
const META_GRAPHS: u32 = 2;
const META_INFO_DEF: u32 = 1;
const SIGNATURE_DEF: u32 = 5;

/// Reads the signatures of the graph that is for serving, or says what is wrong with the file.
pub(super) fn read(file: impl Read + Seek) -> Result<Signatures, String> {
    let mut scanner = Scanner::new(file)?;
    let end = scanner.end;
    let mut tags_found = Vec::new();
    let mut chosen = None;
    while let Some((field, wire_type)) = scanner.field(end)? {
        if (field, wire_type) != (META_GRAPHS, WireType::LengthDelimited) {
            scanner.skip(wire_type, end)?;
            continue;
        }
        let graph = scanner.meta_graph(end)?;
        let tags = graph.meta_info_def.map(|info| info.tags).unwrap_or_default();
        if tags == [SERVE] {
            chosen = Some(graph.signature_def);
            break;
        }
        // Also those of a graph for serving on a certain device.
        if chosen.is_none() && tags.iter().any(|tag| tag == SERVE) {
            chosen = Some(graph.signature_def);
        } else if tags_found.len() < 10 {
            tags_found.push(format!("{tags:?}"));
        }
    }
    let Some(signatures) = chosen else {
        let found = match tags_found.as_slice() {
            [] => "no graph at all: it is no SavedModel, or cut off".to_owned(),
            tags => format!("no graph with the tag \"{SERVE}\", but with {}", tags.join(", ")),
        };
        return Err(format!("it has {found}"));
    };
    Ok(signatures.into_iter().collect())
}

/// Goes through a file of protocol buffers field by field.
struct Scanner<R> {
    reader: BufReader<R>,
    at: u64,
    end: u64,
}

impl<R: Read + Seek> Scanner<R> {
    fn new(mut file: R) -> Result<Self, String> {
        let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
        let end = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        if end >= LONGEST_FILE {
            return Err("it is longer than 2 GiB, which no SavedModel can be".to_owned());
        }
        Ok(Self { reader: BufReader::new(file), at: 0, end })
    }

    /// The number and the type of the next field, unless the message ends here.
    fn field(&mut self, end: u64) -> Result<Option<(u32, WireType)>, String> {
        if self.at == end {
            return Ok(None);
        }
        let key = self.varint(end)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0);
        match (number, WireType::try_from(key & 7)) {
            (Some(number), Ok(wire_type)) => Ok(Some((number, wire_type))),
            _ => Err(self.damage()),
        }
    }

    fn varint(&mut self, end: u64) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.read(&mut byte, end)?;
            let [byte] = byte;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damage())
    }

    /// The end of a field that has a length of its own.
    fn inner_end(&mut self, end: u64) -> Result<u64, String> {
        let length = self.varint(end)?;
        let inner = self.at.checked_add(length).filter(|inner| *inner <= end);
        inner.ok_or_else(|| self.damage())
    }

    fn read(&mut self, bytes: &mut [u8], end: u64) -> Result<(), String> {
        let next = self.at + bytes.len() as u64;
        if next > end {
            return Err(self.damage());
        }
        self.reader.read_exact(bytes).map_err(|error| format!("it cannot be read: {error}"))?;
        self.at = next;
        Ok(())
    }

    fn seek(&mut self, to: u64, end: u64) -> Result<(), String> {
        let distance = to.checked_sub(self.at).and_then(|distance| i64::try_from(distance).ok());
        let distance = distance.filter(|_| to <= end).ok_or_else(|| self.damage())?;
        self.reader.seek_relative(distance).map_err(|error| format!("it cannot be read: {error}"))?;
        self.at = to;
        Ok(())
    }

    fn skip(&mut self, wire_type: WireType, end: u64) -> Result<(), String> {
        match wire_type {
            WireType::Varint => self.varint(end).map(drop),
            WireType::SixtyFourBit => self.seek(self.at + 8, end),
            WireType::ThirtyTwoBit => self.seek(self.at + 4, end),
            WireType::LengthDelimited => {
                let inner = self.inner_end(end)?;
                self.seek(inner, end)
            }
            // Groups have not been in use since before there were SavedModels.
            WireType::StartGroup | WireType::EndGroup => Err(self.damage()),
        }
    }

    /// The graph that starts here, with no more of it than is declared of `MetaGraphDef`.
    fn meta_graph(&mut self, end: u64) -> Result<MetaGraphDef, String> {
        let end = self.inner_end(end)?;
        let mut kept = Vec::new();
        while let Some((field, wire_type)) = self.field(end)? {
            let is_wanted = matches!(field, META_INFO_DEF | SIGNATURE_DEF);
            if !is_wanted || wire_type != WireType::LengthDelimited {
                self.skip(wire_type, end)?;
                continue;
            }
            let length = self.inner_end(end)? - self.at;
            if kept.len() as u64 + length > MOST_KEPT {
                return Err(format!("its signatures take more than {} MiB", MOST_KEPT >> 20));
            }
            encode_key(field, wire_type, &mut kept);
            encode_varint(length, &mut kept);
            let start = kept.len();
            kept.resize(start + usize::try_from(length).unwrap_or_default(), 0);
            self.read(&mut kept[start..], end)?;
        }
        MetaGraphDef::decode(kept.as_slice()).map_err(|error| format!("its signatures are damaged: {error}"))
    }

    fn damage(&self) -> String {
        format!("it is no SavedModel, or damaged at byte {} of {}", self.at, self.end)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;
    use crate::mock::signature::{PREDICT, shaped, signature};
    use crate::proto::tensorflow::meta_graph_def::MetaInfoDef;
    use crate::proto::tensorflow::{DataType, SavedModel};

    fn graph(tags: &[&str], names: &[&str]) -> MetaGraphDef {
        let x = || shaped("x:0", DataType::DtFloat, &[-1, 4]);
        let entry =
            |name: &&str| ((*name).to_owned(), signature(PREDICT, [("x", x())], [("y", x()), ("z", x())]));
        MetaGraphDef {
            meta_info_def: Some(MetaInfoDef { tags: tags.iter().map(ToString::to_string).collect() }),
            signature_def: names.iter().map(entry).collect(),
        }
    }

    fn encoded(meta_graphs: Vec<MetaGraphDef>) -> Vec<u8> {
        SavedModel { saved_model_schema_version: 1, meta_graphs }.encode_to_vec()
    }

    fn names(file: &[u8]) -> Result<Vec<String>, String> {
        read(Cursor::new(file)).map(|signatures| signatures.into_keys().collect())
    }

    #[test]
    fn the_graph_for_serving_is_read() {
        let init = "__saved_model_init_op";
        let check = |graphs: Vec<MetaGraphDef>, expected: &[&str]| {
            assert_eq!(names(&encoded(graphs)).unwrap(), expected);
        };
        // What TensorFlow initializes the model with is a signature, too: the real server tells it.
        check(vec![graph(&["serve"], &["a", "b", init])], &[init, "a", "b"]);
        check(vec![graph(&["train"], &["t"]), graph(&["serve"], &["a"])], &["a"]);
        check(vec![graph(&["serve", "tpu"], &["t"]), graph(&["serve"], &["a"])], &["a"]);
        check(vec![graph(&["serve", "gpu"], &["g"])], &["g"]);
        let error = names(&encoded(vec![graph(&["train"], &["t"])])).unwrap_err();
        assert_eq!(error, "it has no graph with the tag \"serve\", but with [\"train\"]");
        assert!(names(b"").unwrap_err().contains("no graph at all"));
        assert!(
            names(b"not a model").unwrap_err().contains("damaged at byte"),
            "{:?}",
            names(b"not a model")
        );
    }

    #[test]
    fn a_large_graph_is_passed_over() {
        const SIZE: u64 = 2_000_000_000;
        let mut graph = graph(&["serve"], &["a"]).encode_to_vec();
        encode_key(2, WireType::LengthDelimited, &mut graph);
        encode_varint(SIZE, &mut graph);
        let mut bytes = Vec::new();
        encode_key(META_GRAPHS, WireType::LengthDelimited, &mut bytes);
        encode_varint(graph.len() as u64 + SIZE, &mut bytes);
        bytes.extend_from_slice(&graph);
        // The disk has no room for it either: it is a hole.
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file.set_len(bytes.len() as u64 + SIZE).unwrap();
        let signatures = read(&file).unwrap();
        assert_eq!(signatures.into_keys().collect::<Vec<_>>(), ["a"]);
        // One that claims more than it has.
        file.set_len(bytes.len() as u64 + SIZE - 1).unwrap();
        assert!(read(&file).unwrap_err().contains("damaged at byte"));
        file.set_len(LONGEST_FILE).unwrap();
        assert!(read(&file).unwrap_err().contains("longer than 2 GiB"));
    }

    #[test]
    fn signatures_that_take_too_much_are_refused() {
        let mut graph = graph(&["serve"], &["a"]);
        graph.signature_def.get_mut("a").unwrap().method_name = "m".repeat(17 << 20);
        assert_eq!(names(&encoded(vec![graph])).unwrap_err(), "its signatures take more than 16 MiB");
    }

    #[test]
    fn files_that_are_cut_or_changed_are_refused_or_read_but_never_panic() {
        let file = encoded(vec![graph(&["train"], &["t"]), graph(&["serve"], &["a", "b"])]);
        for end in 0..file.len() {
            assert!(names(&file[..end]).is_err(), "{end}");
        }
        let mut random = fastrand::Rng::with_seed(1);
        let mut refused = 0;
        for _ in 0..20_000 {
            let mut changed = file.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..changed.len());
                changed[at] = random.u8(..);
            }
            refused += usize::from(names(&changed).is_err());
        }
        assert!((1..20_000).contains(&refused), "{refused}");
    }
}
