//! Sessions: what `SET`, `CREATE VIEW` and a default schema stick to.
//!
//! A session belongs to one analyst. A call is in the session that its cookie names; without a cookie, in that of
//! its connection, which is new with the connection and ends with it. The first answer of a session sets the cookie,
//! so that a client that keeps cookies goes on with its session over other connections too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::prelude::SessionContext;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::effects::Tables;
use super::error::status;
use super::limits::SqlLimits;
use super::results::Results;
use super::statement::Statements;
use crate::psi::hex_of;
use crate::transport::{Analyst, Line};

/// The cookie's name.
pub(super) const COOKIE: &str = "arrow_flight_session_id";

/// One session.
pub(super) struct Session {
    /// 32 hexadecimal digits, random.
    pub(super) id: String,
    pub(super) owner: Analyst,
    /// Opened when it is first needed: tables are looked at then.
    context: OnceCell<SessionContext>,
    pub(super) statements: Mutex<Statements>,
    pub(super) tables: Mutex<Tables>,
    pub(super) results: Results,
    used: Mutex<Instant>,
    /// The connection that it lives and dies with, until its cookie comes back.
    line: Mutex<Option<Line>>,
}

impl Session {
    pub(super) fn new(id: String, owner: Analyst, line: Option<Line>) -> Arc<Session> {
        Arc::new(Session {
            id,
            owner,
            context: OnceCell::new(),
            statements: Mutex::default(),
            tables: Mutex::default(),
            results: Results::default(),
            used: Mutex::new(Instant::now()),
            line: Mutex::new(line),
        })
    }

    /// The engine's session, opened by `open` the first time.
    pub(super) async fn context<F: Future<Output = Result<SessionContext, Status>>>(
        &self,
        open: impl FnOnce() -> F,
    ) -> Result<SessionContext, Status> {
        self.context.get_or_try_init(open).await.cloned()
    }

    /// Refuses texts beyond what one session keeps.
    pub(super) fn room_for_text(&self, kept: &Statements, more: usize, limits: &SqlLimits) -> Result<(), Status> {
        if kept.bytes() + self.results.text_bytes() + more <= limits.text_bytes_per_session_max {
            return Ok(());
        }
        Err(status(
            Code::ResourceExhausted,
            &format!(
                "the statements, views and results that this session keeps have more than {} bytes of text together: close some",
                limits.text_bytes_per_session_max
            ),
        ))
    }

    /// A table of that name is gone. Its memory comes back when neither a view nor a result can hold its rows.
    pub(super) fn give_up_table(&self, name: &str) {
        locked(&self.tables).drop_table(name);
        self.let_go_of_tables();
    }

    /// Gives back the memory of tables that are gone, where nothing is left that may hold their rows.
    fn let_go_of_tables(&self) {
        let plans = locked(&self.statements).have_plans();
        if !plans && self.results.is_empty() {
            locked(&self.tables).let_go();
        }
    }

    fn touch(&self) {
        *locked(&self.used) = Instant::now();
    }

    /// Whether it has ended by itself.
    fn over(&self, limits: &SqlLimits, now: Instant) -> bool {
        if self.results.running() > 0 {
            return false;
        }
        let gone = locked(&self.line).as_ref().is_some_and(|line| !line.is_open());
        gone || now.duration_since(*locked(&self.used)) >= limits.session_idle
    }
}

/// Locks what is whole after every single operation, so that a panic elsewhere cannot have broken it.
pub(super) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All sessions of a service.
#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<String, Arc<Session>>>,
}

/// The session of a call.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) session: Arc<Session>,
    /// Whether the answer sets its cookie.
    pub(super) fresh: bool,
}

impl Sessions {
    /// The session of a call: that of the cookie, that of the connection, or a new one.
    ///
    /// # Errors
    /// A cookie of no session of this analyst, or too many sessions.
    pub(super) fn of_call(
        &self,
        analyst: &Analyst,
        cookie: Option<&str>,
        line: Option<Line>,
        limits: &SqlLimits,
    ) -> Result<Call, Status> {
        self.sweep(limits);
        let mut open = locked(&self.open);
        let own = |session: &&Arc<Session>| session.owner == *analyst;
        if let Some(cookie) = cookie {
            // Another analyst's cookie is none: the same words. A client whose session has ended begins a new one,
            // since it cannot know that it has: what it would miss, it is told of by name.
            if let Some(session) = open.get(cookie).filter(own) {
                session.touch();
                *locked(&session.line) = None;
                return Ok(Call { session: Arc::clone(session), fresh: false });
            }
        }
        let number = line.as_ref().map(Line::number);
        let of_line =
            |session: &&Arc<Session>| locked(&session.line).as_ref().is_some_and(|line| Some(line.number()) == number);
        if let Some(session) = open.values().filter(own).find(of_line) {
            session.touch();
            return Ok(Call { session: Arc::clone(session), fresh: cookie.is_some() });
        }
        let mine: Vec<_> = open.values().filter(own).cloned().collect();
        if mine.len() >= limits.sessions_per_analyst_max {
            let oldest = mine.iter().filter(|session| session.results.running() == 0).min_by_key(|s| *locked(&s.used));
            let Some(oldest) = oldest else {
                return Err(status(
                    Code::ResourceExhausted,
                    &format!("{} sessions of yours are open and running, as many as may be: close one", mine.len()),
                ));
            };
            tracing::info!(analyst = analyst.name(), "closed a session of an analyst for a new one");
            if let Some(closed) = open.remove(&oldest.id) {
                closed.results.close();
            }
        } else if open.len() >= limits.sessions_max {
            return Err(status(
                Code::ResourceExhausted,
                &format!("{} sessions are open here, as many as may be: try again later", open.len()),
            ));
        }
        let session = Session::new(random_hex()?, analyst.clone(), line);
        open.insert(session.id.clone(), Arc::clone(&session));
        Ok(Call { session, fresh: true })
    }

    /// The sessions of an analyst.
    pub(super) fn of(&self, analyst: &Analyst) -> Vec<Arc<Session>> {
        locked(&self.open).values().filter(|session| session.owner == *analyst).cloned().collect()
    }

    /// Statements that run now: of all, and of one analyst.
    pub(super) fn running(&self, analyst: &Analyst) -> (usize, usize) {
        let open = locked(&self.open);
        open.values().fold((0, 0), |(all, own), session| {
            let running = session.results.running();
            (all + running, own + if session.owner == *analyst { running } else { 0 })
        })
    }

    /// Ends a session and what runs in it.
    pub(super) fn close(&self, session: &Session) {
        locked(&self.open).remove(&session.id);
        session.results.close();
    }

    /// Ends all.
    pub(super) fn close_all(&self) {
        for (_, session) in std::mem::take(&mut *locked(&self.open)) {
            session.results.close();
        }
    }

    /// Ends the sessions and gives up the results that nobody uses any more.
    pub(super) fn sweep(&self, limits: &SqlLimits) {
        let now = Instant::now();
        let mut open = locked(&self.open);
        open.retain(|_, session| {
            session.results.sweep(limits.result_idle, now);
            session.let_go_of_tables();
            let over = session.over(limits, now);
            if over {
                session.results.close();
            }
            !over
        });
    }
}

/// 16 random bytes in hexadecimal: a name that nobody guesses.
pub(super) fn random_hex() -> Result<String, Status> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| status(Code::Internal, &format!("the operating system gives no randomness: {error}")))?;
    Ok(hex_of(&bytes))
}
