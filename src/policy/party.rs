//! What a `party.toml` says, once it has been read and found possible.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::dp;
use crate::psi::FilteredRows;
use crate::psi::normalise::Normaliser;

use super::books::Period;
use super::decimal::Decimal;
use super::error::ConfigError;

/// One party: who it is, what it has, whom it knows, what it shares and what it may ask.
///
/// Every value has been checked as far as that needs no data: names, addresses, bounds, and that all
/// names refer to something. [`Party::check_columns`] checks the rest against a table's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The party's name.
    pub name: String,
    /// The file that this was read from.
    pub file: PathBuf,
    /// The folder of ledger and audit.
    pub state: PathBuf,
    /// The certificate by which peers know this party, and its key: those of `[server]`, or of `[party]`.
    /// `None`: this party speaks plain text on loopback only.
    pub own_tls: Option<TlsFiles>,
    /// Where this party answers its peers; `None`: it only asks.
    pub server: Option<Server>,
    /// The tables on this party's disk.
    pub tables: Vec<Table>,
    /// The other parties that this one knows.
    pub peers: Vec<Peer>,
    /// What this party shows to whom.
    pub shares: Vec<Share>,
    /// What this party gives away when it asks.
    pub asks: Vec<Ask>,
    /// The oblivious transfer's settings.
    pub ot: Ot,
    /// Limits on what one session, and all together, may take.
    pub limits: Limits,
    /// Every file and folder that the policy names, for [`Party::check_files`].
    pub(super) files: Vec<NamedFile>,
}

/// Where a party answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Any address of this machine with TLS, a loopback address without. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The server's certificate and key; `None`: plain text, as `plaintext = true` says in words.
    pub tls: Option<TlsFiles>,
    /// Files with the certificates of those who may run SQL here as this party.
    pub clients: Vec<PathBuf>,
    /// A file with the hashes of bearer tokens of those who may, too. Where there are neither, nobody may.
    pub tokens: Option<PathBuf>,
}

/// A certificate and its private key, in PEM files. Relative paths are already joined to the policy's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and what of its chain is to be sent along.
    pub certificate: PathBuf,
    /// The private key, which only this party's user may read.
    pub key: PathBuf,
}

/// A file or folder that the policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedFile {
    /// Joined to the policy's folder.
    pub(super) path: PathBuf,
    pub(super) kind: FileKind,
    /// What errors call it, such as `the certificate of [server]`.
    pub(super) role: String,
    pub(super) line: usize,
}

/// What has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A file that can be read.
    Certificate,
    /// A file that its owner alone can read.
    Key,
    /// The same: a list of tokens.
    Tokens,
    /// A file, a folder, or a glob whose folder exists.
    Table,
}

/// A table of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name in SQL.
    pub name: String,
    /// Files, folders or globs; relative ones are already joined to the policy's folder. A text with
    /// `://` is the URL of an object store, as it was written.
    pub location: Vec<String>,
    /// The line of the policy that begins it.
    pub line: usize,
}

/// Another party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name: the schema under which its tables appear in SQL.
    pub name: String,
    /// `grpc+tls://HOST:PORT`, or `grpc://HOST:PORT` on loopback.
    pub address: String,
    /// The certificates by which it is known: one, or several while it changes from one to the next.
    /// Empty exactly where `plaintext` is set.
    pub certificates: Vec<PathBuf>,
    /// Whether this peer is spoken to in plain text, on loopback, as the policy says in words.
    pub plaintext: bool,
    /// The line of the policy that begins it.
    pub line: usize,
}

/// A table shown to peers, and the rules for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The table's name.
    pub table: String,
    /// The peers that may ask, by their names here.
    pub with: Vec<String>,
    /// What may be matched by, in the order of the file.
    pub identifiers: Vec<Identifier>,
    /// Columns that may be summed or counted, in the order of the file.
    pub aggregates: Vec<AggregateRule>,
    /// Whether the asker may sum values of its own over matches, and within which bounds.
    pub requester_values: Option<RequesterValues>,
    /// Columns that the asker's filters may name.
    pub filter_on: Vec<String>,
    /// Columns that the asker may group by, each with its public labels, in the order of the file.
    pub group_by: Vec<GroupBy>,
    /// The most labels that one person counts in, 1 where there is no `group_by`.
    pub max_labels: u32,
    /// The most groups of its own that the asker may use; 1: it may not group by columns of its own.
    pub max_parts: u32,
    /// The least noisy number of matches of an answered query; 0 switches the rule off.
    pub minimum_matched: u64,
    /// What a filter does to the announced length.
    pub filtered_rows: FilteredRows,
    /// Whether each new question waits until the owner has approved its exact text.
    pub approval: bool,
    /// What all queries together may cost.
    pub budget: BudgetTerms,
    /// K: the identifiers that the budget is computed for, the most of any share of its population.
    pub columns: u8,
    /// Whether any share of the same population pads its announced length, at the account's expense.
    pub(super) padded_account: bool,
    /// The most entries that a session may have: the N of the default delta of padded lengths.
    pub(super) persons_max: u64,
    /// The lines of the policy that its parts stand on.
    pub(super) lines: ShareLines,
}

