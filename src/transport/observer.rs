//! What a run tells those who watch: progress bars, EXPLAIN ANALYZE, logs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::psi::{Phase, Progress};

/// Watches one session. Calls come from the driver's task: they must be quick.
pub trait Observer: Send + Sync {
    /// A phase is open; `rows_total` are the rows that both directions will carry.
    fn phase_opened(&self, phase: Phase, rows_total: u64) {
        let _ = (phase, rows_total);
    }

    /// A batch was sent or received.
    fn progressed(&self, phase: Phase, progress: Progress) {
        let _ = (phase, progress);
    }

    /// The noisy numbers of matches that the session knows by now: called whenever there is one more.
    fn sizes_seen(&self, sizes: &[u64]) {
        let _ = sizes;
    }

    /// A phase has closed.
    fn phase_closed(&self, report: &PhaseReport) {
        let _ = report;
    }
}

/// Watches nothing.
impl Observer for () {}

/// What one phase took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhaseReport {
    /// The phase.
    pub phase: Phase,
    /// Wall time from its opening to the next phase's, in seconds.
    pub seconds: f64,
    /// Rows of both directions.
    pub rows: u64,
    /// Bytes from requester to responder: headers and bodies, as encoded.
    pub bytes_up: u64,
    /// Bytes from responder to requester.
    pub bytes_down: u64,
}

/// Adds up a session's bytes, and keeps its sizes.
#[derive(Default)]
pub(crate) struct Totals {
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    sizes: Mutex<Vec<u64>>,
}

impl Totals {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Totals::default())
    }

    pub(crate) fn bytes_up(&self) -> u64 {
        self.bytes_up.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_down(&self) -> u64 {
        self.bytes_down.load(Ordering::Relaxed)
    }

    pub(crate) fn sizes(&self) -> Vec<u64> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Totals {
    fn sizes_seen(&self, sizes: &[u64]) {
        sizes.clone_into(&mut self.sizes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn phase_closed(&self, report: &PhaseReport) {
        self.bytes_up.fetch_add(report.bytes_up, Ordering::Relaxed);
        self.bytes_down.fetch_add(report.bytes_down, Ordering::Relaxed);
    }
}
