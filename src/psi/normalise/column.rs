//! Arrow columns in, identifiers out: which types a normaliser reads, and the parallel loop.

use arrow::array::{Array, AsArray, BooleanBufferBuilder, LargeBinaryArray, PrimitiveArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use rayon::prelude::*;

use super::{Normaliser, exact, sha256};

/// Rows per slice of the parallel loop: enough that a slice outweighs its bookkeeping, few enough
/// that slow rows (phone numbers) spread over the cores.
const SLICE_ROWS: usize = 8192;

/// Milliseconds of a day, the unit of a Date64 being the millisecond.
const DAY_MS: i64 = 86_400_000;

/// Whether the normaliser reads columns of this type.
pub(super) fn accepts(normaliser: Normaliser, column: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Dictionary, FixedSizeBinary, LargeBinary, LargeUtf8, Null, Utf8, Utf8View,
    };
    match (normaliser, column) {
        (_, Null | Utf8 | LargeUtf8 | Utf8View) => true,
        // A dictionary of dictionaries is nothing that a reader gives.
        (_, Dictionary(_, values)) => !matches!(values.as_ref(), Dictionary(..)) && accepts(normaliser, values),
        (Normaliser::Exact, Date32 | Date64 | FixedSizeBinary(_)) => true,
        (Normaliser::Exact | Normaliser::Sha256, Binary | LargeBinary | BinaryView) => true,
        (Normaliser::Sha256, FixedSizeBinary(bytes)) => *bytes == 32,
        (Normaliser::Exact | Normaliser::Phone(_), other) => other.is_integer(),
        _ => false,
    }
}

/// The identifiers of a column whose type [`accepts`] took.
pub(super) fn normalise(normaliser: Normaliser, column: &dyn Array) -> LargeBinaryArray {
    let text = |value: &str, out: &mut Vec<u8>| normaliser.write_text(value, out);
    let binary = |value: &[u8], out: &mut Vec<u8>| match normaliser {
        Normaliser::Sha256 => sha256::write_bytes(value, out),
        _ => exact::write_bytes(value, out),
    };
    match column.data_type() {
        DataType::Dictionary(_, _) => {
            let dictionary = column.as_any_dictionary();
            let values = normalise(normaliser, dictionary.values().as_ref());
            take(&values, dictionary.keys(), None)
                .expect("a dictionary's keys are positions of its values")
                .as_binary::<i64>()
                .clone()
        }
        DataType::Utf8 => {
            let strings = column.as_string::<i32>();
            build(column, |row, out| text(strings.value(row), out))
        }
        DataType::LargeUtf8 => {
            let strings = column.as_string::<i64>();
            build(column, |row, out| text(strings.value(row), out))
        }
        DataType::Utf8View => {
            let strings = column.as_string_view();
            build(column, |row, out| text(strings.value(row), out))
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            build(column, |row, out| binary(values.value(row), out))
        }
        DataType::LargeBinary => {
            let values = column.as_binary::<i64>();
            build(column, |row, out| binary(values.value(row), out))
        }
        DataType::BinaryView => {
            let values = column.as_binary_view();
            build(column, |row, out| binary(values.value(row), out))
        }
        DataType::FixedSizeBinary(_) => {
            let values = column.as_fixed_size_binary();
            build(column, |row, out| binary(values.value(row), out))
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>();
            build(column, |row, out| exact::write_date(i64::from(days.value(row)), out))
        }
        DataType::Date64 => {
            let ms = column.as_primitive::<Date64Type>();
            build(column, |row, out| exact::write_date(ms.value(row).div_euclid(DAY_MS), out))
        }
        DataType::Int8 => integers::<Int8Type>(normaliser, column),
        DataType::Int16 => integers::<Int16Type>(normaliser, column),
        DataType::Int32 => integers::<Int32Type>(normaliser, column),
        DataType::Int64 => integers::<Int64Type>(normaliser, column),
        DataType::UInt8 => integers::<UInt8Type>(normaliser, column),
        DataType::UInt16 => integers::<UInt16Type>(normaliser, column),
        DataType::UInt32 => integers::<UInt32Type>(normaliser, column),
        DataType::UInt64 => integers::<UInt64Type>(normaliser, column),
        // The untyped NULL column; `accepts` let no other type through.
        _ => LargeBinaryArray::new_null(column.len()),
    }
}

/// Integers by their decimal text.
fn integers<T>(normaliser: Normaliser, column: &dyn Array) -> LargeBinaryArray
where
    T: ArrowPrimitiveType,
    T::Native: std::fmt::Display,
{
    let values: &PrimitiveArray<T> = column.as_primitive::<T>();
    build(column, |row, out| {
        let value = values.value(row);
        match normaliser {
            Normaliser::Exact => exact::write_integer(&value, out),
            // A minus sign would pass as a separator.
            _ if value < T::Native::default() => false,
            _ => normaliser.write_text(&value.to_string(), out),
        }
    })
}

