//! One message of an exchange, as bytes.

use bytes::Bytes;

/// One message: the Arrow IPC header (a flatbuffer), the batch's buffers, or, alone, a control message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Flight's `data_header`: the flatbuffer of an Arrow schema or record batch; empty in a control message.
    pub header: Bytes,
    /// Flight's `app_metadata`: a control message; empty in every other.
    pub metadata: Bytes,
    /// Flight's `data_body`: the buffers of a record batch.
    pub body: Bytes,
}

impl Frame {
    /// A schema or a batch.
    pub(crate) fn arrow(header: impl Into<Bytes>, body: impl Into<Bytes>) -> Self {
        Frame { header: header.into(), metadata: Bytes::new(), body: body.into() }
    }

    /// A control message.
    pub(crate) fn control(metadata: impl Into<Bytes>) -> Self {
        Frame { header: Bytes::new(), metadata: metadata.into(), body: Bytes::new() }
    }

    /// Bytes of header and body: what reports count.
    pub fn bytes(&self) -> u64 {
        (self.header.len() + self.body.len()) as u64
    }

    /// Whether this frame ends its direction.
    pub(crate) fn is_end(&self) -> bool {
        self.header.is_empty() && self.body.is_empty() && self.metadata == super::control::END
    }
}
