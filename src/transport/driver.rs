//! Runs a session over a channel: awaits, never computes.
//!
//! Per phase it opens the exchange and then, until both directions have ended, takes whatever comes first:
//! room for messages (asks the session for as many), messages (gives them to the session), the peer's loss, a
//! deadline. The session computes off the runtime meanwhile ([`offload`](super::offload)); the network goes on by
//! itself within the queues' bounds. Because inputs are taken whenever they come, two drivers with full queues cannot
//! block each other.
//!
//! # Jobs
//! A session has one job at a time: some frames that it sends, or some that have come. A frame of 4,096 rows is 32
//! blocks of work per column, too few for many cores to share out evenly. So a job is as many frames as there are
//! threads, and at most [`FRAMES_MAX`] (128 blocks), as far as that many have come, or have room. One frame takes a core
//! some 12 ms per column, so a job, too, takes all cores together some 12 ms: sessions that share them take turns of
//! that length, however many cores there are. What waits elsewhere does not grow by it: frames to be sent are
//! computed for room in the queue that is theirs already, and of those that have come a job's are taken from the network's
//! buffers, [`FRAMES_MAX`] in all.
//!
//! Dropping the future of [`drive`] drops session and channel: exchanges close without their end, which
//! the peer notices at once.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::psi::{Error, Fault, Output, PeerMisbehaved, Phase, Role, Session};

use super::channel::{BatchReceiver, BatchSender, Channel, Exchange, FRAMES_MAX, Lost, Received, Room};
use super::deadlines::{Deadlines, seconds};
use super::observer::{Observer, PhaseReport};
use super::offload;

/// How long a broken exchange waits for the peer's own words about it, which come by another stream.
const WORDS_MAX: Duration = Duration::from_millis(500);

/// Runs the session to its end and gives it back, or tells the peer of the error and returns it.
///
/// # Errors
/// The session's own; [`Error::Reported`] with the peer's words; [`PeerMisbehaved::Stalled`] past the idle
/// deadline; [`Error::Environment`] for a lost connection or past the session's deadline.
pub async fn drive<S: Session>(
    session: S,
    channel: &mut dyn Channel,
    deadlines: &Deadlines,
    observer: Arc<dyn Observer>,
) -> Result<S, Error> {
    let mut run = Run {
        peer: channel.peer().to_owned(),
        lost: channel.lost(),
        // An absurdly long deadline is none.
        overdue: Instant::now()
            .checked_add(deadlines.session)
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 30)),
        deadlines: *deadlines,
        observer,
    };
    let mut session = session;
    while let Some(phase) = session.phase() {
        let opened = Instant::now();
        // Schemas and rows beforehand: a session may move between threads, but not be shared by them.
        let (out, expect, rows) = (session.out_schema(), session.in_schema(), session.progress().rows_total);
        run.observer.phase_opened(phase, rows);
        let mut exchange =
            match run.waiting(phase, run.deadlines.idle, channel.open(phase, out, expect)).await.flatten() {
                Ok(exchange) => exchange,
                Err(error) => {
                    // Before the first phase stands there is no other stream to hear from.
                    let error = if phase == Phase::Hello { error } else { run.in_the_peers_words(error).await };
                    channel.close(Err(&error)).await;
                    // Its charge ends with it, in the books.
                    let _ = offload::block(move || drop(session)).await;
                    return Err(error);
                }
            };
        match run.phase(phase, session, &mut exchange, opened).await {
            Ok(advanced) => session = advanced,
            Err(error) => {
                let error = run.in_the_peers_words(error).await;
                // Before the exchange is dropped, so that the reason goes out and not a bare end.
                channel.close(Err(&error)).await;
                return Err(error);
            }
        }
    }
    channel.close(Ok(())).await;
    Ok(session)
}

struct Run {
    peer: String,
    lost: Lost,
    overdue: Instant,
    deadlines: Deadlines,
    observer: Arc<dyn Observer>,
}

/// What a phase waits for.
enum Event<'a> {
    Room(Option<Room<'a>>),
    Came(Result<Vec<Received>, Error>),
}

/// Where a session's call holds up nobody.
#[derive(Clone, Copy)]
enum Work {
    /// A few frames.
    Frames,
    /// Whole columns.
    Columns,
    /// It may wait for the books.
    Waits,
}

/// The most frames of a job.
fn frames_per_job() -> usize {
    rayon::current_num_threads().min(FRAMES_MAX)
}

