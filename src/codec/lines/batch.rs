//! A batch of lines to tensors: in one go if all of them are rows of one shape, else line by line.

use std::collections::HashMap;

use bytes::Bytes;

use super::splitter::{Batch, Line};
use crate::codec::limits::Limits;
use crate::codec::predict::{Inputs, Rows, check_input_shapes, decode_rows};
use crate::codec::signature::Signature;
use crate::error::{Error, Result};
use crate::proto::tensorflow::tensor_shape_proto::Dim;
use crate::proto::tensorflow::{TensorProto, TensorShapeProto};

/// What has come of a batch.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Lines that go to the model together.
    pub groups: Vec<Group>,
    /// What is wrong with lines, by their places in the batch.
    pub faults: Vec<(usize, Error)>,
}

/// Lines of one shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// A tensor for every input, with a row for each of the lines.
    pub inputs: Inputs,
    /// The lines, by their places in the batch.
    pub lines: Vec<usize>,
}

/// Decodes the lines of a batch for a signature, whose shapes they must have if that is to be checked: all
/// but the number of rows, which is not up to the lines.
#[must_use]
pub fn decode(batch: &Batch, signature: &Signature, limits: &Limits, check_shapes: bool) -> Decoded {
    let most = most_rows(signature);
    let shapes = check_shapes.then(|| for_any_rows(signature));
    let shapes = shapes.as_ref();
    if let Some(inputs) = decode_at_once(batch, signature, limits, most, shapes) {
        let groups = vec![Group { inputs, lines: (0..batch.len()).collect() }];
        return Decoded { groups, faults: Vec::new() };
    }
    let mut gathering = Gathering { most_rows: most, most_elements: limits.elements, groups: Vec::new() };
    let mut faults = Vec::new();
    for (place, line) in batch.lines.iter().enumerate() {
        match decode_alone(batch, line, signature, limits, shapes) {
            Ok(inputs) => gathering.add(place, inputs),
            Err(error) => faults.push((place, error)),
        }
    }
    Decoded { groups: gathering.finish(), faults }
}

/// All lines as one group, if that is what they are.
fn decode_at_once(
    batch: &Batch,
    signature: &Signature,
    limits: &Limits,
    most_rows: usize,
    shapes: Option<&Signature>,
) -> Option<Inputs> {
    if batch.is_empty() || batch.len() > most_rows || batch.lines.iter().any(|line| line.span.is_none()) {
        return None;
    }
    let mut rows = Rows::new(&signature.inputs, batch.size(), limits);
    for (text, lines) in batch.parts() {
        rows.read_lines(text, lines.iter().filter_map(|line| line.span.clone())).ok()?;
    }
    let inputs = rows.finish(0).ok()?;
    let is_allowed = shapes.is_none_or(|shapes| check_input_shapes(&inputs, shapes).is_ok());
    is_allowed.then_some(inputs)
}

/// A line as a batch of its own.
fn decode_alone(
    batch: &Batch,
    line: &Line,
    signature: &Signature,
    limits: &Limits,
    shapes: Option<&Signature>,
) -> Result<Inputs> {
    let Some((text, span)) = batch.place(line) else {
        return Err(Error::invalid_argument(format!("It is longer than {} bytes", batch.longest)));
    };
    // On its own, since places in messages count from its beginning.
    let text = text.slice(span);
    let whole = 0..text.len();
    let inputs = decode_rows(&text, [whole].into_iter(), signature, limits)
        .map_err(|fault| fault.into_error(&text))?;
    if let Some(shapes) = shapes {
        check_input_shapes(&inputs, shapes)?;
    }
    Ok(inputs)
}

/// How many rows a batch may have: some models are made for a fixed number.
fn most_rows(signature: &Signature) -> usize {
    let sizes = signature.inputs.iter().filter_map(|input| input.shape.as_ref()?.first().copied());
    sizes.filter_map(|size| usize::try_from(size).ok().filter(|size| *size > 0)).min().unwrap_or(usize::MAX)
}

/// The signature with any number of rows.
fn for_any_rows(signature: &Signature) -> Signature {
    let mut signature = signature.clone();
    let shapes = signature.inputs.iter_mut().filter_map(|input| input.shape.as_mut());
    for rows in shapes.filter_map(|shape| shape.first_mut()) {
        *rows = -1;
    }
    signature
}

/// Lines that have been decoded one by one, put together by their shapes.
struct Gathering {
    most_rows: usize,
    most_elements: usize,
    groups: Vec<Parts>,
}

/// A group to be: the tensors of its lines, each with one row.
struct Parts {
    is_open: bool,
    lines: Vec<usize>,
    inputs: Vec<Inputs>,
}

impl Gathering {
    fn add(&mut self, line: usize, inputs: Inputs) {
        let group = self.groups.iter_mut().find(|group| group.is_open && group.takes(&inputs));
        if let Some(group) = group {
            if group.lines.len() < self.most_rows && group.has_room(&inputs, self.most_elements) {
                group.lines.push(line);
                group.inputs.push(inputs);
                return;
            }
            group.is_open = false;
        }
        self.groups.push(Parts { is_open: true, lines: vec![line], inputs: vec![inputs] });
    }

