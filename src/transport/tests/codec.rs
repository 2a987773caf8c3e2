//! Frames: strict reading, and no panic on whatever bytes.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryArray, LargeBinaryArray, RecordBatch, StringArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use proptest::prelude::*;

use crate::psi::{Error, PeerMisbehaved, Phase};
use crate::transport::Frame;
use crate::transport::wire::{BATCH_ROWS_MAX, Control, Decoded, Decoder, Encoder};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("tag", DataType::FixedSizeBinary(12), false),
        Field::new("count", DataType::UInt64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("bytes", DataType::LargeBinary, true),
    ]))
}

fn batch(rows: usize) -> RecordBatch {
    let tags: Vec<[u8; 12]> = (0..rows).map(|row| [row as u8; 12]).collect();
    let tags: ArrayRef = if rows == 0 {
        arrow::array::new_empty_array(&DataType::FixedSizeBinary(12))
    } else {
        Arc::new(FixedSizeBinaryArray::try_from_iter(tags.iter()).unwrap())
    };
    let counts: UInt64Array = (0..rows).map(|row| (row % 3 > 0).then_some(row as u64)).collect();
    let names: StringArray = (0..rows).map(|row| (row % 2 > 0).then(|| format!("née {row}"))).collect();
    let bytes: LargeBinaryArray = (0..rows).map(|row| Some(vec![row as u8; row % 7])).collect();
    RecordBatch::try_new(schema(), vec![tags, Arc::new(counts), Arc::new(names), Arc::new(bytes)]).unwrap()
}

fn frames(batches: &[RecordBatch]) -> Vec<Frame> {
    let mut encoder = Encoder::new(Phase::Columns, schema()).unwrap();
    let mut frames = vec![encoder.schema()];
    frames.extend(batches.iter().map(|batch| encoder.batch(batch).unwrap()));
    frames.push(Control::end());
    frames
}

fn decoder() -> Decoder {
    Decoder::new(Phase::Columns, schema())
}

