//! Tests of channel, driver, `local` and `flight` with a session that computes nothing.

mod codec;
mod faults;
mod flight;
mod identity;
mod limits;
mod local;
mod proxy;
mod secured;
mod speed;
mod toy;

/// A task that ends with whoever holds it.
pub(super) struct Task<T>(tokio::task::JoinSet<T>);

impl<T: Send + 'static> Task<T> {
    pub(super) fn start(task: impl Future<Output = T> + Send + 'static) -> Self {
        let mut set = tokio::task::JoinSet::new();
        set.spawn(task);
        Task(set)
    }

    pub(super) async fn join(mut self) -> T {
        self.0.join_next().await.expect("it was started").expect("it neither panicked nor was aborted")
    }
}