/// The identifiers of one slice of rows, end to end.
struct Slice {
    values: Vec<u8>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

/// Runs `write` on every row that is not null, slices of rows in parallel; a row for which it
/// says false is null.
fn build<F>(column: &dyn Array, write: F) -> LargeBinaryArray
where
    F: Fn(usize, &mut Vec<u8>) -> bool + Sync,
{
    let rows = column.len();
    let nulls = column.nulls();
    let slices: Vec<Slice> = (0..rows.div_ceil(SLICE_ROWS))
        .into_par_iter()
        .map(|index| {
            let start = index * SLICE_ROWS;
            let end = rows.min(start + SLICE_ROWS);
            let mut slice = Slice {
                values: Vec::new(),
                lengths: Vec::with_capacity(end - start),
                valid: Vec::with_capacity(end - start),
            };
            for row in start..end {
                let before = slice.values.len();
                let present = nulls.is_none_or(|nulls| nulls.is_valid(row));
                let valid = present && write(row, &mut slice.values);
                if !valid {
                    slice.values.truncate(before);
                }
                slice.lengths.push(slice.values.len() - before);
                slice.valid.push(valid);
            }
            slice
        })
        .collect();

    let mut values = Vec::with_capacity(slices.iter().map(|slice| slice.values.len()).sum());
    let mut valid = BooleanBufferBuilder::new(rows);
    for slice in &slices {
        values.extend_from_slice(&slice.values);
        valid.append_slice(&slice.valid);
    }
    let offsets = OffsetBuffer::from_lengths(slices.iter().flat_map(|s| s.lengths.iter().copied()));
    LargeBinaryArray::new(
        offsets,
        Buffer::from_vec(values),
        Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array, Decimal128Array,
        DictionaryArray, FixedSizeBinaryArray, Float64Array, Int8Array, Int32Array, Int64Array, LargeStringArray,
        NullArray, StringArray, StringViewArray, TimestampSecondArray, UInt16Array, UInt64Array,
    };
    use arrow::datatypes::Int32Type;

    use super::super::NormaliseError;
    use super::*;

    fn normalised(name: &str, column: ArrayRef) -> (Vec<Option<Vec<u8>>>, u64) {
        let normaliser: Normaliser = name.parse().unwrap();
        let normalised = normaliser.normalise(&column).unwrap();
        let identifiers = normalised.identifiers.iter();
        (identifiers.map(|value| value.map(<[u8]>::to_vec)).collect(), normalised.unnormalised)
    }

    fn bytes(texts: &[Option<&str>]) -> Vec<Option<Vec<u8>>> {
        texts.iter().map(|text| text.map(|text| text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn text_is_the_same_in_every_layout() {
        let rows = vec![Some("a"), None, Some(""), Some("b longer than twelve bytes"), Some("a")];
        let dictionary: DictionaryArray<Int32Type> = rows.iter().copied().collect();
        let layouts: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(rows.clone())),
            Arc::new(LargeStringArray::from(rows.clone())),
            Arc::new(StringViewArray::from(rows.clone())),
            Arc::new(dictionary),
        ];
        let expected = bytes(&[Some("a"), None, None, Some("b longer than twelve bytes"), Some("a")]);
        for layout in layouts {
            assert_eq!(normalised("exact/1", layout), (expected.clone(), 1));
        }
    }

    #[test]
    fn an_integer_matches_its_text() {
        let five: Vec<ArrayRef> = vec![
            Arc::new(Int8Array::from(vec![Some(5), None])),
            Arc::new(Int32Array::from(vec![Some(5), None])),
            Arc::new(UInt16Array::from(vec![Some(5), None])),
            Arc::new(UInt64Array::from(vec![Some(5), None])),
            Arc::new(StringArray::from(vec![Some("5"), None])),
        ];
        for column in five {
            assert_eq!(normalised("exact/1", column), (bytes(&[Some("5"), None]), 0));
        }
        let extremes: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, -7, i64::MAX]));
        let expected = bytes(&[Some("-9223372036854775808"), Some("-7"), Some("9223372036854775807")]);
        assert_eq!(normalised("exact/1", extremes).0, expected);
    }

    #[test]
    fn a_date_is_its_iso_text_in_both_layouts() {
        let expected = bytes(&[Some("2026-03-01"), Some("1969-12-31")]);
        let days: ArrayRef = Arc::new(Date32Array::from(vec![20_513, -1]));
        assert_eq!(normalised("exact/1", days).0, expected);
        let ms: ArrayRef = Arc::new(Date64Array::from(vec![20_513 * DAY_MS, -1]));
        assert_eq!(normalised("exact/1", ms).0, expected);
    }

    #[test]
    fn binary_is_its_bytes_in_every_layout() {
        let value: &[u8] = &[0xff, 0, 7];
        let layouts: Vec<ArrayRef> = vec![
            Arc::new(BinaryArray::from(vec![value])),
            Arc::new(LargeBinaryArray::from(vec![value])),
            Arc::new(BinaryViewArray::from(vec![value])),
            Arc::new(FixedSizeBinaryArray::try_from_iter([value].into_iter()).unwrap()),
        ];
        for layout in layouts {
            assert_eq!(normalised("exact/1", layout), (vec![Some(value.to_vec())], 0));
        }
    }

    #[test]
    fn a_hash_is_the_same_as_text_and_as_binary() {
        let hash = [0xabu8; 32];
        let as_text: ArrayRef = Arc::new(StringArray::from(vec!["aB".repeat(32)]));
        let as_bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&hash[..]]));
        assert_eq!(normalised("sha256/1", as_text), (vec![Some(hash.to_vec())], 0));
        assert_eq!(normalised("sha256/1", as_bytes), (vec![Some(hash.to_vec())], 0));
        let short: ArrayRef = Arc::new(BinaryArray::from(vec![&hash[..31], &[][..]]));
        assert_eq!(normalised("sha256/1", short), (vec![None, None], 2));
    }

    #[test]
    fn a_number_without_text_is_still_a_phone_number() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(2_125_551_234), Some(-2_125_551_234), None]));
        assert_eq!(normalised("phone/1:US", numbers), (bytes(&[Some("+12125551234"), None, None]), 1));
    }

    #[test]
    fn a_null_column_and_an_empty_one_have_no_identifiers() {
        assert_eq!(normalised("email/1", Arc::new(NullArray::new(2))), (vec![None, None], 0));
        let none: ArrayRef = Arc::new(StringArray::from(Vec::<Option<&str>>::new()));
        assert_eq!(normalised("email/1", none), (vec![], 0));
    }

    #[test]
    fn a_slice_of_a_column_keeps_its_rows_and_its_nulls() {
        let rows: Vec<Option<String>> =
            (0..3 * SLICE_ROWS).map(|row| (row % 3 != 0).then(|| format!("Row{row}@Example.org"))).collect();
        let whole: ArrayRef = Arc::new(StringArray::from(rows.clone()));
        let slice = whole.slice(5, 2 * SLICE_ROWS);
        let expected: Vec<Option<Vec<u8>>> = rows[5..][..2 * SLICE_ROWS]
            .iter()
            .map(|row| row.as_ref().map(|row| row.to_lowercase().into_bytes()))
            .collect();
        assert_eq!(normalised("email/1", slice), (expected, 0));
    }

    #[test]
    fn a_null_among_a_dictionary_s_values_is_not_counted_as_lost() {
        let values: ArrayRef = Arc::new(StringArray::from(vec![Some("a@b.c"), None, Some("bad")]));
        let keys = Int32Array::from(vec![Some(0), Some(1), Some(2), None]);
        let column: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
        assert_eq!(normalised("email/1", column), (bytes(&[Some("a@b.c"), None, None, None]), 1));
    }

    #[test]
    fn types_without_one_text_are_refused_by_name() {
        let refused: Vec<(&str, ArrayRef)> = vec![
            ("exact/1", Arc::new(Float64Array::from(vec![1.0]))),
            ("exact/1", Arc::new(BooleanArray::from(vec![true]))),
            ("exact/1", Arc::new(Decimal128Array::from(vec![1]))),
            ("exact/1", Arc::new(TimestampSecondArray::from(vec![1]))),
            ("email/1", Arc::new(Int64Array::from(vec![1]))),
            ("email/1", Arc::new(BinaryArray::from(vec![&b"a@b.c"[..]]))),
            ("phone/1:US", Arc::new(Date32Array::from(vec![1]))),
            ("sha256/1", Arc::new(Int64Array::from(vec![1]))),
            ("sha256/1", Arc::new(FixedSizeBinaryArray::try_from_iter([[1u8; 31]].into_iter()).unwrap())),
        ];
        for (name, column) in refused {
            let error = name.parse::<Normaliser>().unwrap().normalise(&column).unwrap_err();
            let NormaliseError::Type { normaliser, found, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!((normaliser.as_str(), found), (name, column.data_type()));
        }
    }
}
