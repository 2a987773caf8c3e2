//! The schema `psi`: budget, audit, shares and peers of this party as tables.
//!
//! | table | a row is |
//! |---|---|
//! | `psi.budget` | an account: what a peer and a population may cost, and have cost, in the present period |
//! | `psi.audit` | an event of the ledger, linked to the one before it by its hash |
//! | `psi.shares` | a table that this party shows to a peer, or a peer to it (as the peer listed it last) |
//! | `psi.peers` | another party, with the certificates that it is known by |
//!
//! They are read when a query runs. Nothing is asked of a peer for them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, UInt64Array, UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use super::asker::Asker;
use super::error::to_datafusion;
use crate::policy::{Account, AuditRow, Balance, Direction, Sizes};
use crate::psi::{Error, ShareTerms, escaped, hex_of};
use crate::transport::offload;

/// The schema's name in SQL.
pub(super) const SCHEMA: &str = "psi";

/// The schema `psi` of one party.
#[derive(Debug)]
pub(super) struct BooksSchema(pub(super) Arc<Asker>);

#[async_trait]
impl SchemaProvider for BooksSchema {
    fn table_names(&self) -> Vec<String> {
        Kind::ALL.map(|kind| kind.name().to_owned()).to_vec()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        Ok(kind.map(|kind| Arc::new(BooksTable { kind, asker: Arc::clone(&self.0) }) as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        Kind::ALL.iter().any(|kind| kind.name() == name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Budget,
    Audit,
    Shares,
    Peers,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Budget, Kind::Audit, Kind::Shares, Kind::Peers];

    fn name(self) -> &'static str {
        match self {
            Kind::Budget => "budget",
            Kind::Audit => "audit",
            Kind::Shares => "shares",
            Kind::Peers => "peers",
        }
    }

    /// The rows as they are now; without any where only the schema is wanted. Blocks on the ledger.
    fn rows(self, asker: Option<&Asker>) -> Result<RecordBatch, Error> {
        match self {
            Kind::Budget => budget(&asker.map_or(Ok(Vec::new()), |asker| asker.balances())?),
            Kind::Audit => audit(&asker.map_or(Ok(Vec::new()), |asker| asker.budgets().audit())?),
            Kind::Shares => shares(&asker.map_or(Vec::new(), share_rows)),
            Kind::Peers => peers(asker),
        }
    }
}

struct BooksTable {
    kind: Kind,
    asker: Arc<Asker>,
}

impl fmt::Debug for BooksTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "psi.{}", self.kind.name())
    }
}

#[async_trait]
impl TableProvider for BooksTable {
    fn schema(&self) -> SchemaRef {
        // Made of no rows, it reads nothing and cannot fail.
        self.kind.rows(None).map_or_else(|_| Arc::new(Schema::empty()), |batch| batch.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (kind, asker) = (self.kind, Arc::clone(&self.asker));
        let rows = offload::block(move || kind.rows(Some(&asker)));
        let batch = rows.await.and_then(|rows| rows).map_err(to_datafusion)?;
        MemTable::try_new(batch.schema(), vec![vec![batch]])?.scan(state, projection, filters, limit).await
    }
}

/// Columns under construction.
#[derive(Default)]
struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn add(&mut self, name: &str, array: ArrayRef) {
        self.fields.push(Field::new(name, array.data_type().clone(), true));
        self.arrays.push(array);
    }

    fn text<T>(&mut self, name: &str, rows: &[T], of: impl Fn(&T) -> Option<String>) {
        self.add(name, Arc::new(rows.iter().map(of).collect::<StringArray>()));
    }

    fn number<T>(&mut self, name: &str, rows: &[T], of: impl Fn(&T) -> Option<u64>) {
        self.add(name, Arc::new(rows.iter().map(of).collect::<UInt64Array>()));
    }

    fn float<T>(&mut self, name: &str, rows: &[T], of: impl Fn(&T) -> Option<f64>) {
        let mut builder = Float64Builder::new();
        rows.iter().for_each(|row| builder.append_option(of(row)));
        self.add(name, Arc::new(builder.finish()));
    }

