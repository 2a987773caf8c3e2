//! The Flight service of the peer protocol, mountable by itself or behind Flight SQL on one port.

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use chrono::Utc;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::psi::{Error, PeerMisbehaved, Phase, SessionId};

use super::super::channel::direction;
use super::super::deadlines::seconds;
use super::super::source::{PeerIdentity, SharedTable, TableSource};
use super::super::tls::Pins;
use super::super::wire::{Control, Frame, Step, VERSION_PATH, sanitise, share_table, step, to_status};
use super::connections::Owner;
use super::incoming::Wire;
use super::registry::{End, Joined, Registry, Running};
use super::server::ServerLimits;
use super::{exchange, identity, responding, shares};

/// The peer protocol as a Flight service: `DoExchange`, `ListFlights`, `GetFlightInfo`, `GetSchema`.
///
/// [`PeerServer::serve`](super::PeerServer::serve) serves it by itself; whoever serves another Flight service
/// on the same port delegates these four methods to it.
pub struct PeerFlight<S: ?Sized> {
    pub(super) own: Arc<str>,
    pub(super) source: Arc<S>,
    pub(super) limits: ServerLimits,
    pub(super) registry: Arc<Registry>,
    /// Whose certificates are known; without TLS, none.
    pub(super) pins: Option<Arc<Pins>>,
}

impl<S: ?Sized> Clone for PeerFlight<S> {
    fn clone(&self) -> Self {
        PeerFlight {
            own: Arc::clone(&self.own),
            source: Arc::clone(&self.source),
            limits: self.limits,
            registry: Arc::clone(&self.registry),
            pins: self.pins.clone(),
        }
    }
}

type Responses<T> = BoxStream<'static, Result<T, Status>>;

impl<S: TableSource + ?Sized> PeerFlight<S> {
    /// Who calls: a known peer, whose connection this now is.
    async fn identify(&self, metadata: &MetadataMap, wire: Option<&Wire>) -> Result<PeerIdentity, Error> {
        let peer = match &self.pins {
            None => identity::read(metadata)?,
            Some(pins) => {
                let (own, pins, metadata) = (Arc::clone(&self.own), Arc::clone(pins), metadata.clone());
                // A call without a connection of ours came by none that proves anything.
                let certificate = wire.and_then(|wire| wire.certificate.clone());
                let reading = tokio::task::spawn_blocking(move || {
                    identity::certified(&own, &pins, certificate.as_deref(), &metadata, Utc::now())
                });
                reading.await.map_err(Error::internal)??
            }
        };
        if !self.source.knows(&peer) {
            return Err(Error::Refused(format!(
                "{} knows no peer '{}': its operator would have to add it to [[peer]]",
                self.own, peer.name
            )));
        }
        if let Some(wire) = wire {
            wire.slot.claim(Owner::Peer(peer.name.clone()))?;
        }
        Ok(peer)
    }

    /// The status of a call that is refused, which is logged.
    fn refused(error: &Error, wire: Option<&Wire>) -> Status {
        let from = wire.map(|wire| tracing::field::display(wire.from));
        tracing::warn!(from, fault = error.fault().name(), %error, "call refused");
        to_status(error)
    }

    async fn shared(&self, peer: &PeerIdentity) -> Result<Vec<SharedTable>, Error> {
        let deadline = self.limits.deadlines.answer;
        timeout(deadline, self.source.shares(peer)).await.unwrap_or_else(|_| {
            Err(Error::Environment(format!("the shares were not read within {} s", seconds(deadline))))
        })
    }

    async fn shared_table(&self, peer: &PeerIdentity, descriptor: &FlightDescriptor) -> Result<SharedTable, Error> {
        let table = share_table(&descriptor.path)?;
        let found = self.shared(peer).await?.into_iter().find(|shared| shared.terms.table == table);
        // The same words whether the table exists or not.
        found.ok_or_else(|| {
            Error::Refused(format!("{} shares no table '{}' with {}", self.own, sanitise(table), peer.name))
        })
    }

    async fn exchange(&self, request: Request<Streaming<FlightData>>) -> Result<Responses<FlightData>, Error> {
        let peer = self.identify(request.metadata(), request.extensions().get()).await?;
        let mut messages = request.into_inner();
        // A requester opens an exchange with its first message in hand.
        let patience = self.limits.handshake.min(self.limits.deadlines.idle);
        let first = timeout(patience, messages.message());
        let first = match first.await {
            Ok(Ok(Some(first))) => first,
            Ok(Ok(None)) => {
                return Err(Error::Incompatible(format!(
                    "an exchange of {VERSION_PATH} begins with a message that names its path"
                )));
            }
            Ok(Err(status)) => return Err(super::super::wire::from_status(&status, &peer.name, Some(Phase::Hello))),
            Err(_) => {
                return Err(PeerMisbehaved::Stalled { phase: Phase::Hello, seconds: seconds(patience) }.into());
            }
        };
        let path = first.flight_descriptor.as_ref().map_or(&[][..], |descriptor| &descriptor.path);
        let (id, step) = step(path)?;
        let first = exchange::first_frame(first);
        match step {
            Step::Control => self.control(&peer, id, &first, messages),
            Step::Phase(phase) => self.phase(peer, id, phase, first, messages).await,
        }
    }