    fn finish(self) -> Vec<Group> {
        let group = |Parts { lines, inputs, .. }: Parts| Group { inputs: join(inputs), lines };
        self.groups.into_iter().map(group).collect()
    }
}

impl Parts {
    /// Whether a row has the shapes of those that there are.
    fn takes(&self, inputs: &Inputs) -> bool {
        let is_same = |(name, tensor): (&String, &TensorProto)| {
            inputs.get(name).is_some_and(|other| other.tensor_shape == tensor.tensor_shape)
        };
        self.inputs.first().is_some_and(|first| first.iter().all(is_same))
    }

    /// Whether one more row leaves the tensors within so many elements.
    fn has_room(&self, inputs: &Inputs, most: usize) -> bool {
        let rows = self.lines.len() + 1;
        inputs.values().all(|tensor| {
            let sizes = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim);
            let sizes = sizes.map(|dim| usize::try_from(dim.size).unwrap_or_default());
            sizes.fold(rows, usize::saturating_mul) <= most
        })
    }
}

/// One row after the other as one batch.
fn join(mut rows: Vec<Inputs>) -> Inputs {
    if rows.len() == 1 {
        return rows.pop().unwrap_or_default();
    }
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let Some(first) = rows.first() else { return Inputs::new() };
    let names: Vec<String> = first.keys().cloned().collect();
    let mut joined = HashMap::with_capacity(names.len());
    for name in names {
        let parts = || rows.iter().filter_map(|row| row.get(&name));
        let Some(model) = parts().next() else { continue };
        let content: Vec<&[u8]> = parts().map(|part| &*part.tensor_content).collect();
        let tensor = TensorProto {
            tensor_content: content.concat().into(),
            string_val: parts().flat_map(|part| part.string_val.iter().cloned()).collect(),
            tensor_shape: Some(with_rows(model, count)),
            ..model.clone()
        };
        joined.insert(name, tensor);
    }
    joined
}

impl Group {
    /// Its two halves, which share its bytes; `None` if it is one line.
    #[must_use]
    pub fn halves(&self) -> Option<[Self; 2]> {
        let (rows, middle) = (self.lines.len(), self.lines.len() / 2);
        if middle == 0 {
            return None;
        }
        let part = |from: usize, to: usize| Self {
            inputs: self.inputs.iter().map(|(name, it)| (name.clone(), part(it, rows, from, to))).collect(),
            lines: self.lines[from..to].to_vec(),
        };
        Some([part(0, middle), part(middle, rows)])
    }
}

/// Some of the rows of a tensor that has so many.
fn part(tensor: &TensorProto, rows: usize, from: usize, to: usize) -> TensorProto {
    let of = |length: usize| (length / rows * from)..(length / rows * to);
    let strings = tensor.string_val.get(of(tensor.string_val.len())).unwrap_or_default().to_vec();
    let content: &Bytes = &tensor.tensor_content;
    TensorProto {
        dtype: tensor.dtype,
        tensor_shape: Some(with_rows(tensor, i64::try_from(to - from).unwrap_or(i64::MAX))),
        tensor_content: content.slice(of(content.len())),
        string_val: strings,
        ..TensorProto::default()
    }
}

