//! Statements that change their session and have no rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::{MemTable, SchemaProvider};
use datafusion::common::{ResolvedTableReference, SchemaReference, TableReference};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{CreateMemoryTable, DdlStatement, LogicalPlan, SetVariable, Statement};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use tonic::{Code, Status};

use super::error::{engine, status};
use super::limits::SqlLimits;
use super::session::{Session, locked};
use super::statement::{Kept, is_operators, operators};

/// The memory of a session's tables: the engine's pool knows of it for as long as they stand, and longer where a view or a
/// result that waits may still hold the rows of one that is gone.
#[derive(Default)]
pub(super) struct Tables {
    /// By the tables' names, resolved: one of another schema is another table.
    held: HashMap<String, MemoryReservation>,
    /// Of tables that were dropped or replaced.
    gone: Vec<MemoryReservation>,
}

impl Tables {
    /// Keeps the memory of a table that is dropped, until [`let_go`](Self::let_go).
    pub(super) fn drop_table(&mut self, name: &str) {
        self.gone.extend(self.held.remove(name));
    }

    /// Gives the memory of dropped tables back: when nothing of the session can hold their rows any more.
    pub(super) fn let_go(&mut self) {
        self.gone.clear();
    }
}

/// Whether a statement has a query of its own, and so runs as long as one.
pub(super) fn has_query(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(_)))
}

/// Runs it.
pub(super) async fn run(
    context: &SessionContext,
    session: &Session,
    plan: LogicalPlan,
    text_bytes: usize,
    limits: &SqlLimits,
) -> Result<(), Status> {
    // Before it runs: afterwards a name may mean something else.
    let (made, gone) = (made(context, &plan, text_bytes), gone(context, &plan));
    if let Some((name, _)) = &made {
        let statements = locked(&session.statements);
        if !statements.kept.contains_key(name) && statements.count() >= limits.statements_per_session_max {
            return Err(full(limits.statements_per_session_max));
        }
        session.room_for_text(&statements, text_bytes, limits)?;
    }
    let view = matches!(&plan, LogicalPlan::Ddl(DdlStatement::CreateView(_)));
    let changed = match plan {
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) => create_table(context, session, create).await?,
        plan => {
            let done = context.execute_logical_plan(plan).await.map_err(|error| engine(&error))?;
            done.collect().await.map_err(|error| engine(&error))?;
            true
        }
    };
    if let Some((name, kept)) = made.filter(|_| changed) {
        locked(&session.statements).kept.insert(name.clone(), kept);
        if view {
            // It may stand where a table stood.
            session.give_up_table(&name);
        }
    }
    if let Some(name) = gone {
        locked(&session.statements).kept.remove(&name);
    }
    forget_dropped(context, session);
    Ok(())
}

/// Forgets the tables and views that are no more: dropped by name or with their schema. That a statement drops something
/// does not say that it did: DROP VIEW IF EXISTS of a table leaves the table.
fn forget_dropped(context: &SessionContext, session: &Session) {
    let mut dropped = Vec::new();
    locked(&session.statements).kept.retain(|key, kept| {
        // An error says that its schema is no more.
        let stands = |table: &TableReference| context.table_exist(table.clone()).unwrap_or(false);
        let keep = kept.table.as_ref().is_none_or(stands);
        if !keep {
            dropped.push(key.clone());
        }
        keep
    });
    for key in dropped {
        session.give_up_table(&key);
    }
}

/// The words where a session holds too much.
pub(super) fn full(statements_max: usize) -> Status {
    status(
        Code::ResourceExhausted,
        &format!(
            "this session keeps {statements_max} prepared statements, views and tables, as many as it may: close some, or the session"
        ),
    )
}

/// What a statement of that many bytes puts into its session, by a name that means the same whatever the session's default
/// schema: a table and a view of one name are one thing.
fn made(context: &SessionContext, plan: &LogicalPlan, bytes: usize) -> Option<(String, Kept)> {
    let table = |name: &TableReference, plan: bool| {
        let table = TableReference::from(resolved(context, name));
        (table_key(&table), Kept { bytes, plan, table: Some(table) })
    };
    match plan {
        LogicalPlan::Statement(Statement::Prepare(prepare)) => {
            Some((format!("statement {}", prepare.name), Kept { bytes, plan: true, table: None }))
        }
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) => Some(table(&create.name, false)),
        LogicalPlan::Ddl(DdlStatement::CreateView(view)) => Some(table(&view.name, true)),
        LogicalPlan::Ddl(DdlStatement::CreateCatalogSchema(schema)) => {
            let key = match schema.schema_name.split_once('.') {
                Some((catalog, schema)) => schema_key(context, Some(catalog), schema),
                None => schema_key(context, None, &schema.schema_name),
            };
            Some((key, Kept { bytes, plan: false, table: None }))
        }
        _ => None,
    }
}

