//! The same session in one process: the same encoder, the same bytes, no sockets.
//!
//! For tests and simulations: a hook sees every frame of both directions in its encoded form and may
//! change, drop, repeat or delay it, or cut the connection; a [`Recording`] keeps them all, so that two runs
//! can be compared frame by frame.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::sync::{mpsc, watch};

use crate::psi::{Error, Offer, PeerMisbehaved, Phase, hello_schema};

use super::channel::{
    Aborter, BatchReceiver, BatchSender, Channel, Counted, Exchange, Lost, OutgoingFrames, as_frames, direction,
};
use super::offer::read_offer;
use super::wire::{Frame, sanitise};

/// Which way a frame travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From requester to responder.
    Up,
    /// From responder to requester.
    Down,
}

/// A frame on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its direction.
    pub direction: Direction,
    /// Its phase.
    pub phase: Phase,
    /// Its position in its direction of its phase, from 0 (the schema).
    pub index: u64,
    /// Its bytes; a hook may change them.
    pub frame: Frame,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, as the hook left it.
    Deliver,
    /// It does not arrive.
    Drop,
    /// It arrives twice.
    Repeat,
    /// It arrives later.
    Delay(Duration),
    /// Neither it nor anything after it arrives, in either direction, and both sides notice.
    Cut,
}

/// Decides over each frame.
pub type Hook = Arc<dyn Fn(&mut Message) -> Fate + Send + Sync>;

/// Every frame that passed, as it left its sender.
#[derive(Debug, Clone, Default)]
pub struct Recording(Arc<Mutex<Vec<Message>>>);

impl Recording {
    /// An empty recording.
    pub fn new() -> Self {
        Recording::default()
    }

    /// A hook that records and delivers.
    pub fn hook(&self) -> Hook {
        let messages = Arc::clone(&self.0);
        Arc::new(move |message| {
            messages.lock().unwrap_or_else(PoisonError::into_inner).push(message.clone());
            Fate::Deliver
        })
    }

    /// What passed one way, in its order.
    pub fn messages(&self, direction: Direction) -> Vec<Message> {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().filter(|message| message.direction == direction).cloned().collect()
    }
}

/// The two ends of a session within one process: the requester's, the responder's.
pub fn pair(requester: &str, responder: &str, hook: Option<Hook>) -> (LocalChannel, LocalChannel) {
    let (meet, met) = mpsc::channel(1);
    let (tell_requester, requester_lost) = Lost::new();
    let (tell_responder, responder_lost) = Lost::new();
    let line = Arc::new(Line { hook, tell_requester, tell_responder });
    let end = |own: &str, peer: &str, lost, meeting| LocalChannel {
        own: own.to_owned(),
        peer: peer.to_owned(),
        lost,
        meeting,
        line: Arc::clone(&line),
        aborter: None,
        hello: None,
        closed: false,
    };
    (
        end(requester, responder, requester_lost, Meeting::Opens(meet)),
        end(responder, requester, responder_lost, Meeting::Joins(met)),
    )
}

/// One end of a session within one process.
pub struct LocalChannel {
    own: String,
    peer: String,
    lost: Lost,
    meeting: Meeting,
    line: Arc<Line>,
    aborter: Option<Aborter>,
    hello: Option<(mpsc::Sender<Frame>, BatchReceiver, Arc<Counted>)>,
    closed: bool,
}

enum Meeting {
    Opens(mpsc::Sender<Opened>),
    Joins(mpsc::Receiver<Opened>),
}

/// The responder's half of an exchange that the requester has opened.
struct Opened {
    phase: Phase,
    up: BoxStream<'static, Result<Frame, Error>>,
    queue: mpsc::Sender<Frame>,
    aborter: Aborter,
}

/// What both ends share.
struct Line {
    hook: Option<Hook>,
    tell_requester: watch::Sender<Option<Error>>,
    tell_responder: watch::Sender<Option<Error>>,
}

impl Line {
    fn cut(&self) {
        let reason = Error::Environment("the connection was cut".to_owned());
        tell(&self.tell_requester, reason.clone());
        tell(&self.tell_responder, reason);
    }
}

/// The first reason stays.
fn tell(who: &watch::Sender<Option<Error>>, reason: Error) {
    who.send_if_modified(|known| {
        let first = known.is_none();
        if first {
            *known = Some(reason);
        }
        first
    });
}

#[async_trait]
impl Channel for LocalChannel {
    fn peer(&self) -> &str {
        &self.peer
    }

