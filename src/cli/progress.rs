//! Progress of a run, on a terminal and never in a pipe.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::psi::{Phase, Progress};
use crate::transport::{Observer, PhaseReport};

/// Phases shorter than this are over before anybody could read of them.
const ROWS_SHOWN_MIN: u64 = 1000;

/// Who watches the runs of this process: a bar if stderr is a terminal, else nobody.
pub(super) fn observer() -> Arc<dyn Observer> {
    if std::io::stderr().is_terminal() { Arc::new(Bar::default()) } else { Arc::new(()) }
}

/// One line: phase, rows, rows per second, time remaining.
#[derive(Default)]
struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        // A bar that another thread left half-drawn can still be drawn anew.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Observer for Bar {
    fn phase_opened(&self, phase: Phase, rows_total: u64) {
        if rows_total < ROWS_SHOWN_MIN {
            return;
        }
        self.with(|bar| {
            let style =
                ProgressStyle::with_template("{msg:16} {bar:30} {human_pos}/{human_len} rows, {per_sec}, {eta} left")
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
            let fresh = ProgressBar::with_draw_target(Some(rows_total), ProgressDrawTarget::stderr());
            fresh.set_style(style);
            fresh.set_message(in_words(phase));
            *bar = Some(fresh);
        });
    }

    fn progressed(&self, _: Phase, progress: Progress) {
        self.with(|bar| {
            if let Some(bar) = bar {
                bar.set_position(progress.rows_done);
            }
        });
    }

    fn phase_closed(&self, _: &PhaseReport) {
        self.with(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        });
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.with(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        });
    }
}

fn in_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Hello | Phase::Confirm => "agreeing",
        Phase::Columns => "blinding",
        Phase::Tags => "comparing",
        Phase::Elements(_) | Phase::Replies(_) => "matching",
        Phase::Release => "releasing",
        _ => "summing",
    }
}