    fn flag<T>(&mut self, name: &str, rows: &[T], of: impl Fn(&T) -> Option<bool>) {
        let mut builder = BooleanBuilder::new();
        rows.iter().for_each(|row| builder.append_option(of(row)));
        self.add(name, Arc::new(builder.finish()));
    }

    fn time<T>(&mut self, name: &str, rows: &[T], of: impl Fn(&T) -> Option<chrono::DateTime<chrono::Utc>>) {
        let micros = rows.iter().map(|row| of(row).map(|time| time.timestamp_micros()));
        self.add(name, Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC")));
        debug_assert!(matches!(
            self.arrays.last().map(|array| array.data_type().clone()),
            Some(DataType::Timestamp(TimeUnit::Microsecond, _))
        ));
    }

    fn texts<T>(&mut self, name: &str, rows: &[T], of: impl Fn(&T) -> Option<Vec<String>>) {
        let mut builder = ListBuilder::new(StringBuilder::new());
        for row in rows {
            builder.append_option(of(row).map(|list| list.into_iter().map(Some)));
        }
        self.add(name, Arc::new(builder.finish()));
    }

    fn numbers<T>(&mut self, name: &str, rows: &[T], of: impl Fn(&T) -> Option<Vec<u64>>) {
        let mut builder = ListBuilder::new(UInt64Builder::new());
        for row in rows {
            builder.append_option(of(row).map(|list| list.into_iter().map(Some)));
        }
        self.add(name, Arc::new(builder.finish()));
    }

    fn finish(self) -> Result<RecordBatch, Error> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays).map_err(Error::internal)
    }
}

fn budget(rows: &[Balance]) -> Result<RecordBatch, Error> {
    let of = |account: &Account| account.clone();
    let mut columns = Columns::default();
    columns.text("peer", rows, |row| Some(of(&row.account).peer));
    columns.text("population", rows, |row| Some(of(&row.account).population));
    columns.text("direction", rows, |row| Some(row.account.direction.name().to_owned()));
    columns.text("period", rows, |row| Some(row.period.to_string()));
    columns.time("period_start", rows, |row| row.period_start);
    columns.time("period_end", rows, |row| row.period_end);
    columns.number("queries", rows, |row| Some(row.terms.queries));
    columns.number("queries_spent", rows, |row| Some(row.spent));
    columns.number("queries_open", rows, |row| Some(row.open));
    columns.number("queries_left", rows, |row| Some(row.queries_left));
    columns.number("noisy_sizes", rows, |row| Some(row.columns));
    columns.float("sizes_epsilon", rows, |row| match row.terms.sizes {
        Sizes::Exact => None,
        Sizes::Private { epsilon, .. } => Some(epsilon.to_f64()),
    });
    columns.float("sizes_delta_spent", rows, |row| row.delta);
    columns.float("sizes_delta_max", rows, |row| row.delta_max);
    // Answers come to the one who asks: the noise in them is on the other side's account.
    let answering = |row: &Balance| row.account.direction == Direction::Answering;
    columns.text("outputs_per_query", rows, |row| answering(row).then(|| row.outputs.clone()));
    columns.finish()
}

/// A text that a peer may have written, whole: what could steer a terminal is escaped, as `approve` shows it.
fn shown(text: &str) -> String {
    escaped(text, usize::MAX)
}

