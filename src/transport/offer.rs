//! The responder's first step: the transport reads the offer itself, since the session that answers it does not
//! exist before.

use crate::psi::{Error, Offer, PeerMisbehaved, Phase};

use super::channel::{BatchReceiver, Counted, Received};

/// The most bytes of an offer: its longest part, a filter, is bounded by 64 KiB.
const OFFER_BYTES_MAX: u64 = 256 * 1024;

/// Reads the one batch of the requester's hello, and its end: the receiver then says [`Received::End`] again, to the
/// session's driver.
pub(crate) async fn read_offer(receiver: &mut BatchReceiver, counted: &Counted) -> Result<Offer, Error> {
    let phase = Phase::Hello;
    let Received::Batch(batch) = receiver.receive().await? else {
        return Err(PeerMisbehaved::Truncated { phase, expected: 1, found: 0 }.into());
    };
    if counted.received() > OFFER_BYTES_MAX {
        let reason = format!("an offer of {} bytes, {OFFER_BYTES_MAX} are allowed", counted.received());
        return Err(PeerMisbehaved::Malformed { phase, reason }.into());
    }
    match receiver.receive().await? {
        Received::End => Offer::from_batch(&batch),
        Received::Batch(_) => Err(PeerMisbehaved::TooMany { phase, expected: 1 }.into()),
    }
}
