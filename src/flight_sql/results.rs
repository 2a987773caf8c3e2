//! Results that a ticket stands for: each runs once, is fetched once, and belongs to who asked.
//!
//! ```text
//! waiting ── fetch ──────────────► running, being fetched ── end, error, the caller gone ──► forgotten
//!    └────── poll ──► running ── first rows ──► ready ── fetch ──┘
//! any state ── cancel, or nobody came for it ──► forgotten, and what ran is ended on both sides
//! ```
//!
//! What runs sends its messages into a queue of a few, so that a result that is ready and not fetched waits in the
//! engine and not in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_flight::FlightData;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{Stream, StreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::engine::{Engine, Task};
use super::error::{arrow, engine, status};
use super::output::{messages, plain_batch, plain_schema};
use super::session::locked;

/// Messages of a result that wait between the engine and the network.
const QUEUED_MAX: usize = 4;

/// A statement that is planned and settled: nothing about it changes before it runs.
pub(super) struct Planned {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    pub(super) context: Arc<TaskContext>,
    /// In the types of the wire.
    pub(super) schema: SchemaRef,
    /// Bytes of its statement's text and values.
    pub(super) text_bytes: usize,
}

/// One result.
pub(super) struct Pending {
    pub(super) planned: Planned,
    state: Mutex<State>,
    /// Whether its first rows are there, or its end.
    ready: watch::Sender<bool>,
    /// Its error, for who polls.
    failed: Arc<Mutex<Option<Status>>>,
    cancelled: AtomicBool,
    /// Whether all of it is in the queue, or its error.
    ended: AtomicBool,
    /// Whether its task is over, however it ended.
    over: AtomicBool,
    touched: Mutex<Instant>,
}

type Messages = mpsc::Receiver<Result<FlightData, Status>>;

enum State {
    Waiting,
    Running {
        task: Task,
        messages: Messages,
    },
    /// Whoever fetches holds the messages; the task stays here, so that a cancellation finds it.
    Fetched {
        _task: Task,
    },
    Over,
}

impl Pending {
    fn new(planned: Planned) -> Arc<Pending> {
        Arc::new(Pending {
            planned,
            state: Mutex::new(State::Waiting),
            ready: watch::Sender::new(false),
            failed: Arc::default(),
            cancelled: AtomicBool::default(),
            ended: AtomicBool::default(),
            over: AtomicBool::default(),
            touched: Mutex::new(Instant::now()),
        })
    }

    /// Starts it, unless it runs already.
    pub(super) fn start(self: &Arc<Self>, engine_of: &Engine) -> Result<(), Status> {
        let mut state = locked(&self.state);
        if !matches!(*state, State::Waiting) {
            return Ok(());
        }
        let (queue, messages) = mpsc::channel(QUEUED_MAX);
        let task = engine_of.spawn(run(Arc::clone(self), queue))?;
        *state = State::Running { task, messages };
        Ok(())
    }

    /// Whether it waits to be started.
    pub(super) fn waits(&self) -> bool {
        matches!(*locked(&self.state), State::Waiting)
    }

    fn runs(&self) -> bool {
        // What is over and was not fetched holds no thread.
        !self.over.load(Ordering::Acquire)
            && matches!(*locked(&self.state), State::Running { .. } | State::Fetched { .. })
    }

    /// Waits until it is ready, or for so long.
    pub(super) async fn wait(&self, at_most: Duration) -> Result<bool, Status> {
        let mut ready = self.ready.subscribe();
        let _used = Touch(&self.touched);
        let ready = tokio::time::timeout(at_most, ready.wait_for(|ready| *ready)).await.is_ok_and(|done| done.is_ok());
        if let Some(failed) = locked(&self.failed).clone() {
            return Err(failed);
        }
        if self.cancelled.load(Ordering::Acquire) {
            return Err(self.cut());
        }
        Ok(ready)
    }

    /// Its messages, once.
    fn take(&self) -> Option<Messages> {
        let mut state = locked(&self.state);
        match std::mem::replace(&mut *state, State::Over) {
            State::Running { task, messages } => {
                *state = State::Fetched { _task: task };
                Some(messages)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// Ends it. What it has sent stays sent, what it has cost stays spent.
    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        // Dropped outside of the lock: the plan's own drops take their time.
        let over = std::mem::replace(&mut *locked(&self.state), State::Over);
        drop(over);
        self.ready.send_replace(true);
    }

    fn cut(&self) -> Status {
        if self.cancelled.load(Ordering::Acquire) {
            return status(
                Code::Cancelled,
                "the statement was cancelled; a private query that was running is ended on both sides, and its charge stays",
            );
        }
        status(Code::Internal, "the statement ended by a fault of this program; the server's log says more")
    }
}

/// Notes the end of a wait as a use, also of one that was given up.
struct Touch<'a>(&'a Mutex<Instant>);

impl Drop for Touch<'_> {
    fn drop(&mut self) {
        *locked(self.0) = Instant::now();
    }
}

/// Tells that a result's task is over, in a panic too.
struct Over(Arc<Pending>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
        self.0.ready.send_replace(true);
    }
}

