//! The bridge from async code to rayon: the runtime's threads never compute.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use crate::psi::Error;

/// Runs `work` on rayon's pool. If the future is dropped, the work runs to its end and its result is
/// dropped with it; a panic comes back as an error (its words stay in this side's own stderr).
pub(crate) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (done, result) = oneshot::channel();
    rayon::spawn(move || {
        let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
    });
    match result.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(Error::internal("a computation panicked")),
        Err(_) => Err(Error::internal("a computation vanished")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_and_the_pool_lives_on() {
        let panicked: Result<(), Error> = compute(|| panic!("on purpose")).await;
        assert!(matches!(panicked, Err(Error::Internal(_))));
        assert_eq!(compute(|| 2 + 2).await, Ok(4));
    }
}
