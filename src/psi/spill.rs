//! A session's memory: how much it takes, and files for what it need not hold there.
//!
//! This room opens no file. A session is handed a [`Spill`], or none, and then writes the columns that it keeps for long and
//! reads rarely into what it gives; their bytes in memory are those of one batch at a time.

use std::sync::Arc;

use super::{Error, Role};

/// Makes files for one session.
///
/// What comes into them are elements as the peer sent them, blinded by it: no identifier of either side, and nothing that
/// follows from this side's rows. Which of them are read later, and in which order, follows from what has matched; only who
/// watches this machine's disk could see that, and it is for the implementer to keep others from it.
pub trait Spill: Send + Sync {
    /// An empty file, which is deleted when it is dropped.
    ///
    /// # Errors
    /// [`Error::Environment`], in words that the peer may read: no path of this machine.
    fn create(&self) -> Result<Box<dyn SpillFile>, Error>;
}

/// A file that grows at its end and is read anywhere. It may block.
pub trait SpillFile: Send + Sync {
    /// Writes `bytes` behind all that was written before.
    ///
    /// # Errors
    /// As of [`Spill::create`]; the file is not used again then.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Reads as many bytes as there is room for, from `offset` on. They have all been written. From several threads at once.
    ///
    /// # Errors
    /// As of [`Spill::create`].
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error>;
}

/// The rows of both tables on the wire, fillers and dummies included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRows {
    /// This side's.
    pub own: u64,
    /// The peer's, as it announced them.
    pub peer: u64,
}

/// Finds room for a requester's session: in memory (`None`), or with a [`Spill`]. Called once the peer's answer has been
/// checked and before anything else leaves; an error of it ends the session there. It may block.
pub type FindRoom = Box<dyn FnOnce(SessionRows) -> Result<Option<Arc<dyn Spill>>, Error> + Send>;

/// What a session's memory follows from: public numbers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Which side this is.
    pub role: Role,
    /// Identifier columns, K.
    pub columns: u64,
    /// Parts of the requester's table.
    pub parts: u64,
    /// This side's value columns: its aggregates, times labels at the responder.
    pub values: u64,
    /// Rows on the wire.
    pub rows: SessionRows,
    /// Bytes of identifiers that this session alone holds: a copy that a filter has made. Those of a table that is kept
    /// between questions, or of the requester's local relation, are set aside already.
    pub identifiers: u64,
}

impl Footprint {
    /// The most bytes that the session takes at once, some megabytes apart that do not grow with the tables.
    ///
    /// | bytes | a row of the peer's | an own row |
    /// |---|---|---|
    /// | one column | 40: tag 16, its sort 16, matched 2 | 8, 16 per value; the larger of 16 per part (responder) and what stands below |
    /// | several | 56: matched 2, order 4, tags or search for repeats 32, their sort 16 | |
    /// | each column but the first, not spilled | 32 | |
    /// | responder | | 40 for tags asked for, their sort, marks |
    /// | requester | 16 per part, if that is more | 32 for the search for repeats; 32 for padded elements, not spilled |
    ///
    /// Stages follow one another, so it is the largest that counts; [`Footprint::identifiers`] come to it.
    pub fn bytes(&self, spilled: bool) -> u64 {
        let Footprint { role, columns, parts, values, rows, identifiers } = *self;
        let several = columns > 1;
        let later = if spilled { 0 } else { 32 * columns.saturating_sub(1) };
        let peer_matching = if several { 56 + later } else { 40 };
        let (peer, own_stages) = match role {
            Role::Responder => (peer_matching, (16 * parts).max(40)),
            Role::Requester => {
                let padded = if spilled { 32 } else { 64 };
                (peer_matching.max(16 * parts + 8), if several { padded } else { 0 })
            }
        };
        let own = own_stages.saturating_add(16 * values).saturating_add(8);
        rows.peer.saturating_mul(peer).saturating_add(rows.own.saturating_mul(own)).saturating_add(identifiers)
    }

    /// Whether the session takes less memory with a [`Spill`] than without.
    pub fn can_spill(&self) -> bool {
        self.columns > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(role: Role, columns: u64, rows: u64) -> Footprint {
        Footprint { role, columns, parts: 1, values: 1, rows: SessionRows { own: rows, peer: rows }, identifiers: 0 }
    }

    #[test]
    fn a_person_of_either_table_takes_at_most_a_hundred_bytes_and_sixty_for_each_further_identifier() {
        for role in [Role::Requester, Role::Responder] {
            for columns in 1..=8 {
                for (own, peer) in [(1, 0), (0, 1), (1, 1), (1, 1000), (1000, 1)] {
                    let rows = SessionRows { own, peer };
                    let bytes = Footprint { rows, ..of(role, columns, 0) }.bytes(false);
                    let most = (own + peer) * (100 + 60 * (columns - 1));
                    assert!(bytes <= most, "{role:?}, {columns} columns, {own} own, {peer} of the peer's: {bytes}");
                }
            }
        }
    }

    #[test]
    fn ten_million_against_ten_million_by_any_number_of_identifiers_are_within_two_gibibytes_when_spilled() {
        for role in [Role::Requester, Role::Responder] {
            for columns in 1..=8 {
                let session = of(role, columns, 10_000_000);
                assert!(session.bytes(true) < 2 << 30, "{role:?}: {} bytes", session.bytes(true));
            }
        }
        assert!(of(Role::Requester, 4, 10_000_000).bytes(false) > 2 << 30);
    }

    #[test]
    fn spilling_takes_off_what_lies_on_the_disk_and_helps_from_the_second_column_on() {
        for columns in 1..=8 {
            let spared = |role| of(role, columns, 100).bytes(false) - of(role, columns, 100).bytes(true);
            assert_eq!(spared(Role::Responder), 100 * 32 * (columns - 1));
            assert_eq!(spared(Role::Requester), 100 * (32 * (columns - 1) + if columns > 1 { 32 } else { 0 }));
            assert_eq!(of(Role::Requester, columns, 100).can_spill(), columns > 1);
        }
    }

    #[test]
    fn no_number_that_a_peer_announces_overflows() {
        let most = Footprint { parts: 1000, values: 1024, ..of(Role::Responder, 8, u64::MAX) };
        assert_eq!(most.bytes(false), u64::MAX);
    }
}