    async fn phase(
        &self,
        peer: PeerIdentity,
        id: SessionId,
        phase: Phase,
        first: Frame,
        messages: Streaming<FlightData>,
    ) -> Result<Responses<FlightData>, Error> {
        let (queue, aborter, out) = direction();
        let rest = exchange::frames(messages, &peer.name, Some(phase));
        let frames = stream::once(std::future::ready(Ok(first))).chain(rest).boxed();
        let joined = Joined { phase, frames, queue, aborter };
        if phase == Phase::Hello {
            let place = self.registry.begin(id, peer.clone())?;
            let (source, own) = (Arc::clone(&self.source), self.own.to_string());
            let responding = responding::respond(source, own, peer, id, self.limits.deadlines, place, joined);
            self.registry.spawn(responding);
        } else {
            self.registry.find(id, &peer, &phase.to_string())?.join(joined).await?;
        }
        Ok(exchange::responses(out))
    }

    /// The exchange that is open as long as the session.
    fn control(
        &self,
        peer: &PeerIdentity,
        id: SessionId,
        first: &Frame,
        messages: Streaming<FlightData>,
    ) -> Result<Responses<FlightData>, Error> {
        let running = self.registry.find(id, peer, "control")?;
        let (queue, aborter, out) = direction();
        if Control::read(first) != Some(Control::Hold) {
            return Err(PeerMisbehaved::Malformed {
                phase: Phase::Hello,
                reason: "the control exchange does not begin with 'hold'".to_owned(),
            }
            .into());
        }
        let end = running.control()?;
        let frames = exchange::frames(messages, &peer.name, None);
        let peer = peer.name.clone();
        self.registry.spawn(async move {
            match listen(&running, &peer, frames, end).await {
                End::Finished => {
                    let _ = queue.try_send(Control::end());
                }
                End::Failed(error) => aborter.abort(&error),
            }
        });
        Ok(exchange::responses(out))
    }
}

/// Waits until the session or its requester ends; a requester that is gone ends the session.
async fn listen(
    running: &Running,
    peer: &str,
    mut frames: BoxStream<'static, Result<Frame, Error>>,
    mut end: watch::Receiver<Option<End>>,
) -> End {
    let ended = async {
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(End::Finished),
            Err(_) => End::Finished,
        }
    };
    tokio::pin!(ended);
    let reason = tokio::select! {
        biased;
        end = &mut ended => return end,
        frame = frames.next() => match frame {
            Some(Ok(frame)) => match Control::read(&frame) {
                Some(Control::End) => return ended.await,
                Some(Control::Abort { fault, reason }) => Error::Reported { peer: peer.to_owned(), fault, reason },
                Some(Control::Hold) | None => {
                    PeerMisbehaved::Malformed { phase: Phase::Hello, reason: "the control exchange carries a message".to_owned() }.into()
                }
            },
            Some(Err(reason)) => reason,
            None => Error::Environment(format!("{peer} closed the session early: it gave up, or its connection was lost")),
        },
    };
    running.lose(reason);
    ended.await
}

/// A method that is not part of the peer protocol.
fn no_method<T>(method: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!(
        "{method} is not part of {VERSION_PATH}: a peer of datafusion-psi answers DoExchange, ListFlights, GetFlightInfo and GetSchema"
    )))
}

#[tonic::async_trait]
impl<S: TableSource + ?Sized> FlightService for PeerFlight<S> {
    type HandshakeStream = Responses<HandshakeResponse>;
    type ListFlightsStream = Responses<FlightInfo>;
    type DoGetStream = Responses<FlightData>;
    type DoPutStream = Responses<PutResult>;
    type DoActionStream = Responses<arrow_flight::Result>;
    type ListActionsStream = Responses<ActionType>;
    type DoExchangeStream = Responses<FlightData>;

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        let wire = request.extensions().get::<Wire>().cloned();
        let listed = async {
            let peer = self.identify(request.metadata(), wire.as_ref()).await?;
            if request.get_ref().expression != VERSION_PATH {
                // Names the versions.
                share_table(&[String::from_utf8_lossy(&request.get_ref().expression).into_owned()])?;
            }
            self.shared(&peer).await?.iter().map(shares::flight_info).collect::<Result<Vec<_>, Error>>()
        };
        let listed = listed.await.map_err(|error| Self::refused(&error, wire.as_ref()))?;
        Ok(Response::new(stream::iter(listed.into_iter().map(Ok)).boxed()))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let wire = request.extensions().get::<Wire>().cloned();
        let answer = async {
            let peer = self.identify(request.metadata(), wire.as_ref()).await?;
            shares::flight_info(&self.shared_table(&peer, request.get_ref()).await?)
        };
        answer.await.map(Response::new).map_err(|error| Self::refused(&error, wire.as_ref()))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let wire = request.extensions().get::<Wire>().cloned();
        let answer = async {
            let peer = self.identify(request.metadata(), wire.as_ref()).await?;
            shares::schema_result(&self.shared_table(&peer, request.get_ref()).await?)
        };
        answer.await.map(Response::new).map_err(|error| Self::refused(&error, wire.as_ref()))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let wire = request.extensions().get::<Wire>().cloned();
        self.exchange(request).await.map(Response::new).map_err(|error| Self::refused(&error, wire.as_ref()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        no_method("Handshake")
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        no_method("PollFlightInfo")
    }

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        no_method("DoGet")
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        no_method("DoPut")
    }

    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        no_method("DoAction")
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        no_method("ListActions")
    }
}