/// The shape of a tensor with another number of rows.
fn with_rows(tensor: &TensorProto, rows: i64) -> TensorShapeProto {
    let mut shape = tensor.tensor_shape.clone().unwrap_or_default();
    match shape.dim.first_mut() {
        Some(first) => first.size = rows,
        None => shape.dim.push(Dim { size: rows, ..Dim::default() }),
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::lines::Splitter;
    use crate::codec::signature::Input;
    use crate::proto::tensorflow::DataType;

    fn signature(inputs: &[(&str, DataType, &[i64])]) -> Signature {
        let input = |&(name, dtype, shape): &(&str, DataType, &[i64])| Input {
            name: name.to_owned(),
            dtype,
            shape: Some(shape.to_vec()),
        };
        Signature::new(inputs.iter().map(input).collect())
    }

    fn batch(text: &str) -> Batch {
        let mut splitter = Splitter::new(1000, 40);
        splitter.push(Bytes::from(text.to_owned()));
        splitter.finish();
        splitter.take().unwrap()
    }

    /// The lines of each group with the sizes of the first tensor, and the faults.
    fn check(signature: &Signature, text: &str, groups: &[(&[usize], &[i64])], faults: &[(usize, &str)]) {
        let decoded = decode(&batch(text), signature, &Limits::default(), false);
        let found: Vec<(Vec<usize>, Vec<i64>)> = decoded
            .groups
            .iter()
            .map(|group| {
                let tensor = &group.inputs[&signature.inputs[0].name];
                (group.lines.clone(), sizes(tensor))
            })
            .collect();
        let expected: Vec<_> = groups.iter().map(|(lines, sizes)| (lines.to_vec(), sizes.to_vec())).collect();
        assert_eq!(found, expected, "{text}");
        let found: Vec<_> = decoded.faults.iter().map(|(line, error)| (*line, error.message())).collect();
        assert_eq!(found, faults, "{text}");
    }

    fn sizes(tensor: &TensorProto) -> Vec<i64> {
        tensor.tensor_shape.as_ref().unwrap().dim.iter().map(|dim| dim.size).collect()
    }

    #[test]
    fn lines_of_one_shape_are_one_batch() {
        let one = signature(&[("x", DataType::DtFloat, &[-1, -1])]);
        check(&one, "[1, 2]\n[3,4]\r\n {\"x\": [5, 6]} ", &[(&[0, 1, 2], &[3, 2])], &[]);
        check(&one, "1\n2", &[(&[0, 1], &[2])], &[]);
        let two = signature(&[("a", DataType::DtFloat, &[-1]), ("b", DataType::DtString, &[-1])]);
        let text = "{\"a\": 1, \"b\": \"x\"}\n{\"b\": {\"b64\": \"AA==\"}, \"a\": 2}";
        check(&two, text, &[(&[0, 1], &[2])], &[]);
    }

    #[test]
    fn a_bad_line_spoils_no_other() {
        let one = signature(&[("x", DataType::DtFloat, &[-1, -1])]);
        let follows = "JSON Parse error: The document root must not be followed by other values. at offset:";
        check(
            &one,
            "[1]\n[1],[2]\n[1\n]\n[2] 3\n\"a\"\n[2, true]\n[4]",
            &[(&[0, 7], &[2, 1])],
            &[
                (1, &format!("{follows} 3")),
                (2, "JSON Parse error: Missing a comma or ']' after an array element. at offset: 2"),
                (3, "JSON Parse error: Invalid value. at offset: 0"),
                (4, &format!("{follows} 4")),
                (5, "JSON Value: \"a\" Type: String is not of expected type: float"),
                (6, "/1: JSON Value: true Type: True is not of expected type: float"),
            ],
        );
        let long = format!("[1]\n[{}]", "1".repeat(40));
        check(&one, &long, &[(&[0], &[1, 1])], &[(1, "It is longer than 40 bytes")]);
        let two = signature(&[("a", DataType::DtFloat, &[-1]), ("b", DataType::DtString, &[-1])]);
        check(
            &two,
            "1\n{\"a\": 1}\n{\"a\": 1, \"b\": \"\"}\n{\"c\": 1}",
            &[(&[2], &[1])],
            &[
                (0, "JSON Value: 1 Expecting an object with the inputs: a,b"),
                (1, "JSON object: {\"a\": 1} keys must be equal to: a,b"),
                (3, "/c: JSON object: does not have named input: c"),
            ],
        );
    }

    #[test]
    fn lines_of_several_shapes_are_several_batches() {
        let one = signature(&[("x", DataType::DtFloat, &[-1, -1])]);
        check(
            &one,
            "[1]\n[1, 2]\n[3]\n[]\n[3, 4]",
            &[(&[0, 2], &[2, 1]), (&[1, 4], &[2, 2]), (&[3], &[1, 0])],
            &[],
        );
        let fixed = signature(&[("x", DataType::DtFloat, &[2, 1])]);
        check(&fixed, "[1]\n[2]\n[3]", &[(&[0, 1], &[2, 1]), (&[2], &[1, 1])], &[]);
    }

    #[test]
    fn halves_have_the_rows_of_the_whole() {
        let two = signature(&[("a", DataType::DtFloat, &[-1, 2]), ("b", DataType::DtString, &[-1])]);
        let line = |number: usize| format!("{{\"a\": [{number}, 0], \"b\": \"{number}\"}}\n");
        let text: String = (0..5).map(line).collect();
        let whole = decode(&batch(&text), &two, &Limits::default(), true).groups.pop().unwrap();
        let mut stack = vec![whole];
        let mut alone = Vec::new();
        while let Some(group) = stack.pop() {
            match group.halves() {
                Some([first, second]) => stack.extend([second, first]),
                None => alone.push(group),
            }
        }
        let lines = alone.iter().map(|group| group.lines.clone()).collect::<Vec<_>>();
        assert_eq!(lines, [[0], [1], [2], [3], [4]]);
        for (number, group) in alone.iter().enumerate() {
            let expected = decode(&batch(&line(number)), &two, &Limits::default(), true);
            assert_eq!(group.inputs, expected.groups[0].inputs);
        }
    }

    #[test]
    fn limits_hold_for_each_tensor() {
        let one = signature(&[("x", DataType::DtFloat, &[-1, -1])]);
        let limits = Limits { elements: 4, ..Limits::default() };
        let decoded = decode(&batch("[1,2]\n[3,4]\n[5,6]\n[1,2,3,4,5]"), &one, &limits, false);
        let lines: Vec<_> = decoded.groups.iter().map(|group| group.lines.clone()).collect();
        assert_eq!(lines, [vec![0, 1], vec![2]]);
        assert_eq!(decoded.faults.len(), 1);
        assert!(decoded.faults[0].1.message().contains("More than 4 elements"), "{:?}", decoded.faults);
    }
}
