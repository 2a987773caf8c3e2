//! A peer as a schema of the default catalog: tables that have columns and terms, and no rows here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::TableType;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_plan::ExecutionPlan;

use super::error::to_datafusion;
use crate::psi::{self, Fault};
pub use crate::transport::SharedTable;

/// What planning needs of a peer: the tables that it shares with this party.
#[async_trait]
pub trait PeerCatalog: fmt::Debug + Send + Sync + 'static {
    /// The peer's name, which becomes a schema's name.
    fn name(&self) -> &str;

    /// The table's columns and terms as the peer gives them now; `None` if it shares no such table
    /// with this party. May connect. Fails with [`Fault::Environment`] if the peer cannot be reached.
    async fn share(&self, table: &str) -> Result<Option<Arc<SharedTable>>, psi::Error>;

    /// The tables known without asking the peer: for listings, which cannot wait.
    fn known_tables(&self) -> Vec<String>;
}

/// A peer as a schema.
#[derive(Debug)]
pub struct PeerSchema {
    peer: Arc<dyn PeerCatalog>,
    /// The last terms of each table, for EXPLAIN and DESCRIBE while the peer is down.
    kept: Mutex<BTreeMap<String, Arc<SharedTable>>>,
}

impl PeerSchema {
    /// The schema of that peer.
    pub fn new(peer: Arc<dyn PeerCatalog>) -> Self {
        PeerSchema { peer, kept: Mutex::default() }
    }

    /// The peer's name.
    pub fn peer_name(&self) -> &str {
        self.peer.name()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<SharedTable>>> {
        // The map is whole after every single operation, so a panic elsewhere cannot have broken it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_only(&self) -> DataFusionError {
        DataFusionError::Plan(format!(
            "schema '{}' is a peer: its tables are the ones that it shares, and nothing can be created, changed or dropped in it; \
             create yours in another schema",
            self.peer.name()
        ))
    }
}

#[async_trait]
impl SchemaProvider for PeerSchema {
    fn owner_name(&self) -> Option<&str> {
        Some(self.peer.name())
    }

    fn table_names(&self) -> Vec<String> {
        let mut names = self.peer.known_tables();
        names.extend(self.kept().keys().cloned());
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let shared = match self.peer.share(name).await {
            Ok(Some(shared)) => {
                self.kept().insert(name.to_owned(), Arc::clone(&shared));
                shared
            }
            Ok(None) => {
                self.kept().remove(name);
                let mut names = self.peer.known_tables();
                names.sort();
                let known = if names.is_empty() { "no table".to_owned() } else { names.join(", ") };
                return Err(DataFusionError::Plan(format!(
                    "peer '{peer}' shares no table '{name}' with this party; it shares: {known}. Nothing else can be in a peer's schema: \
                     tables of your own go into another",
                    peer = self.peer.name()
                )));
            }
            Err(error) => {
                let kept = if error.fault() == Fault::Environment { self.kept().get(name).cloned() } else { None };
                kept.ok_or_else(|| to_datafusion(error))?
            }
        };
        Ok(Some(Arc::new(PeerTable { peer: self.peer.name().to_owned(), shared })))
    }

    async fn table_type(&self, _name: &str) -> Result<Option<TableType>> {
        Ok(Some(TableType::Base))
    }

    fn register_table(&self, _name: String, _table: Arc<dyn TableProvider>) -> Result<Option<Arc<dyn TableProvider>>> {
        Err(self.read_only())
    }

    fn deregister_table(&self, _name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Err(self.read_only())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}

/// A table that a peer shares. It has columns and no rows: [`PsiRule`](super::PsiRule) takes it out of
/// every plan that asks for a private aggregate over it, and refuses every other.
#[derive(Debug)]
pub struct PeerTable {
    peer: String,
    shared: Arc<SharedTable>,
}

impl PeerTable {
    /// The table of that peer.
    pub fn new(peer: impl Into<String>, shared: Arc<SharedTable>) -> Self {
        PeerTable { peer: peer.into(), shared }
    }

