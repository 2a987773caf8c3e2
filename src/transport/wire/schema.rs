//! Compares the flatbuffer of a peer's schema with the one that is due, field by field.
//!
//! Done on the flatbuffer, because turning a hostile one into an Arrow schema panics for unknown types,
//! and because a comparison needs no more.

use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc;

/// What differs, by field names and types only; `Ok` where nothing does.
pub(super) fn compare(found: &ipc::Schema<'_>, due: &Schema) -> Result<(), String> {
    if found.endianness() != ipc::Endianness::Little {
        return Err("it is not little-endian".to_owned());
    }
    if found.custom_metadata().is_some_and(|pairs| !pairs.is_empty()) {
        return Err("it carries metadata".to_owned());
    }
    let fields = found.fields().ok_or("it has no fields")?;
    if fields.len() != due.fields().len() {
        return Err(format!("{} fields where {} are due", fields.len(), due.fields().len()));
    }
    for (position, (found, due)) in fields.iter().zip(due.fields()).enumerate() {
        field(&found, due).map_err(|what| format!("field {} ('{}') {what}", position + 1, due.name()))?;
    }
    Ok(())
}

fn field(found: &ipc::Field<'_>, due: &Field) -> Result<(), String> {
    if found.name() != Some(due.name().as_str()) {
        return Err("has another name".to_owned());
    }
    if found.nullable() != due.is_nullable() {
        return Err("differs in whether it may be null".to_owned());
    }
    if found.dictionary().is_some() {
        return Err("is a dictionary".to_owned());
    }
    if found.children().is_some_and(|children| !children.is_empty()) {
        return Err("is nested".to_owned());
    }
    if found.custom_metadata().is_some_and(|pairs| !pairs.is_empty()) {
        return Err("carries metadata".to_owned());
    }
    let same = match due.data_type() {
        DataType::Boolean => found.type_type() == ipc::Type::Bool,
        DataType::Utf8 => found.type_type() == ipc::Type::Utf8,
        DataType::LargeUtf8 => found.type_type() == ipc::Type::LargeUtf8,
        DataType::Binary => found.type_type() == ipc::Type::Binary,
        DataType::LargeBinary => found.type_type() == ipc::Type::LargeBinary,
        DataType::FixedSizeBinary(width) => {
            found.type_as_fixed_size_binary().is_some_and(|found| found.byteWidth() == *width)
        }
        other => integer(other).is_some_and(|(bits, signed)| {
            found.type_as_int().is_some_and(|found| found.bitWidth() == bits && found.is_signed() == signed)
        }),
    };
    if same { Ok(()) } else { Err(format!("is not {}", due.data_type())) }
}

fn integer(data_type: &DataType) -> Option<(i32, bool)> {
    Some(match data_type {
        DataType::Int8 => (8, true),
        DataType::Int16 => (16, true),
        DataType::Int32 => (32, true),
        DataType::Int64 => (64, true),
        DataType::UInt8 => (8, false),
        DataType::UInt16 => (16, false),
        DataType::UInt32 => (32, false),
        DataType::UInt64 => (64, false),
        _ => return None,
    })
}

/// The bytes of one value, or of one offset, in the buffer after the null bitmap.
pub(super) fn unit(data_type: &DataType) -> usize {
    match data_type {
        DataType::Utf8 | DataType::Binary => 4,
        DataType::LargeUtf8 | DataType::LargeBinary => 8,
        other => integer(other).map_or(1, |(bits, _)| bits.unsigned_abs() as usize / 8),
    }
}

/// How many buffers a column of that type has on the wire; `None` for types that no phase uses.
pub(super) fn buffers(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => Some(3),
        DataType::Boolean | DataType::FixedSizeBinary(_) => Some(2),
        other => integer(other).map(|_| 2),
    }
}