/// What it takes out of it, beside tables and views.
fn gone(context: &SessionContext, plan: &LogicalPlan) -> Option<String> {
    match plan {
        LogicalPlan::Statement(Statement::Deallocate(prepared)) => Some(format!("statement {}", prepared.name)),
        LogicalPlan::Ddl(DdlStatement::DropCatalogSchema(schema)) => Some(match &schema.name {
            SchemaReference::Bare { schema } => schema_key(context, None, schema),
            SchemaReference::Full { schema, catalog } => schema_key(context, Some(catalog.as_ref()), schema),
        }),
        _ => None,
    }
}

fn table_key(resolved: &TableReference) -> String {
    format!("table {}", resolved.to_quoted_string())
}

fn schema_key(context: &SessionContext, catalog: Option<&str>, schema: &str) -> String {
    let options = context.copied_config();
    format!("schema {}.{schema}", catalog.unwrap_or(&options.options().catalog.default_catalog))
}

/// CREATE TABLE … AS, within the engine's memory, and with everything checked before its query runs: a private one
/// would be charged for nothing. Whether it made one: where IF NOT EXISTS finds one, or a view, that one stays.
async fn create_table(context: &SessionContext, session: &Session, create: CreateMemoryTable) -> Result<bool, Status> {
    let name = create.name.to_string();
    // Once, for all that follows: its memory must be kept under the very table that is made.
    let table = TableReference::from(resolved(context, &create.name));
    let key = table_key(&table);
    let refuse = |words: String| Err(status(Code::InvalidArgument, &words));
    if create.temporary {
        return refuse(
            "CREATE TEMPORARY TABLE: every table made here is one of its session, so write CREATE TABLE".to_owned(),
        );
    }
    let exists = context.table_exist(table.clone()).map_err(|error| engine(&error))?;
    if exists && create.if_not_exists {
        return Ok(false);
    }
    if exists && !create.or_replace {
        return refuse(format!("table '{name}' exists already: drop it first, or write CREATE OR REPLACE TABLE"));
    }
    let schema = Arc::clone(create.input.schema().inner());
    let mut seen = HashSet::new();
    if let Some(twice) = schema.fields().iter().find(|field| !seen.insert(field.name())) {
        return refuse(format!("two columns of '{name}' are called '{}': give one another name by AS", twice.name()));
    }
    if !exists {
        try_name(context, &table)?;
    }
    let pool = Arc::clone(&context.runtime_env().memory_pool);
    let memory = MemoryConsumer::new(format!("table '{name}' of an analyst")).register(&pool);
    let input = Arc::unwrap_or_clone(create.input);
    let frame = context.execute_logical_plan(input).await.map_err(|error| engine(&error))?;
    let mut rows = frame.execute_stream().await.map_err(|error| engine(&error))?;
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| engine(&error))?;
        memory.try_grow(batch.get_array_memory_size()).map_err(|error| engine(&error))?;
        batches.push(batch);
    }
    let made = MemTable::try_new(schema, vec![batches]).map_err(|error| engine(&error))?;
    let made =
        made.with_constraints(create.constraints).with_column_defaults(create.column_defaults.into_iter().collect());
    if exists {
        context.deregister_table(table.clone()).map_err(|error| engine(&error))?;
    }
    context.register_table(table, Arc::new(made)).map_err(|error| engine(&error))?;
    session.give_up_table(&key);
    locked(&session.tables).held.insert(key, memory);
    Ok(true)
}

