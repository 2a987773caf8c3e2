//! The runtime that analysts' statements run on: one of their own, so that neither planning (which waits for the
//! ledger, the accountant and peers) nor computing ever holds up the threads that answer peers.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;
use tonic::{Code, Status};

use crate::psi::Error;

use super::error::status;

/// The runtime. Dropped, it ends everything that runs on it, without waiting.
pub(super) struct Engine(Option<Runtime>);

/// A task that ends when this is dropped.
pub(super) struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Engine {
    /// One thread per core.
    ///
    /// # Errors
    /// [`Error::Environment`] where no threads can be started.
    pub(super) fn start() -> Result<Engine, Error> {
        let runtime = Builder::new_multi_thread().enable_all().thread_name("analysts").build();
        let runtime = runtime.map_err(|error| {
            Error::Environment(format!("the threads for analysts' statements cannot be started: {error}"))
        })?;
        Ok(Engine(Some(runtime)))
    }

    fn runtime(&self) -> Result<&Runtime, Status> {
        // It is taken in `drop` alone.
        self.0.as_ref().ok_or_else(|| status(Code::Internal, "the engine has stopped"))
    }

    /// Starts `work`, which goes on until it ends or the task is dropped.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<Task, Status> {
        Ok(Task(self.runtime()?.spawn(work).abort_handle()))
    }

    /// Runs `work` there and waits for it; if the one who waits is gone, it ends.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> Result<T, Status> {
        let task = self.runtime()?.spawn(work);
        let _ends = Task(task.abort_handle());
        task.await.unwrap_or_else(|error| {
            if error.is_panic() {
                tracing::error!(%error, "a statement of an analyst panicked");
            }
            Err(status(Code::Internal, "the statement ended by a fault of this program; the server's log says more"))
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Waiting here would block whichever runtime drops it.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    /// Tells when it is dropped.
    struct Told(Option<oneshot::Sender<()>>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.take().map(|tell| tell.send(()));
        }
    }

    #[tokio::test]
    async fn work_ends_with_the_one_who_waits_and_a_panic_is_a_status() {
        let engine = Engine::start().unwrap();
        let (tell, ended) = oneshot::channel();
        let held = Told(Some(tell));
        let waiting = engine.run(async move {
            let _held = held;
            std::future::pending::<Result<(), Status>>().await
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
        ended.await.unwrap();
        let failed = engine.run::<()>(async { panic!("on purpose") }).await.unwrap_err();
        assert!(failed.code() == Code::Internal && failed.message().contains("log"), "{failed}");
        assert_eq!(engine.run(async { Ok(7) }).await.unwrap(), 7);
    }
}