fn audit(rows: &[AuditRow]) -> Result<RecordBatch, Error> {
    let mut columns = Columns::default();
    columns.number("id", rows, |row| Some(row.id));
    columns.time("at", rows, |row| Some(row.at));
    columns.text("peer", rows, |row| Some(row.peer.clone()));
    columns.number("seq", rows, |row| Some(row.seq));
    columns.text("event", rows, |row| Some(row.event.name().to_owned()));
    columns.text("session", rows, |row| row.session.map(|session| session.to_string()));
    columns.text("direction", rows, |row| row.direction.map(|direction| direction.name().to_owned()));
    columns.text("population", rows, |row| row.population.clone());
    columns.text("question", rows, |row| row.question.as_deref().map(shown));
    columns.text("terms", rows, |row| row.terms.clone());
    columns.number("persons_own", rows, |row| row.persons_own);
    columns.number("persons_peer", rows, |row| row.persons_peer);
    columns.number("dummies_charged", rows, |row| row.tau);
    columns.number("identifiers", rows, |row| row.columns);
    columns.text("outputs", rows, |row| row.outputs.clone());
    columns.text("padding", rows, |row| row.padding.clone());
    columns.numbers("noisy_sizes", rows, |row| row.sizes.clone());
    columns.number("dummies", rows, |row| row.dummies);
    columns.text("outcome", rows, |row| row.outcome.as_deref().map(shown));
    columns.float("seconds", rows, |row| row.seconds);
    columns.number("bytes_out", rows, |row| row.bytes_out);
    columns.number("bytes_in", rows, |row| row.bytes_in);
    columns.flag("signed", rows, |row| row.outcome.as_ref().map(|_| row.receipt.is_some()));
    columns.text("hash", rows, |row| Some(hex_of(&row.hash)));
    columns.finish()
}

/// A share, whoever's it is.
struct ShareRow {
    peer: String,
    direction: &'static str,
    population: Option<String>,
    terms: ShareTerms,
}

fn share_rows(asker: &Asker) -> Vec<ShareRow> {
    let given = asker.party().shares.iter().flat_map(|share| {
        share.with.iter().map(|peer| ShareRow {
            peer: peer.clone(),
            direction: "given",
            population: Some(share.budget.population.clone()),
            terms: share.terms(),
        })
    });
    let taken = asker.listed_shares().into_iter().map(|(peer, terms)| ShareRow {
        peer,
        direction: "taken",
        population: None,
        terms,
    });
    given.chain(taken).collect()
}

fn shares(rows: &[ShareRow]) -> Result<RecordBatch, Error> {
    let mut columns = Columns::default();
    columns.text("peer", rows, |row| Some(row.peer.clone()));
    columns.text("direction", rows, |row| Some(row.direction.to_owned()));
    columns.text("table", rows, |row| Some(row.terms.table.clone()));
    columns.texts("identifiers", rows, |row| {
        Some(row.terms.identifiers.iter().map(|known| format!("{} as {}", known.name, known.normaliser)).collect())
    });
    columns
        .texts("aggregates", rows, |row| Some(row.terms.aggregates.iter().map(|known| known.column.clone()).collect()));
    columns.texts("filter_on", rows, |row| Some(row.terms.filter_on.clone()));
    columns.texts("group_by", rows, |row| Some(row.terms.group_by.iter().map(|group| group.column.clone()).collect()));
    columns.flag("requester_values", rows, |row| Some(row.terms.requester_values.is_some()));
    columns.number("minimum_matched", rows, |row| Some(row.terms.minimum_matched));
    columns.text("filtered_rows", rows, |row| Some(row.terms.filtered_rows.name().to_owned()));
    columns.text("population", rows, |row| row.population.clone());
    columns.text("sizes", rows, |row| Some(row.terms.sizes.to_string()));
    columns
        .text("outputs_per_query", rows, |row| row.terms.outputs.per_query().ok().map(|outputs| outputs.to_string()));
    columns.text("period", rows, |row| Some(row.terms.period.clone()));
    columns.flag("approval", rows, |row| Some(row.terms.approval));
    columns.finish()
}

fn peers(asker: Option<&Asker>) -> Result<RecordBatch, Error> {
    let rows = asker.map_or(&[][..], |asker| &asker.party().peers);
    let mut columns = Columns::default();
    columns.text("peer", rows, |row| Some(row.name.clone()));
    columns.text("address", rows, |row| Some(row.address.clone()));
    columns.texts("certificates_sha256", rows, |row| asker.map(|asker| asker.fingerprints(&row.name)));
    columns.flag("may_be_asked", rows, |row| asker.map(|asker| asker.party().may_ask(&row.name).is_ok()));
    columns.flag("may_ask", rows, |row| asker.map(|asker| asker.party().shares_with(&row.name).next().is_some()));
    columns.finish()
}
