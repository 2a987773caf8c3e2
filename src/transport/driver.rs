//! Runs a session over a channel: awaits, never computes.
//!
//! Per phase it opens the exchange and then, until both directions have ended, takes whatever comes first:
//! room for a message (asks the session for one), a message (gives it to the session), the peer's loss, a
//! deadline. The session computes on rayon's pool meanwhile; the network goes on by itself within the
//! queues' bounds. Because inputs are taken whenever they come, two drivers with full queues cannot block
//! each other.
//!
//! Dropping the future of [`drive`] drops session and channel: exchanges close without their end, which
//! the peer notices at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::psi::{Error, Fault, Output, PeerMisbehaved, Phase, Role, Session};

use super::channel::{BatchReceiver, BatchSender, Channel, Exchange, Lost, Received, Room};
use super::compute::compute;
use super::deadlines::{Deadlines, seconds};
use super::observer::{Observer, PhaseReport};

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
    Came(Result<Received, Error>),
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
        let (mut sending, mut receiving, mut nothing_to_send) = (true, true, false);
        while sending || receiving {
            match self.waiting(phase, patience, next(sender, sending && !nothing_to_send, receiver, receiving)).await? {
                Event::Room(Some(room)) => {
                    let (back, output) = self.off_runtime(session, Session::poll_output).await?;
                    session = back;
                    match output? {
                        Output::Batch(batch) => {
                            room.send(&batch)?;
                            self.observer.progressed(phase, session.progress());
                        }
                        Output::Wait if !receiving => {
                            return Err(Error::internal(format!(
                                "phase {phase} waits for input after its input's end"
                            )));
                        }
                        Output::Wait => nothing_to_send = true,
                        Output::Done => {
                            room.finish();
                            sending = false;
                        }
                    }
                }
                Event::Room(None) => return Err(self.why_unsent(phase, receiver).await),
                Event::Came(received) => {
                    nothing_to_send = false;
                    match received? {
                        Received::Batch(batch) => {
                            let (back, taken) = self.off_runtime(session, move |s| s.receive(batch)).await?;
                            session = back;
                            taken?;
                            self.observer.progressed(phase, session.progress());
                        }
                        Received::End => {
                            let (back, taken) = self.off_runtime(session, Session::end_input).await?;
                            session = back;
                            taken?;
                            receiving = false;
                        }
                    }
                }
            }
        }
        let rows = session.progress().rows_done;
        let known = session.sizes().len();
        let (session, advanced) = self.off_runtime(session, Session::advance).await?;
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

    /// Lets the session compute; gives up on it, not on the thread, when the peer is gone or time is up.
    async fn off_runtime<S: Session, T: Send + 'static>(
        &mut self,
        mut session: S,
        call: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<(S, T), Error> {
        let work = compute(move || {
            let result = call(&mut session);
            (session, result)
        });
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

/// The next thing that can be done.
async fn next<'a>(sender: &'a mut BatchSender, send: bool, receiver: &mut BatchReceiver, receive: bool) -> Event<'a> {
    // Fair between the two, so that neither a flood nor a wide queue starves the other direction.
    tokio::select! {
        room = sender.room(), if send => Event::Room(room),
        received = receiver.receive(), if receive => Event::Came(received),
    }
}
