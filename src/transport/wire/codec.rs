//! Record batches to frames and back.
//!
//! Reading is strict, since a peer writes what is read: the schema must be the one that is due, and a
//! batch's flatbuffer is checked against it and against the body's length before Arrow's reader sees it,
//! which by itself panics on offsets outside the body, on short null bitmaps and on stray counts. Arrow's
//! own validation then runs in full. Compression and dictionaries are never written and always refused.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::RecordBatchDecoder;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow::ipc::{self, MessageHeader, MetadataVersion};

use crate::psi::{Error, PeerMisbehaved, Phase};

use super::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Control, Frame, MESSAGE_BYTES_MAX, schema};

/// The flatbuffer of a schema or a batch: a few hundred bytes for eight columns.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Writes the batches of one direction.
pub(crate) struct Encoder {
    phase: Phase,
    schema: SchemaRef,
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

impl Encoder {
    pub(crate) fn new(phase: Phase, schema: SchemaRef) -> Result<Self, Error> {
        if let Some(field) = schema.fields().iter().find(|field| schema::buffers(field.data_type()).is_none()) {
            return Err(Error::internal(format!(
                "phase {phase} uses the type {}, which has no wire form",
                field.data_type()
            )));
        }
        Ok(Encoder {
            phase,
            schema,
            generator: IpcDataGenerator::default(),
            dictionaries: DictionaryTracker::new(true),
            options: IpcWriteOptions::default(),
            context: IpcWriteContext::default(),
        })
    }

    /// The first frame.
    pub(crate) fn schema(&mut self) -> Frame {
        let message =
            self.generator.schema_to_bytes_with_dictionary_tracker(&self.schema, &mut self.dictionaries, &self.options);
        Frame::arrow(message.ipc_message, message.arrow_data)
    }

    /// A batch's frame.
    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<Frame, Error> {
        let phase = self.phase;
        if batch.schema_ref().fields() != self.schema.fields() {
            return Err(Error::internal(format!("a batch of phase {phase} has another schema than its phase")));
        }
        let (dictionaries, message) = self
            .generator
            .encode(batch, &mut self.dictionaries, &self.options, &mut self.context)
            .map_err(|error| Error::internal(format!("a batch of phase {phase} cannot be written: {error}")))?;
        let frame = Frame::arrow(message.ipc_message, message.arrow_data);
        if !dictionaries.is_empty() || frame.body.len() > BATCH_BYTES_MAX || batch.num_rows() > BATCH_ROWS_MAX {
            return Err(Error::internal(format!(
                "a batch of phase {phase} has {} rows and {} bytes, which is over the limits of {BATCH_ROWS_MAX} rows and {BATCH_BYTES_MAX} bytes",
                batch.num_rows(),
                frame.body.len()
            )));
        }
        Ok(frame)
    }
}

/// What a frame held.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// The schema, as it is due.
    Schema,
    /// A batch of that schema.
    Batch(RecordBatch),
    /// A control message.
    Control(Control),
}

/// Reads the frames of one direction.
pub(crate) struct Decoder {
    phase: Phase,
    due: SchemaRef,
    schema_came: bool,
}

impl Decoder {
    pub(crate) fn new(phase: Phase, due: SchemaRef) -> Self {
        Decoder { phase, due, schema_came: false }
    }

    /// Reads the next frame.
    pub(crate) fn read(&mut self, frame: Frame) -> Result<Decoded, Error> {
        let phase = self.phase;
        self.read_frame(frame).map_err(|refusal| match refusal {
            Refusal::Schema(reason) => PeerMisbehaved::Schema { phase, reason }.into(),
            Refusal::Malformed(reason) => PeerMisbehaved::Malformed { phase, reason }.into(),
        })
    }