/// Whether a table of that name can be made: a peer's schema takes none, for one.
fn try_name(context: &SessionContext, name: &TableReference) -> Result<(), Status> {
    let provider = schema_of(context, name)?;
    let table = name.table().to_owned();
    let empty = MemTable::try_new(Arc::new(Schema::empty()), vec![vec![]]);
    let tried = empty.and_then(|empty| provider.register_table(table.clone(), Arc::new(empty)));
    tried.and_then(|_| provider.deregister_table(&table)).map(|_| ()).map_err(|error| engine(&error))
}

fn schema_of(context: &SessionContext, name: &TableReference) -> Result<Arc<dyn SchemaProvider>, Status> {
    let resolved = resolved(context, name);
    let catalog = context.catalog(&resolved.catalog);
    catalog.and_then(|catalog| catalog.schema(&resolved.schema)).ok_or_else(|| {
        engine(&DataFusionError::Plan(format!("there is no schema '{}.{}'", resolved.catalog, resolved.schema)))
    })
}

fn resolved(context: &SessionContext, name: &TableReference) -> ResolvedTableReference {
    let options = context.copied_config();
    let defaults = &options.options().catalog;
    name.clone().resolve(&defaults.default_catalog, &defaults.default_schema)
}

/// Sets one setting as SET does; `None` resets it.
pub(super) async fn set(context: &SessionContext, name: &str, value: Option<&str>) -> Result<(), Status> {
    if is_operators(name) {
        return Err(status(Code::PermissionDenied, &operators(name)));
    }
    let variable = name.to_owned();
    let statement = match value {
        Some(value) => Statement::SetVariable(SetVariable { variable, value: value.to_owned() }),
        None => Statement::ResetVariable(datafusion::logical_expr::ResetVariable { variable }),
    };
    context.execute_logical_plan(LogicalPlan::Statement(statement)).await.map(|_| ()).map_err(|error| engine(&error))
}

#[cfg(test)]
mod tests {
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::prelude::SessionConfig;

    use super::super::statement::parse;
    use super::*;
    use crate::transport::Analyst;

    struct Running {
        context: SessionContext,
        session: Arc<Session>,
    }

    impl Running {
        fn new() -> Self {
            let runtime = RuntimeEnvBuilder::new().with_memory_limit(1 << 30, 1.0).build_arc().unwrap();
            let context = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
            Running { context, session: Session::new("0".repeat(32), Analyst::for_tests("ana"), None) }
        }

        /// Bytes that are held once all of these have run.
        async fn held(&self, texts: &[&str]) -> usize {
            for text in texts {
                let parsed = parse(&self.context, text, 1000).await.unwrap_or_else(|status| panic!("{text}: {status}"));
                let done = run(&self.context, &self.session, parsed.plan, text.len(), &SqlLimits::default()).await;
                done.unwrap_or_else(|status| panic!("{text}: {status}"));
            }
            self.context.runtime_env().memory_pool.reserved()
        }
    }

    const A: &str = "CREATE TABLE a AS VALUES (1), (2), (3)";

    #[tokio::test]
    async fn the_memory_of_a_table_is_held_for_as_long_as_that_very_table_stands() {
        let running = Running::new();
        let one = running.held(&[A]).await;
        assert!(one > 0);
        let in_s = ["CREATE SCHEMA s", "SET datafusion.catalog.default_schema = 's'", A];
        assert_eq!(running.held(&in_s).await, 2 * one, "the name is the same, and the table another");
        assert_eq!(running.held(&["DROP TABLE public.a"]).await, one, "written another way, the table is the same");
        assert_eq!(running.held(&["DROP VIEW IF EXISTS a"]).await, one, "a table is no view, so it stands");
        assert_eq!(running.held(&["CREATE OR REPLACE TABLE s.a AS VALUES (1), (2), (3)"]).await, one);
        assert_eq!(running.held(&["DROP SCHEMA s CASCADE"]).await, 0);
        assert_eq!(locked(&running.session.statements).count(), 0);
    }

    #[tokio::test]
    async fn a_view_that_is_not_replaced_still_holds_the_rows_of_what_it_reads() {
        let running = Running::new();
        let one = running.held(&[A]).await;
        let view = ["CREATE VIEW v AS SELECT * FROM a", "CREATE TABLE IF NOT EXISTS v AS VALUES (1)", "DROP TABLE a"];
        assert_eq!(running.held(&view).await, one);
        assert_eq!(running.held(&["DROP VIEW v"]).await, 0);
    }
}
