//! One session at the responder: reads the offer, has it answered, drives the rest.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::psi::{Error, Offer, PeerMisbehaved, Phase, SessionId, hello_schema};

use super::super::channel::{Aborter, BatchReceiver, BatchSender, Channel, Counted, Exchange, Lost};
use super::super::deadlines::{Deadlines, seconds};
use super::super::driver::drive;
use super::super::observer::Totals;
use super::super::offer::read_offer;
use super::super::source::{PeerIdentity, SessionEnded, TableSource};
use super::registry::{End, Joined, Place};

/// Runs one session from its first exchange to its end, which it logs and remembers.
pub(super) async fn respond<S: TableSource + ?Sized>(
    source: Arc<S>,
    own: String,
    peer: PeerIdentity,
    id: SessionId,
    deadlines: Deadlines,
    mut place: Place,
    hello: Joined,
) {
    let began = Instant::now();
    let totals = Totals::new();
    let mut table = String::new();
    let (_, unused) = mpsc::channel(1);
    let mut channel = Responding {
        peer: peer.name.clone(),
        joins: std::mem::replace(&mut place.joins, unused),
        lost: place.lost.clone(),
        hello: None,
        aborter: None,
    };
    // Whether the source still waits to hear of the session's end.
    let mut open = false;
    let ended = |outcome| SessionEnded {
        id,
        outcome,
        sizes: totals.sizes(),
        seconds: began.elapsed().as_secs_f64(),
        bytes_up: totals.bytes_up(),
        bytes_down: totals.bytes_down(),
    };
    let outcome = AssertUnwindSafe(async {
        let offer = channel.read_offer(hello, &own, &peer, id, &deadlines).await?;
        table.clone_from(&offer.question.table);
        let answer = answered(source.answer(&peer, offer), &mut channel.lost, &deadlines);
        let session = answer.await?;
        open = true;
        let session = drive(session, &mut channel, &deadlines, Arc::clone(&totals) as _).await?;
        open = false;
        source.ended(&peer, ended(Ok(session))).await;
        Ok(())
    })
    .catch_unwind()
    .await
    .unwrap_or_else(|_| Err(Error::Internal("answering panicked".to_owned())));
    if let Err(error) = &outcome
        && open
    {
        source.ended(&peer, ended(Err(error))).await;
    }
    let (seconds, up, down) = (began.elapsed().as_secs_f64(), totals.bytes_up(), totals.bytes_down());
    let table = super::super::wire::sanitise(&table);
    match outcome {
        Ok(()) => {
            tracing::info!(peer = peer.name, table, session = %id, seconds, bytes_up = up, bytes_down = down, "session finished");
            place.end(End::Finished);
        }
        Err(error) => {
            tracing::warn!(peer = peer.name, table, session = %id, seconds, bytes_up = up, bytes_down = down, fault = error.fault().name(), %error, "session failed");
            // Has no effect where the driver has told the peer already.
            channel.close(Err(&error)).await;
            place.end(End::Failed(error));
        }
    }
}

/// Waits for the source, not longer than the requester does.
async fn answered<T>(
    answer: impl Future<Output = Result<T, Error>>,
    lost: &mut Lost,
    deadlines: &Deadlines,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        reason = lost.wait() => Err(reason),
        answer = timeout(deadlines.answer, answer) => answer.unwrap_or_else(|_| {
            Err(Error::Environment(format!("the table was not ready within {} s", seconds(deadlines.answer))))
        }),
    }
}

/// The responder's end of one session.
struct Responding {
    peer: String,
    joins: mpsc::Receiver<Joined>,
    lost: Lost,
    /// The exchange of the hello, whose offer has been read.
    hello: Option<(mpsc::Sender<super::super::wire::Frame>, BatchReceiver, Arc<Counted>)>,
    aborter: Option<Aborter>,
}

impl Responding {
    /// Reads the one batch of the requester's hello, and its end.
    async fn read_offer(
        &mut self,
        hello: Joined,
        own: &str,
        peer: &PeerIdentity,
        id: SessionId,
        deadlines: &Deadlines,
    ) -> Result<Offer, Error> {
        let Joined { phase, frames, queue, aborter } = hello;
        self.aborter = Some(aborter);
        let counted = Arc::new(Counted::default());
        let mut receiver = BatchReceiver::new(&self.peer, phase, hello_schema(), frames, Arc::clone(&counted));
        let offer = tokio::select! {
            biased;
            reason = self.lost.wait() => return Err(reason),
            offer = timeout(deadlines.idle, read_offer(&mut receiver, &counted)) => offer
                .unwrap_or_else(|_| Err(PeerMisbehaved::Stalled { phase, seconds: seconds(deadlines.idle) }.into()))?,
        };
        for (field, found, due) in [
            ("session", &offer.session.to_string(), &id.to_string()),
            ("requester", &offer.requester, &peer.name),
            ("responder", &offer.responder, &own.to_owned()),
        ] {
            if found != due {
                let (field, reason) = (field.to_owned(), format!("it is not '{due}'"));
                return Err(PeerMisbehaved::Hello { message: "offer", field, reason }.into());
            }
        }
        self.hello = Some((queue, receiver, counted));
        Ok(offer)
    }
}

#[async_trait]
impl Channel for Responding {
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
        let joined = self.joins.recv().await;
        let Joined { phase: found, frames, queue, aborter } =
            joined.ok_or_else(|| Error::internal("a session's place closed before its end"))?;
        self.aborter = Some(aborter);
        if found != phase {
            let (expected, found) = (phase.to_string(), found.to_string());
            return Err(PeerMisbehaved::PhaseOrder { expected, found }.into());
        }
        let counted = Arc::new(Counted::default());
        Ok(Exchange {
            sender: BatchSender::new(phase, out, queue, Arc::clone(&counted))?,
            receiver: BatchReceiver::new(&self.peer, phase, expect, frames.boxed(), Arc::clone(&counted)),
            counted,
        })
    }

    fn lost(&self) -> Lost {
        self.lost.clone()
    }

    async fn close(&mut self, outcome: Result<(), &Error>) {
        let Err(error) = outcome else { return };
        if let Some(aborter) = self.aborter.take() {
            aborter.abort(error);
        }
        // The requester may be one exchange ahead.
        self.joins.close();
        while let Ok(ahead) = self.joins.try_recv() {
            ahead.aborter.abort(error);
        }
    }
}
