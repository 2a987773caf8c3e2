//! Statements that change their session and have no rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::{MemTable, SchemaProvider};
use datafusion::common::{ResolvedTableReference, TableReference};
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
    let (made, gone) = (made(context, &plan), gone(context, &plan));
    if let Some((name, _)) = &made {
        let statements = locked(&session.statements);
        if !statements.kept.contains_key(name) && statements.count() >= limits.statements_per_session_max {
            return Err(full(limits.statements_per_session_max));
        }
        session.room_for_text(&statements, text_bytes, limits)?;
    }
    match plan {
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) => create_table(context, session, create).await?,
        plan => {
            let done = context.execute_logical_plan(plan).await.map_err(|error| engine(&error))?;
            done.collect().await.map_err(|error| engine(&error))?;
        }
    }
    {
        let mut statements = locked(&session.statements);
        statements.kept.extend(made.map(|(name, plan)| (name, Kept { bytes: text_bytes, plan })));
        gone.as_ref().map(|name| statements.kept.remove(name));
    }
    if let Some(name) = gone {
        session.give_up_table(&name);
    }
    Ok(())
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

/// What a statement puts into its session, and whether it is a plan: a table and a view of one name are one thing.
fn made(context: &SessionContext, plan: &LogicalPlan) -> Option<(String, bool)> {
    match plan {
        LogicalPlan::Statement(Statement::Prepare(prepare)) => Some((format!("statement {}", prepare.name), true)),
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(table)) => Some((table_key(context, &table.name), false)),
        LogicalPlan::Ddl(DdlStatement::CreateView(view)) => Some((table_key(context, &view.name), true)),
        LogicalPlan::Ddl(DdlStatement::CreateCatalogSchema(schema)) => {
            Some((format!("schema {}", schema.schema_name), false))
        }
        _ => None,
    }
}

/// What it takes out of it.
fn gone(context: &SessionContext, plan: &LogicalPlan) -> Option<String> {
    match plan {
        LogicalPlan::Statement(Statement::Deallocate(prepared)) => Some(format!("statement {}", prepared.name)),
        LogicalPlan::Ddl(DdlStatement::DropTable(table)) => Some(table_key(context, &table.name)),
        LogicalPlan::Ddl(DdlStatement::DropView(view)) => Some(table_key(context, &view.name)),
        LogicalPlan::Ddl(DdlStatement::DropCatalogSchema(schema)) => Some(format!("schema {}", schema.name)),
        _ => None,
    }
}

/// Which table it is, however its name is written: the default schema is a setting of the session.
fn table_key(context: &SessionContext, name: &TableReference) -> String {
    format!("table {}", TableReference::from(resolved(context, name)).to_quoted_string())
}

/// CREATE TABLE … AS, within the engine's memory, and with everything checked before its query runs: a private one
/// would be charged for nothing.
async fn create_table(context: &SessionContext, session: &Session, create: CreateMemoryTable) -> Result<(), Status> {
    let (name, key) = (create.name.to_string(), table_key(context, &create.name));
    let refuse = |words: String| Err(status(Code::InvalidArgument, &words));
    if create.temporary {
        return refuse(
            "CREATE TEMPORARY TABLE: every table made here is one of its session, so write CREATE TABLE".to_owned(),
        );
    }
    let exists = context.table_exist(create.name.clone()).map_err(|error| engine(&error))?;
    if exists && create.if_not_exists {
        return Ok(());
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
        try_name(context, &create.name)?;
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
    let table = MemTable::try_new(schema, vec![batches]).map_err(|error| engine(&error))?;
    let table =
        table.with_constraints(create.constraints).with_column_defaults(create.column_defaults.into_iter().collect());
    if exists {
        context.deregister_table(create.name.clone()).map_err(|error| engine(&error))?;
    }
    context.register_table(create.name, Arc::new(table)).map_err(|error| engine(&error))?;
    session.give_up_table(&key);
    locked(&session.tables).held.insert(key, memory);
    Ok(())
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
