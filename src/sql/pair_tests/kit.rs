//! Two parties in one process, over the real transport on loopback.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::policy::{Budgets, Party};
use crate::sql::{Asker, PolicySource, install_psi_planner, open_table, register};
use crate::transport::{PeerServer, ServerLimits};

/// The advertiser's policy but for its share: `SHARE` stands for the lines of one.
const ADVERTISER: &str = r#"
[party]
name = "advertiser"

[server]
listen = "127.0.0.1:0"
plaintext = true

[[table]]
name = "purchases"
location = "purchases.parquet"

[[peer]]
name = "publisher"
address = "grpc://127.0.0.1:1"
plaintext = true

[[share]]
table = "purchases"
with = ["publisher"]
SHARE
"#;

const PUBLISHER: &str = r#"
[party]
name = "publisher"

[[table]]
name = "impressions"
location = "impressions.parquet"

[[peer]]
name = "advertiser"
address = "grpc://127.0.0.1:PORT"
plaintext = true

[[ask]]
of = ["advertiser"]
population = "readers"
ASK
"#;

/// A share that lets everything through that the tests ask, without noise.
pub(super) const OPEN_SHARE: &str = r#"
identifiers = { email = "email/1", phone = "phone/1:US", person = { columns = ["surname", "born"], as = "exact/1" } }
aggregates = { amount = { min = -1000000, max = 1000000, max_rows = 1000 }, price = { min = 0, max = 1000, max_rows = 1000 }, weight = { min = -100, max = 100, max_rows = 1000, decimals = 3 }, category = { max_rows = 1000 } }
requester_values = { min = -1000, max = 1000, max_rows = 1000 }
filter_on = ["category", "bought", "amount"]
minimum_matched = 0
[share.budget]
population = "shoppers"
queries = 100
sizes = { exact = true }
outputs = { noise = "none" }
"#;

pub(super) const OPEN_ASK: &str = r#"
rows = "reveal"
[ask.budget]
queries = 100
sizes = { exact = true }
"#;

/// SQL of the advertiser's table: ten shoppers, some with a null identifier, one row each.
pub(super) const PURCHASES: &str = "
    SELECT 'user' || v || '@example.org' AS email,
           CASE WHEN v % 3 = 0 THEN NULL ELSE '+1212555' || (1000 + v) END AS phone,
           'name' || v AS surname,
           DATE '1980-01-01' + CAST(v AS INT) AS born,
           v * 10 - 35 AS amount,
           CAST(v AS DECIMAL(10, 2)) / 4 AS price,
           CAST(v AS DOUBLE) / 8 AS weight,
           CASE WHEN v % 2 = 0 THEN 'toys' WHEN v = 5 THEN NULL ELSE 'books' END AS category,
           DATE '2026-01-01' + CAST(v AS INT) AS bought
    FROM generate_series(1, 10) AS t(v)";

/// SQL of the publisher's table: readers 4 to 14; e-mail addresses spelt another way.
pub(super) const IMPRESSIONS: &str = "
    SELECT ' USER' || v || '@Example.ORG ' AS email,
           '(212) 555-' || (1000 + v) AS phone,
           'name' || v AS surname,
           DATE '1980-01-01' + CAST(v AS INT) AS born,
           v AS clicks,
           CAST(v AS DOUBLE) / 3 AS seconds,
           CASE WHEN v < 8 THEN 'spring' ELSE 'autumn' END AS campaign
    FROM generate_series(4, 14) AS t(v)";

pub(super) async fn write_parquet(folder: &Path, file: &str, sql: &str) {
    let context = SessionContext::new();
    let path = folder.join(file);
    let statement = format!("COPY ({sql}) TO '{}'", path.display());
    context.sql(&statement).await.unwrap().collect().await.unwrap();
}

/// Two parties: one serves, one asks.
pub(super) struct Pair {
    pub(super) folder: TempDir,
    /// The publisher's session.
    pub(super) context: SessionContext,
    pub(super) asker: Arc<Asker>,
    pub(super) source: Arc<PolicySource>,
    pub(super) answering: Budgets,
    /// Ends with the pair.
    _server: SpawnedTask<()>,
}

