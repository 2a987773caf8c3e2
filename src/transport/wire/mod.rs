//! What travels: frames (one Arrow message each), their strict reading, control messages, paths, and the
//! map between errors and gRPC statuses. No sockets here: `local` and `flight` move the same frames.

mod codec;
mod control;
mod frame;
mod path;
mod schema;
mod status;

pub(crate) use codec::{Decoded, Decoder, Encoder};
pub(crate) use control::{Control, sanitise};
pub use frame::Frame;
pub use path::VERSION_PATH;
pub(crate) use path::{Step, session_path, share_path, share_table, step};
pub(crate) use status::{PARTY_KEY, from_status, to_status};

/// The most bytes of one message that either side accepts: gRPC's usual limit, set explicitly on both ends.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The most bytes of one batch that this side sends. The rest up to [`MESSAGE_BYTES_MAX`] is for the header
/// and protobuf's framing.
pub(crate) const BATCH_BYTES_MAX: usize = 3 << 20;

/// The most rows that one batch may announce, whatever its columns: sixteen times the sessions' fixed framing.
pub(crate) const BATCH_ROWS_MAX: usize = 65_536;
