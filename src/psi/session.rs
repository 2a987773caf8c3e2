//! The seam between a session and whoever moves its messages: no I/O, no clock, no async.
//!
//! Method kinds and their order, as a driver needs them:
//! - *getters*: [`Session::phase`], [`Session::out_schema`], [`Session::in_schema`], [`Session::progress`],
//!   [`Session::sizes`].
//! - *outputs*: [`Session::poll_output`]; call it whenever the channel has room, until it says
//!   [`Output::Done`]. [`Output::Wait`] means: nothing before the next input. With room for several,
//!   [`Session::poll_outputs`] computes them side by side.
//! - *inputs*: [`Session::receive`] for each batch of the peer's direction, or [`Session::receive_all`] for several
//!   that have come, then one [`Session::end_input`] when the peer ends it. Inputs are always accepted, so two
//!   drivers with bounded buffers cannot block each other.
//! - *advance*: [`Session::advance`], once both directions of a phase have ended; the phase after it
//!   then is open, or the session has finished.
//!
//! An async driver calls none of the last three on its runtime, and each kind where it holds up nobody:
//! - in the hello, all of them may *wait* for what the session was handed ([`ChainCheck`](super::ChainCheck),
//!   [`FindRoom`](super::FindRoom), the keeper of its [`Reservation`](crate::dp::Reservation)), and none computes much;
//! - later, outputs and inputs compute on the curve, in parallel and for a bounded time per batch;
//! - later, `end_input` and `advance` shuffle, sort and compare whole columns.
//!
//! How many batches a call gives or takes changes none of them, nor their order, nor which error ends the session.
//! After an error a session stays failed.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Error, Phase, SessionId};

/// Which of the two roles a session plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs the SQL, opens the exchanges, receives the aggregates. Its direction is *up*.
    Requester,
    /// Serves a table. Its direction is *down*.
    Responder,
}

/// What [`Session::poll_output`] has.
#[derive(Debug)]
pub enum Output {
    /// The next batch of this direction.
    Batch(RecordBatch),
    /// Nothing before the next input.
    Wait,
    /// This direction of the phase has ended.
    Done,
}

/// How far a phase has come, in rows of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows sent and received so far.
    pub rows_done: u64,
    /// Rows that will have been sent and received at the phase's end.
    pub rows_total: u64,
}

/// One party's half of a run, as a machine that takes batches and gives batches.
pub trait Session: Send + 'static {
    /// This party's role.
    fn role(&self) -> Role;
    /// The session's name.
    fn id(&self) -> SessionId;
    /// The phase that is open; `None` once the session has finished.
    fn phase(&self) -> Option<Phase>;
    /// The schema of what this side sends in the open phase (also when it sends no row).
    fn out_schema(&self) -> SchemaRef;
    /// The schema of what the peer sends in the open phase.
    fn in_schema(&self) -> SchemaRef;
    /// The next batch to send in the open phase.
    fn poll_output(&mut self) -> Result<Output, Error>;
    /// The next outputs, `most` at most and one at least: what [`poll_output`](Self::poll_output) would give one after
    /// the other, up to the first that is no batch. An error takes the place of all of them.
    fn poll_outputs(&mut self, most: usize) -> Result<Vec<Output>, Error> {
        let mut outputs = vec![self.poll_output()?];
        while outputs.len() < most && matches!(outputs.last(), Some(Output::Batch(_))) {
            outputs.push(self.poll_output()?);
        }
        Ok(outputs)
    }
    /// Takes a batch of the peer's direction; checks schema, rows and content.
    fn receive(&mut self, batch: RecordBatch) -> Result<(), Error>;
    /// Takes several, in their order: as [`receive`](Self::receive) would one after the other, up to the first error.
    fn receive_all(&mut self, batches: Vec<RecordBatch>) -> Result<(), Error> {
        batches.into_iter().try_for_each(|batch| self.receive(batch))
    }
    /// The peer ended its direction of the phase; an error if rows are missing.
    fn end_input(&mut self) -> Result<(), Error>;
    /// Closes the phase after both directions have ended, and opens the next.
    fn advance(&mut self) -> Result<(), Error>;
    /// How far the open phase has come.
    fn progress(&self) -> Progress;
    /// The noisy number of matches of each column and part that this side has seen so far, dummies included: of column 1
    /// each of the requester's parts', then of column 2, …. A failed session still tells, so that its side can note what was revealed. None, for a session that matches nothing.
    fn sizes(&self) -> &[u64] {
        &[]
    }
}