pub(super) fn party(folder: &Path, text: &str) -> Party {
    Party::parse(text, folder.join("party.toml")).unwrap()
}

pub(super) fn advertiser(folder: &Path, share: &str) -> Party {
    party(folder, &ADVERTISER.replace("SHARE", share))
}

pub(super) fn publisher(folder: &Path, ask: &str, port: u16) -> Party {
    party(folder, &PUBLISHER.replace("ASK", ask).replace("PORT", &port.to_string()))
}

/// A session with the party's tables, and its peers.
pub(super) async fn session(asker: &Arc<Asker>) -> SessionContext {
    session_within(asker, Arc::default()).await
}

async fn session_within(asker: &Arc<Asker>, runtime: Arc<RuntimeEnv>) -> SessionContext {
    let context = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
    for table in &asker.party().tables {
        let opened = open_table(&context.state(), &table.name, &table.location).await.unwrap();
        context.register_table(table.name.as_str(), opened.provider).unwrap();
    }
    register(&context, asker.schemas()).unwrap();
    install_psi_planner(&context, Arc::clone(asker));
    context
}

impl Pair {
    pub(super) async fn new(purchases: &str, impressions: &str, share: &str, ask: &str) -> Pair {
        Pair::within(purchases, impressions, share, ask, [Arc::default(), Arc::default()]).await
    }

    /// In two runtimes: that of who asks, that of who answers.
    pub(super) async fn within(
        purchases: &str,
        impressions: &str,
        share: &str,
        ask: &str,
        [asking_in, answering_in]: [Arc<RuntimeEnv>; 2],
    ) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        write_parquet(folder.path(), "purchases.parquet", purchases).await;
        write_parquet(folder.path(), "impressions.parquet", impressions).await;
        let serving = Arc::new(advertiser(folder.path(), share));
        let answering = Budgets::in_memory(&serving);
        let source = Arc::new(PolicySource::with_runtime(serving, answering.clone(), answering_in).unwrap());
        source.check().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = PeerServer::new("advertiser", Arc::clone(&source), ServerLimits::default());
        let server = SpawnedTask::spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });
        let asking = Arc::new(publisher(folder.path(), ask, port));
        let asker = Arc::new(Asker::new(Arc::clone(&asking), Budgets::in_memory(&asking)).unwrap());
        let context = session_within(&asker, asking_in).await;
        Pair { folder, context, asker, source, answering, _server: server }
    }

    pub(super) async fn open() -> Pair {
        Pair::new(PURCHASES, IMPRESSIONS, OPEN_SHARE, OPEN_ASK).await
    }

    pub(super) async fn run(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.context.sql(sql).await?.collect().await
    }

    /// The one row as text, cells by `|`.
    pub(super) async fn row(&self, sql: &str) -> String {
        cells(&self.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")))
    }

    pub(super) async fn error(&self, sql: &str) -> String {
        match self.run(sql).await {
            Ok(batches) => panic!("{sql} gave {}", pretty_format_batches(&batches).unwrap()),
            Err(error) => error.to_string(),
        }
    }

    /// What plain SQL says with both tables in one place.
    pub(super) async fn truth(&self, sql: &str) -> String {
        let context = SessionContext::new();
        for table in ["purchases", "impressions"] {
            let path = self.folder.path().join(format!("{table}.parquet"));
            context.register_parquet(table, path.to_str().unwrap(), Default::default()).await.unwrap();
        }
        cells(&context.sql(sql).await.unwrap().collect().await.unwrap())
    }

    /// Queries that the advertiser's books have seen, open ones included.
    pub(super) fn charged(&self) -> u64 {
        self.answering.balances().unwrap().iter().map(|balance| balance.open + balance.spent).sum()
    }

    pub(super) fn paid(&self) -> u64 {
        self.asker.budgets().balances().unwrap().iter().map(|balance| balance.open + balance.spent).sum()
    }
}

pub(super) fn cells(batches: &[RecordBatch]) -> String {
    let text = pretty_format_batches(batches).unwrap().to_string();
    let rows: Vec<&str> = text.lines().skip(3).filter(|line| line.starts_with('|')).collect();
    let cells = rows.iter().map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|"));
    cells.collect::<Vec<_>>().join("\n")
}