/// Runs a result to its end.
async fn run(pending: Arc<Pending>, queue: mpsc::Sender<Result<FlightData, Status>>) {
    let _over = Over(Arc::clone(&pending));
    let schema = Arc::clone(&pending.planned.schema);
    let rows = execute_stream(Arc::clone(&pending.planned.plan), Arc::clone(&pending.planned.context));
    let (ready, failed, to) = (pending.ready.clone(), Arc::clone(&pending.failed), Arc::clone(&schema));
    let rows = match rows {
        Ok(rows) => rows.left_stream(),
        Err(error) => stream::iter([Err(error)]).right_stream(),
    };
    let rows = rows.map(move |batch| {
        let batch = batch
            .map_err(|error| engine(&error))
            .and_then(|batch| plain_batch(&batch, &to).map_err(arrow))
            .inspect_err(|error| *locked(&failed) = Some(error.clone()));
        ready.send_replace(true);
        batch
    });
    let mut all = messages(schema, rows);
    while let Some(message) = all.next().await {
        let failed = message.is_err();
        if queue.send(message).await.is_err() || failed {
            break;
        }
    }
    // Before the queue closes, so that who reads its end can tell it from a cut.
    pending.ended.store(true, Ordering::Release);
}

/// The results of one session, and what runs in it without one.
#[derive(Default)]
pub(super) struct Results {
    pending: Mutex<HashMap<String, Arc<Pending>>>,
    /// Statements without rows that run now.
    effects: AtomicUsize,
    closed: watch::Sender<bool>,
}

/// A statement without rows that runs: counted until it is dropped.
pub(super) struct RunningEffect(Arc<super::session::Session>);

impl RunningEffect {
    /// Counts one more of that session's.
    pub(super) fn of(session: &Arc<super::session::Session>) -> Self {
        session.results.effects.fetch_add(1, Ordering::AcqRel);
        RunningEffect(Arc::clone(session))
    }

    /// Runs it to its end, or to its session's.
    pub(super) async fn run<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let mut closed = self.0.results.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(status(
                Code::Cancelled,
                "its session was closed; a private query that was running is ended on both sides, and its charge stays",
            )),
            done = work => done,
        }
    }
}

impl Drop for RunningEffect {
    fn drop(&mut self) {
        self.0.results.effects.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Results {
    /// Keeps a planned statement under the name of its ticket.
    ///
    /// # Errors
    /// Where too many wait.
    pub(super) fn keep(&self, name: String, planned: Planned, at_most: usize) -> Result<Arc<Pending>, Status> {
        let mut pending = locked(&self.pending);
        if pending.len() >= at_most {
            return Err(status(
                Code::ResourceExhausted,
                &format!(
                    "{} results of this session wait to be fetched, as many as may: fetch or cancel some",
                    pending.len()
                ),
            ));
        }
        let kept = Pending::new(planned);
        pending.insert(name, Arc::clone(&kept));
        Ok(kept)
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Pending>> {
        locked(&self.pending).get(name).cloned()
    }

    /// How many run, statements without rows included.
    pub(super) fn running(&self) -> usize {
        let pending = locked(&self.pending).values().filter(|pending| pending.runs()).count();
        pending + self.effects.load(Ordering::Acquire)
    }

    /// Whether nothing waits or runs.
    pub(super) fn is_empty(&self) -> bool {
        locked(&self.pending).is_empty() && self.effects.load(Ordering::Acquire) == 0
    }

    /// Bytes of text of all that waits or runs.
    pub(super) fn text_bytes(&self) -> usize {
        locked(&self.pending).values().map(|pending| pending.planned.text_bytes).sum()
    }

    /// Ends one; whether there was one that had not been fetched to its end.
    pub(super) fn cancel(&self, name: &str) -> bool {
        let found = locked(&self.pending).remove(name);
        found.inspect(|pending| pending.cancel()).is_some()
    }

    /// Ends all.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
        let all = std::mem::take(&mut *locked(&self.pending));
        all.values().for_each(|pending| pending.cancel());
    }

    /// Gives up what nobody came for.
    pub(super) fn sweep(&self, idle: Duration, now: Instant) {
        let mut given_up = Vec::new();
        locked(&self.pending).retain(|_, pending| {
            let fetched = matches!(*locked(&pending.state), State::Fetched { .. });
            // Who waits for it uses it.
            let used = fetched || pending.ready.receiver_count() > 0;
            let old = !used && now.duration_since(*locked(&pending.touched)) >= idle;
            if old {
                given_up.push(Arc::clone(pending));
            }
            !old
        });
        given_up.iter().for_each(|pending| pending.cancel());
    }
}

/// The messages of the result `name` of `session`, which has been started; `None` where somebody fetches it already.
/// Dropped midway, they end what runs.
pub(super) fn fetch(
    session: Arc<super::session::Session>,
    name: String,
    pending: Arc<Pending>,
) -> Option<impl Stream<Item = Result<FlightData, Status>> + Send + 'static> {
    let messages = pending.take()?;
    let forget = Forget { session, name };
    Some(stream::unfold(Some((messages, pending, forget)), |fetching| async move {
        let (mut messages, pending, forget) = fetching?;
        match messages.recv().await {
            Some(Ok(message)) => Some((Ok(message), Some((messages, pending, forget)))),
            Some(Err(error)) => Some((Err(error), None)),
            None if pending.ended.load(Ordering::Acquire) => None,
            None => Some((Err(pending.cut()), None)),
        }
    }))
}

/// Forgets a result when whoever fetches it has ended, or is gone.
struct Forget {
    session: Arc<super::session::Session>,
    name: String,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.session.results.cancel(&self.name);
    }
}

/// A plan's schema in the types of the wire, and what runs it.
pub(super) fn planned(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>, text_bytes: usize) -> Planned {
    let schema = plain_schema(&plan.schema());
    Planned { plan, context, schema, text_bytes }
}
