//! The bridges from async code to threads that may work or wait: the runtime's do neither.
//!
//! | bridge | threads | for | holds its thread for |
//! |---|---|---|---|
//! | [`compute`] | rayon's, one per core | a few frames of one session | some 12 ms of a core |
//! | [`prepare`] | a second pool of as many | a whole table or column: reading, normalising, sorting, joining, drawing noise | seconds |
//! | [`block`] | the runtime's for blocking calls | the books, and whatever else waits for a disk or another process | up to ten seconds |
//!
//! # Why two pools
//! A pool takes its jobs in turn, and each to its end; so does a thread of rayon's that waits for its part of a job. In
//! one pool a session's next frame, 12 ms of work, would stand behind another session's whole table. In two, the
//! operating system shares the cores between a frame and a table: each has a thread per core, so a frame takes at most
//! twice its time while tables are prepared, and the cores are all used when only one of the two has work. Jobs of
//! one pool still take turns: frames with frames, which are short, and tables with tables.
//!
//! # What a dropped future leaves
//! The work runs to its end, and its result is dropped with it. A panic comes back as an error; its words are in
//! this side's own stderr.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use crate::psi::Error;

/// Runs `work`, a few frames' worth, on rayon's own pool.
///
/// # Errors
/// [`Error::Internal`] for a panic.
pub(crate) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (job, result) = reported(work);
    rayon::spawn(job);
    outcome(result).await
}

/// Runs `work`, which may take as long as a whole table does, on the second pool; what it does in parallel stays
/// there.
///
/// # Errors
/// [`Error::Internal`] for a panic.
pub(crate) async fn prepare<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (job, result) = reported(work);
    match second_pool() {
        Some(pool) => pool.spawn(job),
        None => rayon::spawn(job),
    }
    outcome(result).await
}

/// Runs `work`, which waits more than it computes, where waiting holds up nobody.
///
/// # Errors
/// [`Error::Internal`] for a panic.
pub(crate) async fn block<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let (job, result) = reported(work);
    tokio::task::spawn_blocking(job);
    outcome(result).await
}

/// As many threads as rayon's own pool has. Where the system gives no more threads, there is one pool for all.
fn second_pool() -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let build = || {
        let named = ThreadPoolBuilder::new().thread_name(|thread| format!("psi-prepare-{thread}"));
        let built = named.num_threads(rayon::current_num_threads()).build();
        built
            .inspect_err(|error| tracing::warn!(%error, "no threads for a second pool: tables and frames share one"))
            .ok()
    };
    POOL.get_or_init(build).as_ref()
}

type Reported<T> = oneshot::Receiver<std::thread::Result<T>>;

/// `work` as a job that tells how it ended.
fn reported<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> (impl FnOnce() + Send, Reported<T>) {
    let (done, result) = oneshot::channel();
    let job = move || {
        let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
    };
    (job, result)
}

async fn outcome<T>(result: Reported<T>) -> Result<T, Error> {
    match result.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(Error::internal("a computation panicked")),
        Err(_) => Err(Error::internal("a computation vanished")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;
    use crate::transport::tests::Task;

    #[tokio::test]
    async fn a_panic_becomes_an_error_and_the_threads_live_on() {
        let panicked = || -> () { panic!("on purpose") };
        assert!(matches!(compute(panicked).await, Err(Error::Internal(_))));
        assert!(matches!(prepare(panicked).await, Err(Error::Internal(_))));
        assert!(matches!(block(panicked).await, Err(Error::Internal(_))));
        assert_eq!(compute(|| 2 + 2).await, Ok(4));
        assert_eq!(prepare(|| 2 + 2).await, Ok(4));
        assert_eq!(block(|| 2 + 2).await, Ok(4));
    }

    #[tokio::test]
    async fn frames_move_while_every_thread_for_tables_is_busy_and_more_calls_wait_than_there_are_cores() {
        let threads = rayon::current_num_threads();
        // All of them, and this test, meet at its end and not before.
        let end = Arc::new(Barrier::new(2 * threads + 2));
        let meet = || {
            let end = Arc::clone(&end);
            move || {
                end.wait();
            }
        };
        let tables: Vec<_> = (0..threads).map(|_| Task::start(prepare(meet()))).collect();
        let books: Vec<_> = (0..threads + 1).map(|_| Task::start(block(meet()))).collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        for frame in 0..100 {
            assert_eq!(compute(move || frame).await, Ok(frame));
        }
        block(meet()).await.unwrap();
        for job in tables.into_iter().chain(books) {
            job.join().await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_table_s_job_does_in_parallel_stays_off_the_threads_for_frames() {
        let names = || rayon::broadcast(|_| std::thread::current().name().map(str::to_owned));
        let of_tables = prepare(names).await.unwrap();
        assert!(of_tables.iter().flatten().all(|name| name.starts_with("psi-prepare-")), "{of_tables:?}");
        assert_eq!(of_tables.len(), rayon::current_num_threads());
        let of_frames = compute(names).await.unwrap();
        assert!(!of_frames.iter().flatten().any(|name| name.starts_with("psi-prepare-")), "{of_frames:?}");
    }
}
