//! A charged session whose future may be dropped at any moment: by a peer that hangs up, an analyst who cancels, a
//! deadline. Its end is written all the same.

use tokio::runtime::Handle;

use crate::policy::{Budgets, Ended};
use crate::psi::SessionId;

/// Does what a session's end takes, once, unless it was done otherwise: when it is dropped, whatever has dropped it.
pub(super) struct EndGuard(Option<Box<dyn FnOnce() + Send>>);

impl EndGuard {
    /// `end` may block: it runs on a thread for that.
    fn new(end: impl FnOnce() + Send + 'static) -> Self {
        EndGuard(Some(Box::new(end)))
    }

    /// Writes the end of a charged session into the audit; `row` is asked for it then.
    pub(super) fn of_session(
        budgets: Budgets,
        session: SessionId,
        row: impl FnOnce() -> Ended + Send + 'static,
    ) -> Self {
        EndGuard::new(move || {
            if let Err(error) = budgets.ended(session, &row()) {
                tracing::error!(%session, %error, "the session's end is not in the audit");
            }
        })
    }

    /// The session has ended, and that was written.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let Some(end) = self.0.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(end)),
            // No runtime any more: nobody is kept waiting either.
            Err(_) => end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn guard(ends: &Arc<AtomicUsize>) -> EndGuard {
        let ends = Arc::clone(ends);
        EndGuard::new(move || {
            ends.fetch_add(1, Ordering::SeqCst);
        })
    }

    #[tokio::test]
    async fn a_dropped_future_ends_its_session_once_and_an_ended_one_not_again() {
        let ends = Arc::new(AtomicUsize::new(0));
        let held = guard(&ends);
        let waiting = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        assert!(tokio::time::timeout(Duration::from_millis(1), waiting).await.is_err());
        // On a thread of its own: wait for it.
        for _ in 0..1000 {
            if ends.load(Ordering::SeqCst) == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        guard(&ends).disarm();
        assert_eq!(ends.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn without_a_runtime_the_end_is_written_at_once() {
        let ends = Arc::new(AtomicUsize::new(0));
        drop(guard(&ends));
        assert_eq!(ends.load(Ordering::SeqCst), 1);
    }
}
