//! The channel that a session runs over: one exchange per phase, batches both ways, bounded buffers.
//!
//! A direction is a queue of at most [`FRAMES_MAX`] encoded frames between the session's driver and the
//! network (or the other side of [`local`](super::local)); who sends waits for room, who receives takes
//! what has come. A direction ends by a control message, never by silence.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::{BoxStream, Fuse};
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};

use crate::psi::{Error, PeerMisbehaved, Phase};

use super::wire::{Control, Decoded, Decoder, Encoder, Frame};

/// Frames of one direction that may wait between the driver and the network: enough to overlap both, and
/// some 4 MB at most.
pub(crate) const FRAMES_MAX: usize = 4;

/// Where the exchanges of one session open.
#[async_trait]
pub trait Channel: Send {
    /// The peer's name, for errors.
    fn peer(&self) -> &str;

    /// Opens the phase's exchange, or joins it when the peer opens it.
    ///
    /// `out` is the schema of what this side sends, `expect` of what the peer sends.
    async fn open(&mut self, phase: Phase, out: SchemaRef, expect: SchemaRef) -> Result<Exchange, Error>;

    /// Tells when, and why, the peer is gone for good, also between exchanges.
    fn lost(&self) -> Lost;

    /// Ends the session and tells the peer how: of an error, its fault and its text. Waits until the peer
    /// has taken note, but not long.
    async fn close(&mut self, outcome: Result<(), &Error>);
}

/// The two directions of one phase.
pub struct Exchange {
    /// This side's direction.
    pub sender: BatchSender,
    /// The peer's.
    pub receiver: BatchReceiver,
    /// Bytes of both.
    pub counted: Arc<Counted>,
}

/// Bytes of an exchange: headers and bodies, as encoded.
#[derive(Debug, Default)]
pub struct Counted {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counted {
    /// Bytes that this side has encoded.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes that this side has read.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Resolves once the peer is gone for good.
#[derive(Debug, Clone)]
pub struct Lost(watch::Receiver<Option<Error>>);

impl Lost {
    pub(crate) fn new() -> (watch::Sender<Option<Error>>, Lost) {
        let (tell, lost) = watch::channel(None);
        (tell, Lost(lost))
    }

    /// Why the peer is gone; never resolves while it is not.
    pub async fn wait(&mut self) -> Error {
        let reason = self.0.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // Nobody is left who could tell.
            None => std::future::pending().await,
        }
    }
}

/// Sends the batches of this side's direction.
pub struct BatchSender {
    encoder: Encoder,
    frames: mpsc::Sender<Frame>,
    counted: Arc<Counted>,
}

impl BatchSender {
    /// Begins a direction: queues its schema.
    pub(crate) fn new(
        phase: Phase,
        schema: SchemaRef,
        frames: mpsc::Sender<Frame>,
        counted: Arc<Counted>,
    ) -> Result<Self, Error> {
        let mut encoder = Encoder::new(phase, schema)?;
        let frame = encoder.schema();
        counted.sent.fetch_add(frame.bytes(), Ordering::Relaxed);
        // A fresh queue has room; where the peer is gone already, the first wait for room says so.
        let _ = frames.try_send(frame);
        Ok(BatchSender { encoder, frames, counted })
    }

    /// Waits until the queue has room, and takes what there is of it: for one message at least, for `most` at most. `None`
    /// once nobody takes messages any more.
    pub async fn room(&mut self, most: usize) -> Option<Room<'_>> {
        let mut permits = vec![self.frames.reserve().await.ok()?];
        while permits.len() < most
            && let Ok(permit) = self.frames.try_reserve()
        {
            permits.push(permit);
        }
        Some(Room { encoder: &mut self.encoder, permits, counted: &self.counted })
    }
}

/// Room for some messages. Dropping it gives back what is left of it.
pub struct Room<'a> {
    encoder: &'a mut Encoder,
    permits: Vec<mpsc::Permit<'a, Frame>>,
    counted: &'a Counted,
}

impl<'a> Room<'a> {
    /// For how many.
    pub fn messages(&self) -> usize {
        self.permits.len()
    }

    /// Encodes and queues a batch.
    ///
    /// # Errors
    /// [`Error::Internal`] where it is none of this direction's, or there is no room left.
    pub fn send(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let permit = self.next()?;
        let frame = self.encoder.batch(batch)?;
        self.counted.sent.fetch_add(frame.bytes(), Ordering::Relaxed);
        permit.send(frame);
        Ok(())
    }

    /// Ends the direction.
    ///
    /// # Errors
    /// [`Error::Internal`] where there is no room left.
    pub fn finish(mut self) -> Result<(), Error> {
        self.next()?.send(Control::end());
        Ok(())
    }

    fn next(&mut self) -> Result<mpsc::Permit<'a, Frame>, Error> {
        self.permits.pop().ok_or_else(|| Error::internal("more messages than there was room for"))
    }
}

/// What came in the peer's direction.
#[derive(Debug)]
pub enum Received {
    /// A batch of the phase's schema.
    Batch(RecordBatch),
    /// The direction's end.
    End,
}

