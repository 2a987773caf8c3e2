//! SQL over data that two parties will not show each other.
//!
//! A *peer* is another organisation; the tables that it shares appear as a schema of the default catalog. A query that
//! joins a local relation with such a table and asks for `PRIVATE_INTERSECT_COUNT`, `_SUM` or `_AVG` becomes a run of
//! DPCA-PSI between the two parties over Arrow Flight: private set intersection by up to eight identifiers, whose
//! revealed sizes are differentially private, and sums over the matched persons from oblivious transfers. No row of
//! either table arrives at the other side.
//!
//! ```no_run
//! use std::sync::Arc;
//! use datafusion::prelude::{ParquetReadOptions, SessionContext};
//! use datafusion_psi::{Asker, Budgets, Party, SystemClock, register_all};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Who this party is, which peers it knows, what it gives away when it asks, and what that has cost so far.
//! let party = Arc::new(Party::load("publisher/party.toml")?);
//! let budgets = Budgets::load(&party, Arc::new(SystemClock))?;
//! let asker = Arc::new(Asker::new(Arc::clone(&party), budgets)?);
//!
//! // A session like any other, with one line more.
//! let mut ctx = SessionContext::new();
//! ctx.register_parquet("impressions", "impressions.parquet", ParquetReadOptions::default()).await?;
//! register_all(&mut ctx, asker)?;
//!
//! ctx.sql(
//!     "SELECT PRIVATE_INTERSECT_COUNT(*) AS buyers, PRIVATE_INTERSECT_SUM(p.amount) AS revenue
//!      FROM impressions i JOIN advertiser.purchases p ON i.email = p.email",
//! )
//! .await?
//! .show()
//! .await?;
//! # Ok(())
//! # }
//! ```
//!
//! Each `collect()`, `show()` or `count()` of such a DataFrame is a run of its own, with fresh noise and another charge:
//! [`DataFrame::cache`](datafusion::dataframe::DataFrame::cache) runs it once, and gives a DataFrame over the answer. One
//! *physical* plan is run once: executed again, it gives its first answer again, uncharged.
//!
//! The rooms, from the inside out; each one's module doc says what it may import and what it must not touch:
//! [`crypto`] (the group, over columns), [`dp`] (what privacy costs), [`mpc`] (oblivious transfer and additive shares),
//! [`psi`] (the two sessions, and the table of what each side learns), [`policy`] (`party.toml`: who may ask what),
//! [`transport`] (Arrow Flight, or one process), [`sql`] (names, rule, plan, execution), [`flight_sql`] (the same for
//! analysts elsewhere), and `cli`, the binary.

pub mod cli;
pub mod crypto;
pub mod dp;
pub mod flight_sql;
pub mod mpc;
pub mod policy;
pub mod psi;
pub mod sql;
pub mod transport;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};

use flight_sql::{SessionSource, SqlLimits};
pub use flight_sql::{SqlFlight, SqlFront};
pub use policy::{Budgets, Party, SystemClock};
pub use sql::{Asker, Keys, PolicySource};
pub use transport::PeerServer;
use transport::{Analysts, ServerLimits};

/// Adds everything that private queries need to a session: one schema per peer, the schema `psi` of budget and audit,
/// the functions `PRIVATE_INTERSECT_…`, `psi_low`, `psi_high`, `psi_error` and `psi_exact`, `psi_email`, `psi_phone`,
/// `psi_sha256`, the settings `psi.…`, the analyzer rule and the planner. The session is otherwise unchanged, and a query
/// planner that it has stays in use for everything else.
///
/// Call it once per session, after any analyzer rules of your own: the rule has to be the last. Sessions that share a
/// catalog may share an asker.
///
/// # Errors
/// If a peer has the name of another schema, or the default catalog takes no schemas.
pub fn register_all(ctx: &mut SessionContext, asker: Arc<Asker>) -> Result<()> {
    // Before anything is changed.
    sql::has_books(ctx, &asker)?;
    sql::register(ctx, asker.schemas())?;
    sql::register_books(ctx, &asker)?;
    sql::register_external_tables(ctx, &asker);
    sql::install_psi_planner(ctx, asker);
    Ok(())
}

/// A session's state with everything that [`register_all`] adds: for who builds one by hand, with a catalog, a query
/// planner or rules of its own, which all stay in use.
///
/// # Errors
/// As [`register_all`].
pub fn session_state(builder: SessionStateBuilder, asker: Arc<Asker>) -> Result<SessionState> {
    let mut ctx = SessionContext::new_with_state(builder.build());
    register_all(&mut ctx, asker)?;
    Ok(ctx.state())
}

