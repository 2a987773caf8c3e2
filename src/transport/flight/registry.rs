//! The sessions that a server runs, and the names of those that it ran.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::BoxStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::psi::{Error, PeerMisbehaved, Phase, SessionId};

use super::super::channel::{Aborter, Lost};
use super::super::source::PeerIdentity;
use super::super::wire::Frame;
use super::server::ServerLimits;

/// An exchange that the requester has opened, for the session to take up.
pub(super) struct Joined {
    pub(super) phase: Phase,
    pub(super) frames: BoxStream<'static, Result<Frame, Error>>,
    pub(super) queue: mpsc::Sender<Frame>,
    pub(super) aborter: Aborter,
}

/// How a session ended, as far as its peer is told.
#[derive(Debug, Clone)]
pub(super) enum End {
    Finished,
    Failed(Error),
}

/// One running session, as its exchanges see it.
pub(super) struct Running {
    peer: PeerIdentity,
    joins: mpsc::Sender<Joined>,
    lost: watch::Sender<Option<Error>>,
    end: watch::Sender<Option<End>>,
    controlled: AtomicBool,
}

impl Running {
    /// Hands an exchange to the session; the requester may be one exchange ahead and no further.
    pub(super) async fn join(&self, joined: Joined) -> Result<(), Error> {
        let found = joined.phase.to_string();
        let order = |expected: &str| PeerMisbehaved::PhaseOrder { expected: expected.to_owned(), found }.into();
        match self.joins.try_send(joined) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(order("the end of the phases before")),
            // It is ending at this moment: with which reason?
            Err(TrySendError::Closed(_)) => match self.end.subscribe().wait_for(Option::is_some).await.as_deref() {
                Ok(Some(End::Failed(error))) => Err(error.clone()),
                _ => Err(order("nothing, the session having finished,")),
            },
        }
    }

    /// Takes the control exchange; a session has one.
    pub(super) fn control(&self) -> Result<watch::Receiver<Option<End>>, Error> {
        if self.controlled.swap(true, Ordering::Relaxed) {
            let (expected, found) = ("a phase".to_owned(), "a second control exchange".to_owned());
            return Err(PeerMisbehaved::PhaseOrder { expected, found }.into());
        }
        Ok(self.end.subscribe())
    }

    /// The session cannot go on. The first reason stays.
    pub(super) fn lose(&self, reason: Error) {
        self.lost.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(reason);
            }
            first
        });
    }
}

/// What a session's task holds; dropping it, in a panic too, ends the session.
pub(super) struct Place {
    registry: Arc<Registry>,
    id: SessionId,
    running: Arc<Running>,
    pub(super) joins: mpsc::Receiver<Joined>,
    pub(super) lost: Lost,
    end: Option<End>,
}

impl Place {
    pub(super) fn end(mut self, end: End) {
        self.end = Some(end);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let end = self
            .end
            .take()
            .unwrap_or_else(|| End::Failed(Error::Internal("the session's task was given up".to_owned())));
        let mut sessions = self.registry.sessions();
        sessions.running.remove(&self.id);
        sessions.remember(self.id, self.running.peer.clone(), end.clone(), self.registry.remembered_max);
        let left = sessions.running.len();
        drop(sessions);
        self.running.end.send_replace(Some(end));
        self.registry.count.send_replace(left);
    }
}

/// All sessions of a server.
pub(super) struct Registry {
    sessions: Mutex<Sessions>,
    tasks: Mutex<JoinSet<()>>,
    count: watch::Sender<usize>,
    own: String,
    running_max: usize,
    running_per_peer_max: usize,
    remembered_max: usize,
}

#[derive(Default)]
struct Sessions {
    running: HashMap<SessionId, Arc<Running>>,
    ended: HashMap<SessionId, (PeerIdentity, End)>,
    order: VecDeque<SessionId>,
    closing: bool,
}

impl Sessions {
    fn remember(&mut self, id: SessionId, peer: PeerIdentity, end: End, at_most: usize) {
        while self.order.len() >= at_most.max(1) {
            if let Some(oldest) = self.order.pop_front() {
                self.ended.remove(&oldest);
            }
        }
        self.order.push_back(id);
        self.ended.insert(id, (peer, end));
    }
}