impl Run {
    /// One phase, up to the opening of the next.
    async fn phase<S: Session>(
        &mut self,
        phase: Phase,
        mut session: S,
        exchange: &mut Exchange,
        opened: Instant,
    ) -> Result<S, Error> {
        let Exchange { sender, receiver, counted } = exchange;
        // The answer to an offer takes as long as the responder reads and prepares its table.
        let patience = match (phase, session.role()) {
            (Phase::Hello, Role::Requester) => self.deadlines.answer.max(self.deadlines.idle),
            _ => self.deadlines.idle,
        };
        let (frames, columns) = match phase {
            Phase::Hello => (Work::Waits, Work::Waits),
            _ => (Work::Frames, Work::Columns),
        };
        let most = frames_per_job();
        let (mut sending, mut receiving, mut nothing_to_send) = (true, true, false);
        while sending || receiving {
            let next = next(sender, sending && !nothing_to_send, receiver, receiving, most);
            match self.waiting(phase, patience, next).await? {
                Event::Room(Some(mut room)) => {
                    let most = room.messages();
                    let (back, outputs) = self.off_runtime(frames, session, move |s| s.poll_outputs(most)).await?;
                    session = back;
                    for output in outputs? {
                        match output {
                            Output::Batch(batch) => room.send(&batch)?,
                            Output::Wait if !receiving => {
                                return Err(Error::internal(format!(
                                    "phase {phase} waits for input after its input's end"
                                )));
                            }
                            Output::Wait => nothing_to_send = true,
                            Output::Done => {
                                room.finish()?;
                                sending = false;
                                break;
                            }
                        }
                    }
                    self.observer.progressed(phase, session.progress());
                }
                Event::Room(None) => return Err(self.why_unsent(phase, receiver).await),
                Event::Came(received) => {
                    nothing_to_send = false;
                    let (batches, ended) = batches_of(received?);
                    if !batches.is_empty() {
                        let (back, taken) = self.off_runtime(frames, session, move |s| s.receive_all(batches)).await?;
                        session = back;
                        taken?;
                        self.observer.progressed(phase, session.progress());
                    }
                    if ended {
                        let (back, taken) = self.off_runtime(columns, session, Session::end_input).await?;
                        session = back;
                        taken?;
                        receiving = false;
                    }
                }
            }
        }
        let rows = session.progress().rows_done;
        let known = session.sizes().len();
        let (session, advanced) = self.off_runtime(columns, session, Session::advance).await?;
        // Before the error: a session that fails by what it saw has seen it.
        if session.sizes().len() > known {
            self.observer.sizes_seen(session.sizes());
        }
        advanced?;
        let (bytes_up, bytes_down) = match session.role() {
            Role::Requester => (counted.sent(), counted.received()),
            Role::Responder => (counted.received(), counted.sent()),
        };
        self.observer.phase_closed(&PhaseReport {
            phase,
            seconds: opened.elapsed().as_secs_f64(),
            rows,
            bytes_up,
            bytes_down,
        });
        Ok(session)
    }

    /// Lets the session work; gives up on it, not on the thread, when the peer is gone or time is up: the call in hand,
    /// a few frames or one column's sort, runs to its end.
    async fn off_runtime<S: Session, T: Send + 'static>(
        &mut self,
        kind: Work,
        mut session: S,
        call: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<(S, T), Error> {
        let work = move || {
            let result = call(&mut session);
            (session, result)
        };
        let work = async move {
            match kind {
                Work::Frames => offload::compute(work).await,
                Work::Columns => offload::prepare(work).await,
                Work::Waits => offload::block(work).await,
            }
        };
        tokio::select! {
            biased;
            result = work => result,
            reason = self.lost.wait() => Err(reason),
            () = sleep_until(self.overdue) => Err(self.too_long()),
        }
    }

    /// Awaits the peer, for so long.
    async fn waiting<T>(
        &mut self,
        phase: Phase,
        patience: Duration,
        what: impl Future<Output = T>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            result = what => Ok(result),
            reason = self.lost.wait() => Err(reason),
            () = sleep_until(self.overdue) => Err(self.too_long()),
            () = tokio::time::sleep(patience) => Err(PeerMisbehaved::Stalled { phase, seconds: seconds(patience) }.into()),
        }
    }

    fn too_long(&self) -> Error {
        Error::Environment(format!(
            "the session took longer than the {} s that this side allows",
            seconds(self.deadlines.session)
        ))
    }

    /// Nobody takes this side's messages any more: the peer's direction says why.
    async fn why_unsent(&self, phase: Phase, receiver: &mut BatchReceiver) -> Error {
        let mut lost = self.lost.clone();
        let error = async {
            loop {
                match receiver.receive().await {
                    Ok(Received::Batch(_)) => {}
                    // It said all that it had to and is gone since: a lost connection, or one that gave up.
                    Ok(Received::End) => return self.stopped(phase),
                    Err(error) => return error,
                }
            }
        };
        tokio::select! {
            biased;
            reason = lost.wait() => reason,
            error = timeout(WORDS_MAX, error) => error.unwrap_or_else(|_| self.stopped(phase)),
        }
    }

    fn stopped(&self, phase: Phase) -> Error {
        Error::Environment(format!("{} stopped taking messages in phase {phase}: its connection was lost", self.peer))
    }

    /// A broken connection is a symptom; the peer's own words, which may come by another stream, are the cause.
    async fn in_the_peers_words(&mut self, error: Error) -> Error {
        match error {
            Error::Environment(_) => match timeout(WORDS_MAX, self.lost.wait()).await {
                Ok(reason) if reason.fault() != Fault::Environment || matches!(reason, Error::Reported { .. }) => {
                    reason
                }
                _ => error,
            },
            error => error,
        }
    }
}

/// The batches, and whether the end came behind them.
fn batches_of(received: Vec<Received>) -> (Vec<RecordBatch>, bool) {
    let mut batches = Vec::with_capacity(received.len());
    for received in received {
        match received {
            Received::Batch(batch) => batches.push(batch),
            Received::End => return (batches, true),
        }
    }
    (batches, false)
}

/// The next thing that can be done.
async fn next<'a>(
    sender: &'a mut BatchSender,
    send: bool,
    receiver: &mut BatchReceiver,
    receive: bool,
    most: usize,
) -> Event<'a> {
    // Fair between the two, so that neither a flood nor a wide queue starves the other direction.
    tokio::select! {
        room = sender.room(most), if send => Event::Room(room),
        received = receiver.receive_some(most), if receive => Event::Came(received),
    }
}
