//! What the service allows its analysts.

use std::time::Duration;

/// Limits of a Flight SQL service. Each is refused in words where it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlLimits {
    /// Sessions that are kept at the same time: each has its settings, views and tables.
    pub sessions_max: usize,
    /// Of these, so many of one analyst; at this limit the one that was used least recently gives way, if nothing
    /// runs in it.
    pub sessions_per_analyst_max: usize,
    /// A session that was not used for so long is closed, unless something runs in it.
    pub session_idle: Duration,
    /// Prepared statements of one session, those of SQL's PREPARE and its views and tables counted with them.
    pub statements_per_session_max: usize,
    /// Results of one session that wait to be fetched, or are being fetched.
    pub results_per_session_max: usize,
    /// A result that nobody has fetched for so long is given up, and its ticket with it.
    pub result_idle: Duration,
    /// Statements that run at the same time …
    pub running_max: usize,
    /// … and those of one analyst.
    pub running_per_analyst_max: usize,
    /// Bytes of one statement's text.
    pub text_bytes_max: usize,
    /// Bytes of all texts that one session keeps: prepared statements with their values, views, and statements whose
    /// results wait.
    pub text_bytes_per_session_max: usize,
    /// How long a poll waits for news before it says that there are none.
    pub poll_wait: Duration,
    /// How long a listing waits for a peer that has not said yet what it shares.
    pub peer_wait: Duration,
}

impl Default for SqlLimits {
    /// 64 sessions, 16 of one analyst, closed after 30 minutes; 256 statements and 256 results a session, results given
    /// up after 10 minutes; 16 running statements, 8 of one analyst; 1 MiB of text, 4 MiB in a session; 500 ms for a poll, 3 s for a peer.
    fn default() -> Self {
        SqlLimits {
            sessions_max: 64,
            sessions_per_analyst_max: 16,
            session_idle: Duration::from_secs(30 * 60),
            statements_per_session_max: 256,
            results_per_session_max: 256,
            result_idle: Duration::from_secs(10 * 60),
            running_max: 16,
            running_per_analyst_max: 8,
            text_bytes_max: 1 << 20,
            text_bytes_per_session_max: 4 << 20,
            poll_wait: Duration::from_millis(500),
            peer_wait: Duration::from_secs(3),
        }
    }
}
