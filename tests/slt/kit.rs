//! Two parties over loopback, and a runner of files for each way to answer.
//!
//! A *world* is a folder: `tables.sql` makes the tables of both parties (those of the schema `advertiser` are the
//! advertiser's, the others the publisher's), `shares.toml` and `asks.toml` are the two policies but for names, keys and
//! addresses, and each `*.slt` asks questions. The publisher asks, the advertiser answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_psi::{Asker, Budgets, Party, PolicySource, SystemClock, peer_server, register_all, register_tables};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::clear::{Clear, Truth};

const ADVERTISER: &str = "
[party]
name = \"advertiser\"
[server]
listen = \"127.0.0.1:PORT\"
plaintext = true
[[peer]]
name = \"publisher\"
address = \"grpc://127.0.0.1:1\"
plaintext = true
";

const PUBLISHER: &str = "
[party]
name = \"publisher\"
[[peer]]
name = \"advertiser\"
address = \"grpc://127.0.0.1:PORT\"
plaintext = true
";

/// Why a statement failed, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failed(pub(super) String);

impl From<DataFusionError> for Failed {
    fn from(error: DataFusionError) -> Self {
        Failed(error.strip_backtrace())
    }
}

/// Two parties and their tables.
pub(super) struct World {
    _folder: TempDir,
    publisher: Arc<Party>,
    asking: Budgets,
    answering: Budgets,
    /// Statements that make both parties' tables in one session.
    tables: Vec<String>,
    policy: toml::Table,
    truth: Truth,
    _server: SpawnedTask<()>,
}

impl World {
    /// Makes the parties of a folder of tests/slt.
    pub(super) async fn open(name: &str, truth: Truth) -> World {
        let read = |file: &str| std::fs::read_to_string(folder(name).join(file)).unwrap();
        World::new(&read("tables.sql"), &read("shares.toml"), &read("asks.toml"), truth).await
    }

    /// Makes the parties from their tables and policies.
    pub(super) async fn new(tables: &str, shares: &str, asks: &str, truth: Truth) -> World {
        let folder = tempfile::tempdir().unwrap();
        let maker = SessionContext::new();
        maker.sql("CREATE SCHEMA advertiser").await.unwrap();
        for statement in tables.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
            let made = async { maker.sql(statement).await?.collect().await }.await;
            made.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        let catalog = maker.catalog("datafusion").unwrap();
        let mut policies = [String::new(), String::new()];
        let mut tables = vec!["CREATE SCHEMA advertiser".to_owned()];
        for (number, schema) in ["advertiser", "public"].into_iter().enumerate() {
            let mut names = catalog.schema(schema).unwrap().table_names();
            names.sort();
            for name in names {
                let path = folder.path().join(format!("{schema}-{name}.parquet"));
                let path = path.to_str().unwrap();
                let copy = format!("COPY (SELECT * FROM {schema}.{name}) TO '{path}'");
                maker.sql(&copy).await.unwrap().collect().await.unwrap();
                tables.push(format!("CREATE EXTERNAL TABLE {schema}.{name} STORED AS PARQUET LOCATION '{path}'"));
                policies[number].push_str(&format!("[[table]]\nname = \"{name}\"\nlocation = '{path}'\n"));
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let party = |text: String| {
            let path = folder.path().join("party.toml");
            Arc::new(Party::parse(&text.replace("PORT", &port), path).unwrap_or_else(|error| panic!("{error}")))
        };
        let advertiser = party(format!("{ADVERTISER}{}{shares}", policies[0]));
        let publisher = party(format!("{PUBLISHER}{}{asks}", policies[1]));
        let clock = Arc::new(SystemClock);
        let answering = Budgets::in_memory_at(&advertiser, Arc::clone(&clock) as _);
        let asking = Budgets::in_memory_at(&publisher, clock);
        PolicySource::new(Arc::clone(&advertiser), answering.clone()).unwrap().check().await.unwrap();
        let server = peer_server(&advertiser, answering.clone()).unwrap();
        let server = SpawnedTask::spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });
        let policy = toml::from_str(shares).unwrap();
        World { _folder: folder, publisher, asking, answering, tables, policy, truth, _server: server }
    }