fn refusal(decoder: &mut Decoder, frame: Frame) -> PeerMisbehaved {
    match decoder.read(frame) {
        Err(Error::Peer(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn batches_come_back_as_they_went_slices_and_empty_ones_too() {
    let batches = [batch(100), batch(0), batch(100).slice(3, 17), batch(1)];
    let mut decoder = decoder();
    let mut came = Vec::new();
    for frame in frames(&batches) {
        if let Decoded::Batch(batch) = decoder.read(frame).unwrap() {
            came.push(batch);
        }
    }
    assert_eq!(came, batches);
}

#[test]
fn messages_out_of_place_are_malformed() {
    let mut first = frames(&[batch(3)]);
    let (end, data, schema) = (first.pop().unwrap(), first.pop().unwrap(), first.pop().unwrap());
    let malformed = |decoder: &mut Decoder, frame: &Frame| {
        matches!(refusal(decoder, frame.clone()), PeerMisbehaved::Malformed { phase: Phase::Columns, .. })
    };
    assert!(malformed(&mut decoder(), &data), "a batch before its schema");
    assert!(malformed(&mut decoder(), &end), "an end before the schema");
    let mut reading = decoder();
    assert!(matches!(reading.read(schema.clone()), Ok(Decoded::Schema)));
    assert!(malformed(&mut reading, &schema), "a second schema");
    assert!(malformed(&mut reading, &Control::hold()), "the control exchange's message");
    assert!(malformed(&mut reading, &Frame::control(b"progress".to_vec())), "an unknown control message");
    assert!(malformed(&mut reading, &Frame { metadata: b"x".to_vec().into(), ..data.clone() }), "metadata on a batch");
    assert!(malformed(&mut reading, &Frame { body: vec![0; 64].into(), ..data.clone() }), "a shorter body");
    assert!(malformed(&mut reading, &Frame { header: vec![].into(), ..data.clone() }), "a body without header");
    let large = Frame { body: vec![0; 5 << 20].into(), ..data.clone() };
    assert!(malformed(&mut reading, &large), "a message over the limit");
    assert!(matches!(reading.read(data), Ok(Decoded::Batch(_))));
    assert!(matches!(reading.read(end), Ok(Decoded::Control(Control::End))));
}

#[test]
fn another_schema_is_refused_by_what_differs() {
    let fields = |change: &dyn Fn(&mut Vec<Field>)| {
        let mut fields: Vec<Field> = schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        change(&mut fields);
        Arc::new(Schema::new(fields))
    };
    for (other, word) in [
        (fields(&|fields| fields.truncate(3)), "3 fields"),
        (fields(&|fields| fields.push(Field::new("more", DataType::UInt64, true))), "5 fields"),
        (fields(&|fields| fields[0] = Field::new("tag", DataType::FixedSizeBinary(13), false)), "'tag'"),
        (fields(&|fields| fields[0] = Field::new("tags", DataType::FixedSizeBinary(12), false)), "another name"),
        (fields(&|fields| fields[0] = Field::new("tag", DataType::FixedSizeBinary(12), true)), "null"),
        (fields(&|fields| fields[1] = Field::new("count", DataType::Int64, true)), "UInt64"),
        (fields(&|fields| fields[1] = Field::new("count", DataType::UInt32, true)), "UInt64"),
        (fields(&|fields| fields[2] = Field::new("name", DataType::LargeUtf8, true)), "Utf8"),
        (fields(&|fields| fields[3] = Field::new("bytes", DataType::Binary, true)), "LargeBinary"),
        (
            Arc::new(Schema::new_with_metadata(schema().fields().clone(), [("a".to_owned(), "b".to_owned())].into())),
            "metadata",
        ),
    ] {
        let frame = Encoder::new(Phase::Columns, Arc::clone(&other)).unwrap().schema();
        let PeerMisbehaved::Schema { reason, .. } = refusal(&mut decoder(), frame) else { panic!("{other}") };
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn dictionaries_and_types_that_no_phase_uses_are_never_written_and_always_refused() {
    let values: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
    let field = Field::new("name", values.data_type_owned(), true);
    let dictionary = Arc::new(Schema::new(vec![field]));
    assert!(matches!(Encoder::new(Phase::Tags, Arc::clone(&dictionary)), Err(Error::Internal(_))));
    assert!(Encoder::new(Phase::Tags, Arc::new(Schema::new(vec![Field::new("n", DataType::Null, true)]))).is_err());

    // What another implementation might send.
    let (generator, options) = (IpcDataGenerator::default(), IpcWriteOptions::default());
    let mut tracker = DictionaryTracker::new(false);
    let message = generator.schema_to_bytes_with_dictionary_tracker(&dictionary, &mut tracker, &options);
    let due = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
    let mut reading = Decoder::new(Phase::Tags, Arc::clone(&due));
    let schema = Frame::arrow(message.ipc_message, message.arrow_data);
    assert!(
        matches!(refusal(&mut reading, schema), PeerMisbehaved::Schema { reason, .. } if reason.contains("dictionary"))
    );

    let batch = RecordBatch::try_new(dictionary, vec![Arc::new(values)]).unwrap();
    let (dictionaries, _) = generator.encode(&batch, &mut tracker, &options, &mut IpcWriteContext::default()).unwrap();
    let message = dictionaries.into_iter().next().unwrap();
    let mut encoder = Encoder::new(Phase::Tags, due).unwrap();
    reading.read(encoder.schema()).unwrap();
    let refused = refusal(&mut reading, Frame::arrow(message.ipc_message, message.arrow_data));
    assert!(matches!(refused, PeerMisbehaved::Malformed { reason, .. } if reason.contains("dictionary")));
}

trait OwnedType {
    fn data_type_owned(&self) -> DataType;
}

impl<A: arrow::array::Array> OwnedType for A {
    fn data_type_owned(&self) -> DataType {
        self.data_type().clone()
    }
}

#[test]
fn a_batch_over_the_limits_is_a_bug_of_the_side_that_made_it() {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::UInt8, false)]));
    let batch = |rows: usize| {
        let column: ArrayRef = Arc::new(arrow::array::UInt8Array::from(vec![0; rows]));
        RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap()
    };
    let mut encoder = Encoder::new(Phase::Columns, Arc::clone(&schema)).unwrap();
    let mut reading = Decoder::new(Phase::Columns, Arc::clone(&schema));
    reading.read(encoder.schema()).unwrap();
    assert!(reading.read(encoder.batch(&batch(BATCH_ROWS_MAX)).unwrap()).is_ok(), "at the limit");
    assert!(matches!(encoder.batch(&batch(BATCH_ROWS_MAX + 1)), Err(Error::Internal(_))), "one past");
    assert!(matches!(encoder.batch(&self::batch(3)), Err(Error::Internal(_))), "another schema");

    let wide = Arc::new(Schema::new(vec![Field::new("n", DataType::FixedSizeBinary(1024), false)]));
    let mut encoder = Encoder::new(Phase::Columns, Arc::clone(&wide)).unwrap();
    let batch = |rows: usize| {
        let column = FixedSizeBinaryArray::try_new(1024, vec![0_u8; rows * 1024].into(), None).unwrap();
        RecordBatch::try_new(Arc::clone(&wide), vec![Arc::new(column)]).unwrap()
    };
    assert_eq!(encoder.batch(&batch(3 * 1024 - 1)).map(|_| ()), Ok(()));
    assert!(matches!(encoder.batch(&batch(3 * 1024 + 1)), Err(Error::Internal(_))));
}

const WORDS: &[i64] =
    &[0, 1, 2, 3, 5, 7, 8, 39, 40, 41, 63, 64, 65, 320, 321, 65_536, 65_537, -1, i64::MIN, i64::MAX, 1 << 31, 1 << 32];

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(4000)))]

    /// A peer may write any bytes: reading them ends in a batch or in an error, never in a panic.
    #[test]
    fn mutated_frames_are_read_or_refused(
        which in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        words in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(WORDS)), 0..3),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        in_body in any::<bool>(),
    ) {
        let mut all = frames(&[batch(40), batch(1)]);
        let mut header = all[which].header.to_vec();
        let mut body = all[which].body.to_vec();
        let bytes = if in_body && !body.is_empty() { &mut body } else { &mut header };
        for (position, value) in changes {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        // Lengths, offsets and counts are words on eight-byte boundaries.
        for (position, value) in words {
            let place = 8 * position.index(bytes.len() / 8);
            bytes[place..place + 8].copy_from_slice(&value.to_le_bytes());
        }
        if let Some(cut) = cut {
            let cut = cut.index(bytes.len());
            bytes.truncate(cut);
        }
        all[which].header = header.into();
        all[which].body = body.into();
        let mut reading = decoder();
        for frame in all {
            match reading.read(frame) {
                Ok(Decoded::Batch(batch)) => {
                    prop_assert_eq!(batch.schema(), schema());
                    prop_assert!(batch.num_rows() <= BATCH_ROWS_MAX);
                    // Touches every value that validation let through.
                    let text = format!("{batch:?}");
                    prop_assert!(!text.is_empty());
                }
                Ok(_) => {}
                Err(Error::Peer(PeerMisbehaved::Malformed { .. } | PeerMisbehaved::Schema { .. })) => break,
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