/// Adds the tables that the party's policy names, as far as they can be opened.
///
/// # Errors
/// The first table that cannot be opened: what, where, and what to do.
pub async fn register_tables(ctx: &SessionContext, party: &Party) -> Result<()> {
    for table in &party.tables {
        let opened = sql::open_table(&ctx.state(), &table.name, &table.location).await?;
        ctx.register_table(table.name.as_str(), opened.provider)?;
    }
    Ok(())
}

/// The party's server of the peer protocol: answers what the policy allows, and books it in `budgets`.
///
/// # Errors
/// If the engine that reads the tables cannot be set up, or a certificate cannot be read.
pub fn peer_server(party: &Arc<Party>, budgets: Budgets) -> std::result::Result<PeerServer<PolicySource>, psi::Error> {
    let source = Arc::new(PolicySource::new(Arc::clone(party), budgets)?);
    let limits = &party.limits;
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let limits = ServerLimits {
        connections_max: whole(limits.connections_max),
        sessions_max: whole(limits.sessions_max),
        sessions_per_peer_max: whole(limits.sessions_per_peer_max),
        handshake: limits.handshake_max,
        deadlines: sql::deadlines(party),
        ..ServerLimits::default()
    };
    let keys = source.keys().clone();
    let server = PeerServer::new(&party.name, source, limits);
    let plaintext = party.server.as_ref().is_some_and(|server| server.tls.is_none());
    Ok(match keys.own.filter(|_| !plaintext) {
        Some(own) => server.with_tls(own, keys.pins),
        None => server,
    })
}

/// The memory that the sessions of one party share, as its policy bounds it.
///
/// # Errors
/// If the engine cannot be set up.
pub fn sql_runtime(party: &Party) -> Result<Arc<RuntimeEnv>> {
    sql::runtime(party)
}

/// A session of a party, with its tables and its peers: what `datafusion-psi sql` and Flight SQL give.
///
/// # Errors
/// The first table that cannot be opened: what, where, and what to do.
pub async fn sql_session(party: &Party, asker: Arc<Asker>, runtime: Arc<RuntimeEnv>) -> Result<SessionContext> {
    let config = SessionConfig::new().with_information_schema(true);
    let mut ctx = SessionContext::new_with_config_rt(config, runtime);
    register_all(&mut ctx, asker)?;
    register_tables(&ctx, party).await?;
    Ok(ctx)
}

/// Opens a session for each analyst.
struct Sessions {
    party: Arc<Party>,
    asker: Arc<Asker>,
    runtime: Arc<RuntimeEnv>,
}

#[async_trait]
impl SessionSource for Sessions {
    async fn open(&self) -> Result<SessionContext> {
        sql_session(&self.party, Arc::clone(&self.asker), Arc::clone(&self.runtime)).await
    }
}

/// The party's Flight SQL, for those whom `clients` and `tokens` of its `[server]` know; `None` where there are
/// neither. It is served behind the peer protocol:
///
/// ```no_run
/// # use std::sync::Arc;
/// # use datafusion_psi::{Budgets, Party, SqlFront, SystemClock, peer_server, sql_service};
/// # async fn serve(party: Arc<Party>) -> Result<(), Box<dyn std::error::Error>> {
/// let budgets = Budgets::load(&party, Arc::new(SystemClock))?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:50051").await?;
/// let sql = sql_service(&party, budgets.clone())?.ok_or("nobody may run SQL here")?;
/// let server = peer_server(&party, budgets)?;
/// server.serve_behind(listener, std::future::pending(), |peers| SqlFront::new(peers, sql)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If a certificate or the list of tokens cannot be used, or the engine cannot be set up.
pub fn sql_service(party: &Arc<Party>, budgets: Budgets) -> std::result::Result<Option<SqlFlight>, psi::Error> {
    let Some(server) = &party.server else { return Ok(None) };
    if server.clients.is_empty() && server.tokens.is_none() {
        return Ok(None);
    }
    let peers = Keys::of(party)?.pins;
    let analysts = Analysts::load(&party.name, &server.clients, server.tokens.as_deref(), peers)?;
    let runtime = sql_runtime(party).map_err(psi::Error::internal)?;
    let asker = Arc::new(Asker::new(Arc::clone(party), budgets)?);
    let source = Arc::new(Sessions { party: Arc::clone(party), asker, runtime });
    SqlFlight::new(source, analysts, SqlLimits::default()).map(Some)
}