/// Where the parts of a share stand in the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShareLines {
    pub(super) share: usize,
    pub(super) identifiers: usize,
    pub(super) aggregates: Option<usize>,
    pub(super) requester_values: Option<usize>,
    pub(super) filter_on: Option<usize>,
    pub(super) group_by: Option<usize>,
    pub(super) max_labels: Option<usize>,
    pub(super) max_parts: Option<usize>,
    pub(super) minimum_matched: Option<usize>,
    pub(super) approval: Option<usize>,
    pub(super) with: usize,
}

/// A column that may be grouped by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupBy {
    /// The column.
    pub column: String,
    /// Its labels, in the order in which an answer shows them: a public list, never taken from the data.
    pub labels: Vec<String>,
    pub(super) line: usize,
}

/// Something that persons may be matched by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier {
    /// The name by which a question refers to it.
    pub name: String,
    /// Its columns: one, or several for a composite identifier.
    pub columns: Vec<String>,
    /// The versioned normaliser of each part.
    pub normaliser: Normaliser,
    pub(super) line: usize,
}

/// A column that may be aggregated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateRule {
    /// The column.
    pub column: String,
    /// Bounds of one person's total; `None`: the column can only be counted.
    pub clip: Option<Clip>,
    /// The most rows of one person that COUNT(column) counts.
    pub max_rows: u64,
    /// Decimals of the fixed point, for columns of floats only.
    pub decimals: Option<u8>,
    /// The greatest sum of squares of one person, in the square of the column's unit, where the policy says one.
    pub squares: Option<Decimal>,
    pub(super) line: usize,
}

impl AggregateRule {
    /// The greatest sum of squares of one person: as written, else the larger bound squared. `None` where the column can
    /// only be counted, or where that square has more digits than a number.
    pub fn squares_max(&self) -> Option<Decimal> {
        let clip = self.clip?;
        self.squares.or_else(|| clip.min.squared().zip(clip.max.squared()).map(|(min, max)| min.max(max)))
    }
}

/// Bounds of one person's total, in the column's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clip {
    /// The least total.
    pub min: Decimal,
    /// The greatest total.
    pub max: Decimal,
}

/// What the asker may do with values of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequesterValues {
    /// Bounds of one person's total.
    pub clip: Clip,
    /// The most rows of one person that COUNT counts; `None`: the asker may not count its own rows.
    pub max_rows: Option<u64>,
}

/// What all queries of one account together may cost, per period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetTerms {
    /// The people that it is about: shares of one population draw on one account per peer.
    pub population: String,
    /// T: the most queries.
    pub queries: u64,
    /// The privacy of sizes.
    pub sizes: Sizes,
    /// The privacy of answers. `Exact` for an [`Ask`]: answers come to the asker, and the other side's budget
    /// is charged for them.
    pub outputs: dp::OutputBudget,
    /// When the account begins anew.
    pub period: Period,
    /// What one query may use of `outputs`.
    pub(super) per_query: dp::QueryOutputs,
    /// The numbers of `outputs` as they are written, for those who read them.
    pub(super) written: Option<WrittenOutputs>,
    pub(super) line: usize,
    /// Where its queries stand.
    pub(super) queries_line: usize,
}

/// An output budget's numbers as the policy writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrittenOutputs {
    pub(super) epsilon: Decimal,
    pub(super) delta: Option<Decimal>,
}

impl BudgetTerms {
    /// What one query may use of the output budget: an exact part of it, the same on every machine.
    pub fn outputs_per_query(&self) -> &dp::QueryOutputs {
        &self.per_query
    }

    /// Whether another budget allows exactly as much: it then may stand for the same account.
    pub(super) fn same_terms(&self, other: &BudgetTerms) -> bool {
        self.queries == other.queries
            && self.sizes == other.sizes
            && self.outputs == other.outputs
            && self.period == other.period
    }
}

/// The privacy of sizes over all queries of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// Revealed exactly, as the policy says in words.
    Exact,
    /// (epsilon, delta)-differential privacy.
    Private {
        /// Above 0, at most 100, at most 6 decimals.
        epsilon: Decimal,
        /// Above 0 and below 1; `None`: 1 / (10 N).
        delta: Option<Decimal>,
    },
}

/// What this party gives away when it asks certain peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The peers that may be asked.
    pub of: Vec<String>,
    /// Whether the number of this party's persons is padded.
    pub rows: AskedRows,
    /// K: the identifiers per query that the budget is computed for.
    pub identifiers: u8,
    /// What all queries together may cost.
    pub budget: BudgetTerms,
    pub(super) persons_max: u64,
    /// The line of the policy that begins it.
    pub line: usize,
}