/// Receives the batches of the peer's direction.
pub struct BatchReceiver {
    peer: String,
    phase: Phase,
    decoder: Decoder,
    /// Fused: the end of an offer is read twice.
    frames: Fuse<BoxStream<'static, Result<Frame, Error>>>,
    counted: Arc<Counted>,
    ended: bool,
    /// What came behind batches that were received together, and is still to be told.
    failed: Option<Error>,
}

impl BatchReceiver {
    pub(crate) fn new(
        peer: &str,
        phase: Phase,
        schema: SchemaRef,
        frames: BoxStream<'static, Result<Frame, Error>>,
        counted: Arc<Counted>,
    ) -> Self {
        BatchReceiver {
            peer: peer.to_owned(),
            phase,
            decoder: Decoder::new(phase, schema),
            frames: frames.fuse(),
            counted,
            ended: false,
            failed: None,
        }
    }

    /// Waits for the next batch, or the end, and takes with it what has come behind it already: `most` in all, the end as the
    /// last. May be dropped and called again without losing anything.
    pub async fn receive_some(&mut self, most: usize) -> Result<Vec<Received>, Error> {
        let mut some = vec![self.receive().await?];
        while some.len() < most && matches!(some.last(), Some(Received::Batch(_))) {
            match self.receive().now_or_never() {
                Some(Ok(received)) => some.push(received),
                // Told next time: what came before it comes first.
                Some(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
                None => break,
            }
        }
        Ok(some)
    }

    /// The next batch, or the end. May be dropped and called again without losing anything.
    pub async fn receive(&mut self) -> Result<Received, Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            match self.frames.next().await.transpose()? {
                None if self.ended => return Ok(Received::End),
                None => {
                    return Err(Error::Environment(format!(
                        "{} closed the exchange of phase {} early: it gave up, or its connection was lost",
                        self.peer, self.phase
                    )));
                }
                Some(_) if self.ended => {
                    return Err(PeerMisbehaved::Malformed {
                        phase: self.phase,
                        reason: "a message after the end".to_owned(),
                    }
                    .into());
                }
                Some(frame) => {
                    self.counted.received.fetch_add(frame.bytes(), Ordering::Relaxed);
                    match self.decoder.read(frame)? {
                        Decoded::Schema => {}
                        Decoded::Batch(batch) => return Ok(Received::Batch(batch)),
                        Decoded::Control(Control::End) => self.ended = true,
                        Decoded::Control(Control::Hold) => {
                            return Err(Error::internal("the decoder let a control exchange's message pass"));
                        }
                        Decoded::Control(Control::Abort { fault, reason }) => {
                            return Err(Error::Reported { peer: self.peer.clone(), fault, reason });
                        }
                    }
                }
            }
        }
    }
}

/// What the network takes from a direction.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// The next frame.
    Frame(Frame),
    /// This side gives up: nothing follows.
    Abort(Error),
    /// The direction was dropped before its end: nothing follows.
    Dropped,
}

/// Gives a direction up with a reason, past whatever waits in its queue.
pub(crate) struct Aborter(oneshot::Sender<Error>);

impl Aborter {
    pub(crate) fn abort(self, error: &Error) {
        // Where nobody listens any more the direction has ended already.
        let _ = self.0.send(error.clone());
    }
}

/// The network's end of a direction.
pub(crate) struct OutgoingFrames {
    frames: mpsc::Receiver<Frame>,
    abort: Option<oneshot::Receiver<Error>>,
    done: bool,
}

/// A direction's queue: for the session's driver, for whoever may give it up, for the network.
pub(crate) fn direction() -> (mpsc::Sender<Frame>, Aborter, OutgoingFrames) {
    let (queue, frames) = mpsc::channel(FRAMES_MAX);
    let (abort, aborted) = oneshot::channel();
    (queue, Aborter(abort), OutgoingFrames { frames, abort: Some(aborted), done: false })
}

impl Stream for OutgoingFrames {
    type Item = Outgoing;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Outgoing>> {
        if self.done {
            return Poll::Ready(None);
        }
        if let Some(abort) = &mut self.abort {
            match abort.poll_unpin(context) {
                Poll::Ready(Ok(error)) => {
                    self.done = true;
                    return Poll::Ready(Some(Outgoing::Abort(error)));
                }
                Poll::Ready(Err(_)) => self.abort = None,
                Poll::Pending => {}
            }
        }
        match self.frames.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(frame)) => {
                self.done = frame.is_end();
                Poll::Ready(Some(Outgoing::Frame(frame)))
            }
            // Nothing follows; the reason, if there is one, comes from whoever may give the direction up, and that may be
            // a moment later. Woken by its word, or by its being dropped.
            Poll::Ready(None) if self.abort.is_some() => Poll::Pending,
            Poll::Ready(None) => {
                self.done = true;
                Poll::Ready(Some(Outgoing::Dropped))
            }
        }
    }
}

/// The frames of a direction whose every message, its abort too, travels as a frame.
pub(crate) fn as_frames(frames: OutgoingFrames) -> impl Stream<Item = Frame> + Send + 'static {
    frames.filter_map(|outgoing| {
        std::future::ready(match outgoing {
            Outgoing::Frame(frame) => Some(frame),
            Outgoing::Abort(error) => Some(Control::abort(&error)),
            Outgoing::Dropped => None,
        })
    })
}