    fn read_frame(&mut self, frame: Frame) -> Result<Decoded, Refusal> {
        if frame.header.len() + frame.body.len() + frame.metadata.len() > MESSAGE_BYTES_MAX {
            return Err(format!("a message is larger than the limit of {MESSAGE_BYTES_MAX} bytes").into());
        }
        if frame.header.is_empty() {
            return match Control::read(&frame) {
                Some(Control::End) if !self.schema_came => Err("the stream ended before its schema".to_owned().into()),
                Some(control @ (Control::End | Control::Abort { .. })) => Ok(Decoded::Control(control)),
                Some(Control::Hold) | None => {
                    Err("a message without a header that is no control message".to_owned().into())
                }
            };
        }
        if !frame.metadata.is_empty() {
            return Err("a message carries application metadata".to_owned().into());
        }
        if frame.header.len() > HEADER_BYTES_MAX {
            return Err(format!("a header of {} bytes, {HEADER_BYTES_MAX} are allowed", frame.header.len()).into());
        }
        let message =
            ipc::root_as_message(&frame.header).map_err(|_| "a header that is no Arrow message".to_owned())?;
        if message.version() != MetadataVersion::V5 {
            return Err("a message of another version than Arrow's V5".to_owned().into());
        }
        if message.custom_metadata().is_some_and(|pairs| !pairs.is_empty()) {
            return Err("a message carries metadata".to_owned().into());
        }
        if usize::try_from(message.bodyLength()) != Ok(frame.body.len()) {
            return Err("a message's body has another length than its header says".to_owned().into());
        }
        match message.header_type() {
            MessageHeader::Schema if self.schema_came => Err("a second schema in one stream".to_owned().into()),
            MessageHeader::Schema => {
                let found = message.header_as_schema().ok_or_else(|| "a schema message without schema".to_owned())?;
                if !frame.body.is_empty() {
                    return Err("a schema message with a body".to_owned().into());
                }
                schema::compare(&found, &self.due).map_err(Refusal::Schema)?;
                self.schema_came = true;
                Ok(Decoded::Schema)
            }
            MessageHeader::RecordBatch if !self.schema_came => Err("a batch before the schema".to_owned().into()),
            MessageHeader::RecordBatch => {
                let header =
                    message.header_as_record_batch().ok_or_else(|| "a batch message without batch".to_owned())?;
                self.check_batch(&header, frame.body.len())?;
                let body = Buffer::from(frame.body);
                RecordBatchDecoder::try_new(
                    &body,
                    header,
                    SchemaRef::clone(&self.due),
                    &HashMap::new(),
                    &message.version(),
                )
                .and_then(RecordBatchDecoder::read_record_batch)
                .map(Decoded::Batch)
                // Arrow's words may quote lengths and offsets, never a value.
                .map_err(|error| format!("a batch that Arrow refuses: {}", super::sanitise(&error.to_string())).into())
            }
            MessageHeader::DictionaryBatch => Err("a dictionary, which no phase uses".to_owned().into()),
            _ => Err("a message of an unknown kind".to_owned().into()),
        }
    }

    /// Everything that Arrow's reader takes for granted about a batch's flatbuffer.
    fn check_batch(&self, header: &ipc::RecordBatch<'_>, body_bytes: usize) -> Result<(), String> {
        if header.compression().is_some() {
            return Err("a compressed batch".to_owned());
        }
        if header.variadicBufferCounts().is_some_and(|counts| !counts.is_empty()) {
            return Err("a batch with variadic buffers".to_owned());
        }
        let rows = usize::try_from(header.length()).ok().filter(|rows| *rows <= BATCH_ROWS_MAX);
        let rows = rows.ok_or_else(|| format!("a batch of {} rows, {BATCH_ROWS_MAX} are allowed", header.length()))?;
        let (nodes, buffers) = header.nodes().zip(header.buffers()).ok_or("a batch without columns")?;
        if nodes.len() != self.due.fields().len() {
            return Err("a batch with another number of columns than its schema".to_owned());
        }
        let mut buffers = buffers.iter();
        for (node, field) in nodes.iter().zip(self.due.fields()) {
            let nulls = usize::try_from(node.null_count()).ok().filter(|nulls| *nulls <= rows);
            if usize::try_from(node.length()) != Ok(rows) {
                return Err("columns of unequal length".to_owned());
            }
            let nulls = nulls.ok_or("an impossible number of nulls")?;
            for position in 0..schema::buffers(field.data_type()).ok_or("a type without wire form")? {
                let buffer = buffers.next().ok_or("a batch with too few buffers")?;
                let (start, bytes) = usize::try_from(buffer.offset())
                    .ok()
                    .zip(usize::try_from(buffer.length()).ok())
                    .ok_or("a negative offset")?;
                if start.checked_add(bytes).is_none_or(|end| end > body_bytes) {
                    return Err("a buffer outside its message".to_owned());
                }
                if position == 1 && bytes % schema::unit(field.data_type()) != 0 {
                    return Err("a buffer that ends within a value".to_owned());
                }
                if position == 0 && nulls > 0 && bytes < rows.div_ceil(8) {
                    return Err("a null bitmap that is too short".to_owned());
                }
            }
        }
        if buffers.next().is_some() {
            return Err("a batch with too many buffers".to_owned());
        }
        Ok(())
    }
}

enum Refusal {
    Schema(String),
    Malformed(String),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Refusal::Malformed(reason)
    }
}