impl Registry {
    pub(super) fn new(own: &str, limits: &ServerLimits) -> Arc<Self> {
        let (count, _) = watch::channel(0);
        Arc::new(Registry {
            sessions: Mutex::default(),
            tasks: Mutex::default(),
            count,
            own: own.to_owned(),
            running_max: limits.sessions_max,
            running_per_peer_max: limits.sessions_per_peer_max,
            remembered_max: limits.remembered_max,
        })
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Nothing panics while it holds the lock; were it to, the maps would still be whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session: its name must be new, and there must be room.
    pub(super) fn begin(self: &Arc<Self>, id: SessionId, peer: PeerIdentity) -> Result<Place, Error> {
        let mut sessions = self.sessions();
        if sessions.closing {
            return Err(self.stopping());
        }
        if sessions.running.contains_key(&id) || sessions.ended.contains_key(&id) {
            return Err(PeerMisbehaved::Replayed(id.to_string()).into());
        }
        if sessions.running.len() >= self.running_max {
            return Err(Error::Environment(format!(
                "{} runs {} sessions already, as many as it may; try again later",
                self.own, self.running_max
            )));
        }
        let its = sessions.running.values().filter(|running| running.peer.name == peer.name).count();
        if its >= self.running_per_peer_max {
            return Err(Error::Environment(format!(
                "{} runs {its} sessions with {} already, as many as it may; try again later",
                self.own, peer.name
            )));
        }
        // One exchange may wait while the session still computes the phase before.
        let (joins, joined) = mpsc::channel(1);
        let (tell, lost) = Lost::new();
        let (end, _) = watch::channel(None);
        let running = Arc::new(Running { peer, joins, lost: tell, end, controlled: AtomicBool::new(false) });
        sessions.running.insert(id, Arc::clone(&running));
        let count = sessions.running.len();
        drop(sessions);
        self.count.send_replace(count);
        Ok(Place { registry: Arc::clone(self), id, running, joins: joined, lost, end: None })
    }

    /// Runs a session's task, and holds it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Forgets those that have ended.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// The running session of that name and peer.
    pub(super) fn find(&self, id: SessionId, peer: &PeerIdentity, found: &str) -> Result<Arc<Running>, Error> {
        let sessions = self.sessions();
        if let Some(running) = sessions.running.get(&id).filter(|running| running.peer == *peer) {
            return Ok(Arc::clone(running));
        }
        let order = |expected: &str| {
            Err(PeerMisbehaved::PhaseOrder { expected: expected.to_owned(), found: found.to_owned() }.into())
        };
        match sessions.ended.get(&id).filter(|(owner, _)| owner == peer) {
            // Another peer's session is as unknown as none.
            None => order("hello, for a session unknown here,"),
            Some((_, End::Finished)) => order("nothing, the session having finished,"),
            Some((_, End::Failed(error))) => Err(error.clone()),
        }
    }

    /// Ends all sessions, begins none any more.
    pub(super) fn stop(&self) {
        let mut sessions = self.sessions();
        sessions.closing = true;
        for running in sessions.running.values() {
            running.lose(self.stopping());
        }
    }

    fn stopping(&self) -> Error {
        Error::Environment(format!("{} is shutting down", self.own))
    }

    /// Resolves when no session runs.
    pub(super) async fn idle(&self) {
        // The registry owns the sender: it cannot close before this returns.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> PeerIdentity {
        PeerIdentity { name: name.to_owned(), certificate: None }
    }

    fn registry(running_max: usize, remembered_max: usize) -> Arc<Registry> {
        let limits = ServerLimits {
            sessions_max: running_max,
            sessions_per_peer_max: 2,
            remembered_max,
            ..ServerLimits::default()
        };
        Registry::new("advertiser", &limits)
    }

    fn id(n: u8) -> SessionId {
        SessionId([n; 16])
    }

    #[test]
    fn a_name_is_refused_while_its_session_runs_and_after_it_ended() {
        let registry = registry(4, 4);
        let place = registry.begin(id(1), peer("publisher")).unwrap();
        let replayed =
            |who: &str| matches!(registry.begin(id(1), peer(who)), Err(Error::Peer(PeerMisbehaved::Replayed(_))));
        assert!(replayed("publisher") && replayed("other"));
        place.end(End::Finished);
        assert!(replayed("publisher") && replayed("other"));
    }

    #[test]
    fn running_and_remembered_sessions_are_bounded() {
        let registry = registry(2, 2);
        let first = registry.begin(id(1), peer("publisher")).unwrap();
        let second = registry.begin(id(2), peer("publisher")).unwrap();
        assert!(matches!(registry.begin(id(3), peer("publisher")), Err(Error::Environment(_))));
        drop((first, second));
        for n in 3..200 {
            registry.begin(id(n), peer("publisher")).unwrap().end(End::Finished);
            let sessions = registry.sessions();
            assert!(sessions.ended.len() <= 2 && sessions.order.len() <= 2 && sessions.running.is_empty());
        }
    }

    #[test]
    fn one_peer_does_not_take_all_places() {
        let registry = registry(4, 4);
        let places =
            (registry.begin(id(1), peer("publisher")).unwrap(), registry.begin(id(2), peer("publisher")).unwrap());
        let words = registry.begin(id(3), peer("publisher")).err().unwrap().to_string();
        assert!(words.contains("2 sessions with publisher") && words.contains("later"), "{words}");
        let other = registry.begin(id(3), peer("other")).unwrap();
        drop(places);
        assert!(registry.begin(id(4), peer("publisher")).is_ok());
        drop(other);
    }

    #[test]
    fn a_session_belongs_to_the_certificate_that_began_it() {
        let registry = registry(2, 2);
        let with = |der: &[u8]| PeerIdentity { certificate: Some(der.into()), ..peer("publisher") };
        let _place = registry.begin(id(1), with(b"one")).unwrap();
        assert!(registry.find(id(1), &with(b"one"), "columns").is_ok());
        for other in [with(b"two"), peer("publisher")] {
            assert!(registry.find(id(1), &other, "columns").is_err());
        }
    }

    #[test]
    fn another_peers_session_looks_like_none() {
        let registry = registry(2, 2);
        let unknown = registry.find(id(9), &peer("other"), "columns").err().unwrap();
        let place = registry.begin(id(1), peer("publisher")).unwrap();
        assert!(registry.find(id(1), &peer("publisher"), "columns").is_ok());
        assert_eq!(registry.find(id(1), &peer("other"), "columns").err().unwrap(), unknown);
        place.end(End::Failed(Error::Refused("no".to_owned())));
        assert_eq!(registry.find(id(1), &peer("other"), "columns").err().unwrap(), unknown);
        let told = registry.find(id(1), &peer("publisher"), "columns").err().unwrap();
        assert_eq!(told, Error::Refused("no".to_owned()));
    }

    #[test]
    fn stopping_loses_all_sessions_and_begins_none() {
        let registry = registry(2, 2);
        let place = registry.begin(id(1), peer("publisher")).unwrap();
        registry.stop();
        assert!(matches!(&*place.running.lost.borrow(), Some(Error::Environment(_))));
        assert!(matches!(registry.begin(id(2), peer("publisher")), Err(Error::Environment(_))));
    }
}
