//! Flight SQL: this party's own SQL for its own analysts, on the port where peers ask.
//!
//! | Job | May import | Must not touch |
//! |---|---|---|
//! | statements, results, sessions and listings of Flight SQL | datafusion, arrow-flight, tonic; the public API of sql, transport, policy, psi's errors | protocol logic, group elements, files, sockets |
//!
//! An analyst gets what `datafusion-psi sql` gives the party's operator, less the files: the party's own tables, its
//! peers' schemas, the tables `psi.…`, the private functions. Who calls is asked before anything of a call is read
//! ([`SqlFront`]): a peer's certificate gives no SQL, an analyst's certificate or token no call of the peer protocol,
//! and who is neither hears the same whatever it asks for.
//!
//! # A query
//! ```text
//! GetFlightInfo   parsed, checked, planned: what a policy refuses is refused here; nothing runs, nothing is charged
//! DoGet           its ticket, once: runs, charges, streams
//! PollFlightInfo  instead of the first: starts it, says how far it is, gives the ticket with the first rows
//! ```
//! A ticket is 16 random bytes, belongs to the analyst who asked, and is fetched once: a call that a client repeats
//! runs nothing and charges nothing a second time (a first poll that is repeated is a new statement). A stream that is
//! dropped, with its connection or without, `CancelFlightInfo`, `CancelQuery` and `CloseSession` end what runs, on both
//! sides of a private query; what was polled and is waited for no longer ends when its time is up. What was charged
//! stays charged.
//!
//! Statements without rows (SET, CREATE VIEW, CREATE TABLE … AS and the like) run when they are asked for, and stick
//! to the session: that of the connection, or of the cookie that the first answer sets. What would read or write
//! files is refused (see `statement`): the policy says which files there are.
//!
//! # Where it runs
//! On threads of its own (`engine`): planning asks peers and the ledger, and none of that holds up the threads that
//! answer peers.
//!
//! # Limits
//! See [`SqlLimits`]; messages have at most 4 MiB, as on the rest of the port; the rows that all sessions
//! together hold and work on are in the engine's pool, the texts that they keep are limited by length; analysts hold at most half of the server's connections.
//!
//! # What is seen
//! | who | sees |
//! |---|---|
//! | an observer of the network | addresses, times, sizes of TLS records |
//! | a stranger | that there is Flight SQL, that it is not for him, and whether by certificates, tokens or both it would be |
//! | a peer | the private queries that analysts ask, exactly as those of the command line; not who asks them |
//! | an analyst | what `datafusion-psi sql` shows: in `psi.audit` every private question of this party's, whoever asked it, with its text, cost, noisy sizes and outcome; of other analysts' sessions no answer, setting, view or table |

mod about;
mod calls;
mod catalogs;
mod commands;
mod effects;
mod engine;
mod error;
mod front;
mod limits;
mod options;
mod output;
mod results;
mod service;
mod session;
mod statement;
mod wire;

pub use front::SqlFront;
pub use limits::SqlLimits;
pub use service::{SessionSource, SqlFlight};