    /// A new session of the publisher's.
    pub(super) async fn private(&self) -> Engine {
        let config = SessionConfig::new().with_information_schema(true);
        let mut context = SessionContext::new_with_config(config);
        register_tables(&context, &self.publisher).await.unwrap();
        let asker = Asker::new(Arc::clone(&self.publisher), self.asking.clone()).unwrap();
        register_all(&mut context, Arc::new(asker)).unwrap();
        Engine { context, clear: None }
    }

    /// A new session over both parties' tables in one place.
    pub(super) async fn clear(&self) -> Engine {
        let context = SessionContext::new();
        for statement in &self.tables {
            context.sql(statement).await.unwrap().collect().await.unwrap();
        }
        let clear = Clear { context: context.clone(), policy: self.policy.clone(), truth: self.truth };
        Engine { context, clear: Some(clear) }
    }

    /// Queries charged so far, by the publisher's and by the advertiser's books.
    pub(super) fn charged(&self) -> (u64, u64) {
        let all = |books: &Budgets| books.balances().unwrap().iter().map(|balance| balance.open + balance.spent).sum();
        (all(&self.asking), all(&self.answering))
    }
}

/// Where the files of a world are.
pub(super) fn folder(world: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt").join(world)
}

/// The files of a world with questions, in order of their names.
pub(super) fn files(world: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(world)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "slt")).collect();
    files.sort();
    files
}

/// One way to answer: `private`, or `clear`.
pub(super) struct Engine {
    pub(super) context: SessionContext,
    clear: Option<Clear>,
}

impl Engine {
    /// Runs a statement.
    pub(super) async fn collect(&self, sql: &str) -> Result<Vec<RecordBatch>, Failed> {
        let sql = match &self.clear {
            Some(clear) => clear.translate(sql)?,
            None => sql.to_owned(),
        };
        let answered = async { self.context.sql(&sql).await?.collect().await }.await;
        answered.map_err(|error| match self.clear {
            Some(_) => Failed(format!("{}\n[in the clear] {sql}", error.strip_backtrace())),
            None => error.into(),
        })
    }
}

#[async_trait]
impl AsyncDB for Engine {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        let batches = self.collect(sql).await?;
        let Some(first) = batches.first().filter(|batch| batch.num_columns() > 0) else {
            return Ok(DBOutput::StatementComplete(0));
        };
        let types = first.schema().fields().iter().map(|field| column_type(field.data_type())).collect();
        let text = |cell: Option<String>| match cell {
            None => "NULL".to_owned(),
            Some(text) if text.is_empty() => "(empty)".to_owned(),
            Some(text) => text,
        };
        let rows = rows_of(&batches).map_err(|error| Failed(error.to_string()))?;
        Ok(DBOutput::Rows { types, rows: rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect() })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        match self.clear {
            Some(_) => "clear",
            None => "private",
        }
    }
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        // As plain SQL and the private functions print them, whole numbers are whole numbers.
        DataType::Decimal32(_, 0) | DataType::Decimal64(_, 0) | DataType::Decimal128(_, 0) => {
            DefaultColumnType::Integer
        }
        integer if integer.is_integer() => DefaultColumnType::Integer,
        number if number.is_numeric() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

/// All cells as text; none for NULL.
pub(super) fn rows_of(batches: &[RecordBatch]) -> Result<Vec<Vec<Option<String>>>, ArrowError> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let cell = |(at, column): (usize, &ArrayFormatter)| {
                (!batch.column(at).is_null(row)).then(|| column.value(row).to_string())
            };
            rows.push(columns.iter().enumerate().map(cell).collect());
        }
    }
    Ok(rows)
}

/// A runner of files by one engine; each connection is a session of its own.
pub(super) fn runner<F, M>(make: M) -> Runner<Engine, impl FnMut() -> F>
where
    F: Future<Output = Result<Engine, Failed>>,
    M: FnMut() -> F,
{
    let mut runner = Runner::new(make);
    runner.with_column_validator(sqllogictest::strict_column_validator);
    runner
}
