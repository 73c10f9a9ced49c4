//! Columns of numbers that dictionaries hold, as the categories of pandas are.

use super::damaged::survives;
use super::*;

#[test]
fn dictionaries_may_hold_numbers() {
    let coded = |codes: &[i8], values: &[i64]| -> ArrayRef {
        let values = Arc::new(Int64Array::from(values.to_vec()));
        Arc::new(DictionaryArray::<Int8Type>::new(codes.to_vec().into(), values))
    };
    let check = |batches: &[ArrayRef], dtype, expected: Result<Dense, &str>| {
        let inputs = decoded(&one(batches), &[("x", dtype)], &LIMITS);
        let found = inputs.map(|inputs| inputs["x"].clone());
        let expected = expected.map(Dense::into_proto).map_err(str::to_owned);
        assert_eq!(found.map_err(|error| error.message().to_owned()), expected);
    };
    let (long, int) = (DataType::DtInt64, DataType::DtInt32);
    let batch = coded(&[1, 0, 1], &[5, -6]);
    let expected = |values: &[i64]| Ok(numbers(long, &[values.len()], &longs(values)));
    check(std::slice::from_ref(&batch), long, expected(&[-6, 5, -6]));
    check(&[batch.clone(), coded(&[0], &[7])], long, expected(&[-6, 5, -6, 7]));
    check(&[coded(&[], &[])], long, expected(&[]));
    check(&[fixed(1, batch)], long, Ok(numbers(long, &[3, 1], &longs(&[-6, 5, -6]))));
    check(&[coded(&[0], &[1])], int, Ok(numbers(int, &[1], &[1, 0, 0, 0])));
    check(&[coded(&[0, 1], &[1, 1 << 40])], int, Err("x[1]: 1099511627776 is not a int32"));
    let several = one(&[coded(&[0; 50], &[1]), coded(&[0; 50], &[2])]);
    assert!(room(&several, Some(&signatures(&[("x", DataType::DtDouble)])), 0) > 100 * (32 + 3 * 8));
}

/// Two columns that have the same dictionary, though they are of different types.
#[test]
fn dictionaries_are_of_the_type_of_their_column() {
    let narrow = DictionaryArray::<Int8Type>::new(vec![0].into(), Arc::new(Int32Array::from(vec![5])));
    let wide = DictionaryArray::<Int8Type>::new(vec![0].into(), Arc::new(Int64Array::from(vec![6])));
    let columns: [ArrayRef; 2] = [Arc::new(narrow), Arc::new(wide)];
    let fields = columns.iter().zip(["x", "y"]);
    let fields = fields.map(|(column, name)| Field::new(name, column.data_type().clone(), false)).collect();
    let stream = stream(fields, &[columns.to_vec()]);
    let one = 1_i64.to_le_bytes();
    let places: Vec<_> = (0..stream.len() - 8).filter(|at| stream[*at..].starts_with(&one)).collect();
    let patched = |chosen: usize| {
        let mut stream = stream.to_vec();
        for (index, at) in places.iter().enumerate() {
            stream[*at] = u8::from(chosen >> index & 1 == 0);
        }
        Bytes::from(stream)
    };
    let inputs = [("x", DataType::DtInt32), ("y", DataType::DtInt64)];
    let streams = (0..1 << places.len()).map(patched);
    let errors = streams.filter_map(|stream| {
        survives(&stream);
        decoded(&stream, &inputs, &LIMITS).err()
    });
    let expected = "y[0]: the dictionary has values of 4 bytes, and 8 are needed";
    assert!(errors.into_iter().any(|error| error.message() == expected));
}