/// What the peer sees of the asker's number of persons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedRows {
    /// The number and a noisy number of fillers.
    Pad,
    /// The number.
    Reveal,
}

/// Settings of the oblivious transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ot {
    /// k of the extension: 1, 2, 4 or 8. A larger one sends less and computes more.
    pub width: u8,
}

impl Default for Ot {
    /// 4: the curve work hides its few nanoseconds a row, and it sends 4 bytes a row instead of the 8 of 2.
    fn default() -> Self {
        Ot { width: 4 }
    }
}

/// Limits on sessions. Each is also a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most entries of either table in one session, fillers included: bounds memory and time.
    pub persons_max: u64,
    /// The most dummies per identifier and party that a peer may make this party add.
    pub dummies_max: u64,
    /// The most sessions that are served at once; further ones are refused at once, in words.
    pub sessions_max: u64,
    /// The most sessions of one peer that are served at once: so that no peer keeps the others out.
    pub sessions_per_peer_max: u64,
    /// The most connections that are held open at once, of peers and strangers together.
    pub connections_max: u64,
    /// How long a peer may take for the TLS handshake and its first request.
    pub handshake_max: Duration,
    /// How long a connection may take to come about.
    pub connect_max: Duration,
    /// How long a peer may send and accept nothing within a phase.
    pub stall_max: Duration,
    /// How long a whole session may take.
    pub session_max: Duration,
    /// How many times this party's own number of dummies a peer may ask for.
    pub dummies_factor_max: u64,
    /// The most memory, in MB, of the engine's pool: reading and preparing tables, and what each session that is
    /// answered sets aside for as long as it runs. Beyond it, sessions by several identifiers use temporary files, in the
    /// system's folder for them (`TMPDIR` on Unix).
    pub memory_mb: u64,
    /// How much of that, in MB, may hold shared tables that were blinded before the next question; 0: none is.
    pub blind_ahead_mb: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            persons_max: 10_000_000,
            dummies_max: 1_000_000,
            sessions_max: 4,
            sessions_per_peer_max: 2,
            connections_max: 64,
            handshake_max: Duration::from_secs(10),
            connect_max: Duration::from_secs(10),
            stall_max: Duration::from_secs(60),
            session_max: Duration::from_secs(3600),
            dummies_factor_max: 4,
            memory_mb: 4096,
            blind_ahead_mb: 0,
        }
    }
}

impl Party {
    /// Reads a policy from a file. Relative paths in it are relative to the file's folder.
    pub fn load(path: impl AsRef<Path>) -> Result<Party, ConfigError> {
        super::parse::load(path.as_ref())
    }

    /// Reads a policy from a text; `path` is its file's name, for errors and relative paths.
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Party, ConfigError> {
        super::parse::parse(text, path.as_ref())
    }

    /// The table of that name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The peer of that name.
    pub fn peer(&self, name: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.name == name)
    }

    /// What is shared with a peer; nothing if nobody knows it.
    pub fn shares_with<'a>(&'a self, peer: &'a str) -> impl Iterator<Item = &'a Share> {
        self.shares.iter().filter(move |share| share.with.iter().any(|with| with == peer))
    }

    /// The share of a table with a peer. There is at most one.
    pub fn share(&self, peer: &str, table: &str) -> Option<&Share> {
        self.shares.iter().find(|share| share.table == table && share.with.iter().any(|with| with == peer))
    }

    /// An error at a line of this policy.
    pub(super) fn error(&self, line: usize, what: impl Into<String>, advice: impl Into<String>) -> ConfigError {
        ConfigError::new(&self.file, Some(line), what, advice)
    }
}

impl Share {
    /// The identifier of that name.
    pub fn identifier(&self, name: &str) -> Option<&Identifier> {
        self.identifiers.iter().find(|identifier| identifier.name == name)
    }

    /// The rule for an aggregated column.
    pub fn aggregate(&self, column: &str) -> Option<&AggregateRule> {
        self.aggregates.iter().find(|rule| rule.column == column)
    }

    /// The rule for a column that may be grouped by.
    pub fn group(&self, column: &str) -> Option<&GroupBy> {
        self.group_by.iter().find(|group| group.column == column)
    }

    /// Every column that the share names, each once, in the order of the policy: identifiers,
    /// aggregates, filters, groups. Nothing else of the table is shown to a peer, not even by name.
    pub fn shared_columns(&self) -> Vec<&str> {
        let identifiers = self.identifiers.iter().flat_map(|identifier| &identifier.columns);
        let aggregates = self.aggregates.iter().map(|rule| &rule.column);
        let mut columns: Vec<&str> = Vec::new();
        let groups = self.group_by.iter().map(|group| &group.column);
        for column in identifiers.chain(aggregates).chain(&self.filter_on).chain(groups) {
            if !columns.contains(&column.as_str()) {
                columns.push(column);
            }
        }
        columns
    }
}
