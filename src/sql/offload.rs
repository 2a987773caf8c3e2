//! The bridge from the engine's tasks to rayon: the runtime's threads never compute.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tokio::sync::oneshot;

use crate::psi::Error;

/// Runs `work` on rayon's pool. If the future is dropped, the work runs to its end and its result is
/// dropped with it; a panic goes on in the task that waits.
pub(super) async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (done, result) = oneshot::channel();
    rayon::spawn(move || {
        let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
    });
    match result.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => Err(Error::Internal("a computation vanished".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::runtime::SpawnedTask;

    #[tokio::test]
    async fn a_panic_reaches_the_task_that_waits_and_the_pool_lives_on() {
        let waiting = SpawnedTask::spawn(off_runtime(|| panic!("on purpose")));
        assert!(waiting.join().await.unwrap_err().is_panic());
        assert_eq!(off_runtime(|| 2 + 2).await, Ok(4));
    }
}