    /// The peer's name.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Columns and terms.
    pub fn shared(&self) -> &Arc<SharedTable> {
        &self.shared
    }

    /// The error that stands for every attempt to reach the rows.
    fn no_rows(&self, attempt: &str) -> DataFusionError {
        DataFusionError::Plan(no_rows(&self.peer, &self.shared.terms.table, attempt, None))
    }
}

/// The sentences that stand for every attempt to reach a peer's rows, with what to do instead of it.
pub(super) fn no_rows(peer: &str, table: &str, attempt: &str, instead: Option<&str>) -> String {
    let instead = instead.map(|instead| format!(" {instead}.")).unwrap_or_default();
    format!(
        "{attempt} {peer}.{table}: its rows stay with {peer}.{instead} What can be asked is PRIVATE_INTERSECT_COUNT, \
         PRIVATE_INTERSECT_SUM or PRIVATE_INTERSECT_AVG over an inner join of it with a relation of your own, as in \
         SELECT PRIVATE_INTERSECT_COUNT(*) FROM mine m JOIN {peer}.{table} t ON m.id = t.id"
    )
}

#[async_trait]
impl TableProvider for PeerTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shared.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(self.no_rows("cannot read the rows of"))
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        _input: Arc<dyn ExecutionPlan>,
        _insert_op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(self.no_rows("cannot write to"))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;

    use super::*;
    use crate::psi::{Error, FilteredRows, OutputsTerms, ShareTerms, SizesTerms};

    /// A peer whose next answers are given.
    #[derive(Debug)]
    struct Scripted(Mutex<Vec<Result<Option<Arc<SharedTable>>, Error>>>);

    #[async_trait]
    impl PeerCatalog for Scripted {
        fn name(&self) -> &str {
            "insurer"
        }

        async fn share(&self, _table: &str) -> Result<Option<Arc<SharedTable>>, Error> {
            self.0.lock().unwrap().remove(0)
        }

        fn known_tables(&self) -> Vec<String> {
            Vec::new()
        }
    }

    fn stays() -> Arc<SharedTable> {
        let terms = ShareTerms {
            table: "stays".to_owned(),
            identifiers: Vec::new(),
            aggregates: Vec::new(),
            filter_on: Vec::new(),
            requester_values: None,
            minimum_matched: 0,
            filtered_rows: FilteredRows::Hide,
            sizes: SizesTerms::Exact { queries: 1 },
            outputs: OutputsTerms::Exact,
            group_by: Vec::new(),
            max_labels: 1,
            max_parts: 1,
            period: "forever".to_owned(),
            approval: false,
        };
        Arc::new(SharedTable { schema: Arc::new(Schema::empty()), terms })
    }

    #[tokio::test]
    async fn terms_are_kept_while_the_peer_is_down_and_forgotten_when_it_withdraws_them() {
        let down = || Err(Error::Environment("connection refused".to_owned()));
        let denied = || Err(Error::Refused("not for you".to_owned()));
        let answers = vec![down(), Ok(Some(stays())), down(), denied(), Ok(None), down()];
        let schema = PeerSchema::new(Arc::new(Scripted(Mutex::new(answers))));
        let mut read = Vec::new();
        for _ in 0..6 {
            read.push(schema.table("stays").await.map(|table| table.is_some()).map_err(|error| error.to_string()));
        }
        assert!(read[0].as_ref().is_err_and(|error| error.contains("connection refused")), "nothing is known yet");
        assert_eq!(read[1], Ok(true));
        assert_eq!(read[2], Ok(true), "EXPLAIN and DESCRIBE still work");
        assert!(read[3].as_ref().is_err_and(|error| error.contains("not for you")), "a refusal is no outage");
        assert!(read[4].as_ref().is_err_and(|error| error.contains("it shares: no table")));
        assert!(read[5].as_ref().is_err_and(|error| error.contains("connection refused")));
        assert!(schema.table_names().is_empty());
    }
}