    async fn open(&mut self, phase: Phase, out: SchemaRef, expect: SchemaRef) -> Result<Exchange, Error> {
        if let Some((queue, receiver, counted)) = self.hello.take() {
            return Ok(Exchange {
                sender: BatchSender::new(phase, out, queue, Arc::clone(&counted))?,
                receiver,
                counted,
            });
        }
        let gone = || Error::Environment(format!("{} is gone", self.peer));
        let (queue, incoming) = match &mut self.meeting {
            Meeting::Opens(meet) => {
                let (up_queue, up_aborter, up) = direction();
                let (down_queue, down_aborter, down) = direction();
                let up = through(&self.line, Direction::Up, phase, up).boxed();
                meet.send(Opened { phase, up, queue: down_queue, aborter: down_aborter }).await.map_err(|_| gone())?;
                self.aborter = Some(up_aborter);
                (up_queue, through(&self.line, Direction::Down, phase, down).boxed())
            }
            Meeting::Joins(met) => joined(met, &self.peer, phase, &mut self.aborter).await?,
        };
        let counted = Arc::new(Counted::default());
        Ok(Exchange {
            sender: BatchSender::new(phase, out, queue, Arc::clone(&counted))?,
            receiver: BatchReceiver::new(&self.peer, phase, expect, incoming, Arc::clone(&counted)),
            counted,
        })
    }

    fn lost(&self) -> Lost {
        self.lost.clone()
    }

    async fn close(&mut self, outcome: Result<(), &Error>) {
        self.closed = true;
        if let Err(error) = outcome {
            if let Some(aborter) = self.aborter.take() {
                aborter.abort(error);
            }
            let reason = sanitise(&error.to_string());
            self.tell_peer(Error::Reported { peer: self.own.clone(), fault: error.fault(), reason });
        }
    }
}

/// Takes up the exchange that the requester has opened.
async fn joined(
    met: &mut mpsc::Receiver<Opened>,
    peer: &str,
    phase: Phase,
    aborter: &mut Option<Aborter>,
) -> Result<(mpsc::Sender<Frame>, BoxStream<'static, Result<Frame, Error>>), Error> {
    let opened = met.recv().await.ok_or_else(|| Error::Environment(format!("{peer} is gone")))?;
    *aborter = Some(opened.aborter);
    if opened.phase != phase {
        let (expected, found) = (phase.to_string(), opened.phase.to_string());
        return Err(PeerMisbehaved::PhaseOrder { expected, found }.into());
    }
    Ok((opened.queue, opened.up))
}

impl LocalChannel {
    /// At the responder's end, before its session exists: reads the offer that the session will answer.
    pub async fn offer(&mut self) -> Result<Offer, Error> {
        let Meeting::Joins(met) = &mut self.meeting else {
            return Err(Error::internal("the requester's end has no offer to read"));
        };
        let (queue, frames) = joined(met, &self.peer, Phase::Hello, &mut self.aborter).await?;
        let counted = Arc::new(Counted::default());
        let mut receiver = BatchReceiver::new(&self.peer, Phase::Hello, hello_schema(), frames, Arc::clone(&counted));
        let mut lost = self.lost.clone();
        let offer = tokio::select! {
            offer = read_offer(&mut receiver, &counted) => offer?,
            reason = lost.wait() => return Err(reason),
        };
        self.hello = Some((queue, receiver, counted));
        Ok(offer)
    }

    fn tell_peer(&self, reason: Error) {
        match self.meeting {
            Meeting::Opens(_) => tell(&self.line.tell_responder, reason),
            Meeting::Joins(_) => tell(&self.line.tell_requester, reason),
        }
    }
}

impl Drop for LocalChannel {
    fn drop(&mut self) {
        if !self.closed {
            self.tell_peer(Error::Environment(format!("{} closed the session early", self.own)));
        }
    }
}

/// A direction's frames after the hook.
fn through(
    line: &Arc<Line>,
    direction: Direction,
    phase: Phase,
    frames: OutgoingFrames,
) -> impl Stream<Item = Result<Frame, Error>> + Send + 'static {
    struct Way {
        frames: std::pin::Pin<Box<dyn Stream<Item = Frame> + Send>>,
        line: Arc<Line>,
        index: u64,
        again: VecDeque<Frame>,
    }
    let way = Way { frames: Box::pin(as_frames(frames)), line: Arc::clone(line), index: 0, again: VecDeque::new() };
    futures::stream::unfold(way, move |mut way| async move {
        loop {
            if let Some(frame) = way.again.pop_front() {
                return Some((Ok(frame), way));
            }
            let frame = way.frames.next().await?;
            let Some(hook) = &way.line.hook else { return Some((Ok(frame), way)) };
            let mut message = Message { direction, phase, index: way.index, frame };
            way.index += 1;
            match hook(&mut message) {
                Fate::Deliver => {}
                Fate::Drop => continue,
                Fate::Repeat => way.again.push_back(message.frame.clone()),
                Fate::Delay(time) => tokio::time::sleep(time).await,
                Fate::Cut => {
                    way.line.cut();
                    return None;
                }
            }
            return Some((Ok(message.frame), way));
        }
    })
}
