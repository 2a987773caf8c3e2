//! How long to wait for what.

use std::time::Duration;

/// The waits of one side. Each bounds *waiting*: the time that this side computes never counts as a stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until the peer next sends or accepts a message, or opens the next phase: past it, the peer stalls.
    /// Has to cover what an honest peer computes between two messages, the batches that wait in its
    /// buffers (some 4 MB) and the sorting between two phases included.
    pub idle: Duration,
    /// Until the answer to an offer, or the list of shares, comes: the peer reads and prepares a table for it.
    pub answer: Duration,
    /// For the whole session, computing included.
    pub session: Duration,
    /// Until the peer has taken note of a session's end: a courtesy, so short.
    pub close: Duration,
}

impl Default for Deadlines {
    /// 10 s to connect, 60 s between messages, 10 min for an answer, 1 h for a session, 1 s to part.
    fn default() -> Self {
        Deadlines {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            answer: Duration::from_secs(600),
            session: Duration::from_secs(3600),
            close: Duration::from_secs(1),
        }
    }
}

/// Whole seconds, rounded up, for sentences: a deadline of 50 ms is not "0 s".
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
