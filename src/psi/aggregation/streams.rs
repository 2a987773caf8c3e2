//! Both directions of a phase of several instances, one after the other, each cut into batches of its own.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::super::frame::{Inbound, Outbound, binary_schema, check_schema};
use super::{PeerMisbehaved, Phase};

/// What this side sends in a phase: each instance's batches, one instance after the other.
pub(super) struct Sending {
    pub(super) schema: SchemaRef,
    pub(super) legs: Vec<Outbound>,
    /// The instance that is being sent.
    pub(super) at: usize,
}

impl Default for Sending {
    fn default() -> Self {
        Sending { schema: binary_schema(&[]), legs: Vec::new(), at: 0 }
    }
}

impl Sending {
    /// The instance and the rows of the next batch; `None` after the last.
    pub(super) fn next_rows(&mut self) -> Option<(usize, Range<usize>)> {
        while let Some(leg) = self.legs.get_mut(self.at) {
            if let Some(rows) = leg.next_rows() {
                return Some((self.at, rows));
            }
            self.at += 1;
        }
        None
    }

    pub(super) fn is_done(&self) -> bool {
        self.legs.iter().all(Outbound::is_done)
    }
}

/// What the peer sends in a phase, in the same way.
pub(super) struct Receiving {
    pub(super) phase: Phase,
    pub(super) schema: SchemaRef,
    pub(super) legs: Vec<Inbound>,
    pub(super) at: usize,
    pub(super) ended: bool,
}

impl Receiving {
    pub(super) fn nothing(phase: Phase) -> Self {
        Receiving { phase, schema: binary_schema(&[]), legs: Vec::new(), at: 0, ended: false }
    }

    pub(super) fn total(&self) -> u64 {
        self.legs.iter().map(Inbound::total).sum()
    }

    /// Checks the next batch: the instance that it is for, and its number of rows.
    pub(super) fn accept(&mut self, batch: &RecordBatch) -> Result<(usize, usize), PeerMisbehaved> {
        while self.legs.get(self.at).is_some_and(|leg| leg.seen() == leg.total()) {
            self.at += 1;
        }
        match self.legs.get_mut(self.at) {
            Some(leg) if !self.ended => Ok((self.at, leg.accept(batch)?.len())),
            _ => {
                check_schema(self.phase, &self.schema, batch)?;
                Err(PeerMisbehaved::TooMany { phase: self.phase, expected: self.total() })
            }
        }
    }

    pub(super) fn end(&mut self) -> Result<(), PeerMisbehaved> {
        let (expected, found) = (self.total(), self.legs.iter().map(Inbound::seen).sum());
        if expected != found {
            return Err(PeerMisbehaved::Truncated { phase: self.phase, expected, found });
        }
        self.ended = true;
        Ok(())
    }
}
