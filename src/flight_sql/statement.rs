//! From a statement's text to what may run: parsed, checked for what a server must not do, its parameters bound.
//!
//! | statement | here |
//! |---|---|
//! | queries, EXPLAIN, SHOW, DESCRIBE, EXECUTE | planned at once, run when their ticket is fetched |
//! | SET, RESET, CREATE VIEW, CREATE TABLE … AS, CREATE SCHEMA, DROP, PREPARE, DEALLOCATE | run at once, kept in the session's memory, gone with it |
//! | COPY, INSERT, UPDATE, DELETE, CREATE EXTERNAL TABLE | refused: they would read and write files, with the rights of the server, that no policy names |
//! | `SET datafusion.runtime.…` | refused: memory and temporary files are the operator's |
//! | transactions, functions, indexes, catalogs | refused: there are none |

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ParamValues, ScalarValue, TableReference};
use datafusion::logical_expr::{DdlStatement, LogicalPlan, Statement};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use tonic::{Code, Status};

use super::error::{engine, status};
use super::output::plain_schema;

/// The settings that are the operator's.
const RUNTIME: &str = "datafusion.runtime.";

/// Prepared statements of one session.
#[derive(Default)]
pub(super) struct Statements {
    pub(super) prepared: HashMap<String, Prepared>,
    /// What statements have put into the session: views, tables, schemas, PREPARE.
    pub(super) kept: HashMap<String, Kept>,
}

/// What a statement has put into its session.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// Bytes of its text.
    pub(super) bytes: usize,
    /// Whether it is a plan, which holds the rows of the tables that it reads.
    pub(super) plan: bool,
    /// The table or view that it is, with its catalog and schema.
    pub(super) table: Option<TableReference>,
}

impl Statements {
    /// How many things a session keeps.
    pub(super) fn count(&self) -> usize {
        self.kept.len() + self.prepared.len()
    }

    /// Whether any of them holds the rows of tables that may be gone.
    pub(super) fn have_plans(&self) -> bool {
        self.kept.values().any(|kept| kept.plan)
    }

    /// Bytes of their texts, and of values bound to them.
    pub(super) fn bytes(&self) -> usize {
        self.kept.values().map(|kept| kept.bytes).sum::<usize>()
            + self.prepared.values().map(Prepared::bytes).sum::<usize>()
    }
}

/// A prepared statement. It is planned anew each time it runs, since tables and shares may have changed.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) text: Arc<str>,
    /// The values of its parameters, once they are bound.
    pub(super) values: Option<Vec<ScalarValue>>,
}

impl Prepared {
    fn bytes(&self) -> usize {
        bytes_of(&self.text, self.values.as_deref())
    }
}

/// Bytes of a statement's text and of the values bound to it.
pub(super) fn bytes_of(text: &str, values: Option<&[ScalarValue]>) -> usize {
    text.len() + values.unwrap_or_default().iter().map(ScalarValue::size).sum::<usize>()
}

/// What a statement does.
pub(super) enum Kind {
    /// It has rows.
    Query,
    /// It changes the session and has none.
    Effect,
}

/// A statement that may run.
pub(super) struct Parsed {
    pub(super) plan: LogicalPlan,
    pub(super) kind: Kind,
}

impl Parsed {
    /// The schema of its rows, in the types of the wire; empty for an effect.
    pub(super) fn schema(&self) -> SchemaRef {
        match self.kind {
            Kind::Query => plain_schema(self.plan.schema().as_arrow()),
            Kind::Effect => Arc::new(Schema::empty()),
        }
    }

    /// Its parameters `$1`, `$2`, …, in their order; texts where nothing says which type.
    pub(super) fn parameters(&self) -> Result<Schema, Status> {
        let types = self.plan.get_parameter_types().map_err(|error| engine(&error))?;
        let mut numbered = Vec::with_capacity(types.len());
        for (name, kind) in types {
            let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
            let number = number
                .filter(|number| *number > 0)
                .ok_or_else(|| refused(&format!("the parameter '{name}' has a name: write ?, or $1, $2 and so on")))?;
            numbered.push((number, name, kind.unwrap_or(DataType::Utf8)));
        }
        numbered.sort_by_key(|(number, ..)| *number);
        if numbered.iter().enumerate().any(|(at, (number, ..))| *number != at + 1) {
            return Err(refused("the parameters are not numbered $1, $2 and so on without gaps"));
        }
        let fields: Vec<Field> = numbered.into_iter().map(|(_, name, kind)| Field::new(name, kind, true)).collect();
        Ok(plain_schema(&Schema::new(fields)).as_ref().clone())
    }

    /// The same with its parameters replaced by values.
    pub(super) fn bind(mut self, values: Option<&[ScalarValue]>) -> Result<Parsed, Status> {
        let wanted = self.parameters()?.fields().len();
        let values = values.unwrap_or_default();
        if wanted != values.len() {
            return Err(refused(&format!("the statement has {wanted} parameters, and {} are bound", values.len())));
        }
        if wanted > 0 {
            let values = ParamValues::from(values.to_vec());
            self.plan = self.plan.with_param_values(values).map_err(|error| engine(&error))?;
        }
        Ok(self)
    }
}

fn refused(words: &str) -> Status {
    status(Code::InvalidArgument, words)
}

/// Reads one statement. May ask peers for the terms of what they share.
pub(super) async fn parse(context: &SessionContext, text: &str, text_bytes_max: usize) -> Result<Parsed, Status> {
    if text.len() > text_bytes_max {
        return Err(refused(&format!("the statement has {} bytes, {text_bytes_max} are allowed", text.len())));
    }
    let state = context.state();
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(&numbered(text), &dialect).map_err(|error| engine(&error))?;
    let plan = state.statement_to_plan(statement).await.map_err(|error| engine(&error))?;
    let kind = checked(&plan)?;
    Ok(Parsed { plan, kind })
}

/// The values of a batch of parameters: one row.
pub(super) fn values(batches: &[RecordBatch]) -> Result<Vec<ScalarValue>, Status> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows > 1 {
        return Err(refused(&format!(
            "{rows} rows of parameters are bound: a statement runs once for one row; run it once for each"
        )));
    }
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() == 1) else { return Ok(Vec::new()) };
    batch
        .columns()
        .iter()
        .map(|column| ScalarValue::try_from_array(column, 0).map_err(|error| engine(&error)))
        .collect()
}

/// Gives each `?` its number, as JDBC and ODBC write them: the engine knows `$1`, `$2` and so on. A text that cannot
/// be cut into tokens stays as it is; the parser says what is wrong with it.
fn numbered(text: &str) -> String {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location() else { return text.to_owned() };
    let mut marks = tokens
        .iter()
        .filter(|token| matches!(&token.token, Token::Placeholder(name) if name == "?"))
        .map(|token| (token.span.start.line, token.span.start.column))
        .peekable();
    if marks.peek().is_none() {
        return text.to_owned();
    }
    let (mut line, mut column, mut number) = (1, 1, 0);
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if marks.peek() == Some(&(line, column)) {
            marks.next();
            number += 1;
            out.push_str(&format!("${number}"));
        } else {
            out.push(c);
        }
        if c == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    out
}

/// What a plan does, if it may.
fn checked(plan: &LogicalPlan) -> Result<Kind, Status> {
    let mut wrong = None;
    let walked = plan.apply_with_subqueries(|node| {
        wrong = forbidden(node);
        Ok(if wrong.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|error| engine(&error))?;
    if let Some(wrong) = wrong {
        return Err(status(Code::PermissionDenied, &wrong));
    }
    // A statement below another is only looked at, as by EXPLAIN, or was checked above.
    Ok(match plan {
        LogicalPlan::Ddl(_) => Kind::Effect,
        LogicalPlan::Statement(Statement::Execute(_)) => Kind::Query,
        LogicalPlan::Statement(_) => Kind::Effect,
        _ => Kind::Query,
    })
}

/// Why a node of a plan may not be here.
fn forbidden(node: &LogicalPlan) -> Option<String> {
    const INSTEAD: &str = "over Flight SQL nothing is written to files, and no other files are read than those of the tables that the \
         server's party.toml names; take results to where you are, keep them with CREATE TABLE … AS SELECT in this session, or run \
         `datafusion-psi sql` where the files are";
    let files = |what: &str| Some(format!("{what} is refused here: {INSTEAD}"));
    match node {
        LogicalPlan::Copy(_) => files("COPY"),
        LogicalPlan::Dml(dml) => files(&dml.op.name().to_uppercase()),
        LogicalPlan::Ddl(ddl) => match ddl {
            DdlStatement::CreateMemoryTable(_)
            | DdlStatement::CreateView(_)
            | DdlStatement::CreateCatalogSchema(_)
            | DdlStatement::DropTable(_)
            | DdlStatement::DropView(_)
            | DdlStatement::DropCatalogSchema(_) => None,
            DdlStatement::CreateExternalTable(_) => files("CREATE EXTERNAL TABLE"),
            other => Some(format!("{} is refused here: this server has none", other.name())),
        },
        LogicalPlan::Statement(statement) => match statement {
            Statement::TransactionStart(_) | Statement::TransactionEnd(_) => Some(
                "there are no transactions here: each statement stands alone, and what it has cost is spent".to_owned(),
            ),
            Statement::SetVariable(set) if is_operators(&set.variable) => Some(operators(&set.variable)),
            Statement::ResetVariable(reset) if is_operators(&reset.variable) => Some(operators(&reset.variable)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a setting is not for analysts.
pub(super) fn is_operators(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    name.starts_with(RUNTIME) || name == RUNTIME.trim_end_matches('.')
}

/// The words for it.
pub(super) fn operators(name: &str) -> String {
    format!(
        "'{name}' is not for analysts to set: how much memory there is, and where temporary files go, is the operator's, by memory_mb in [limits] of party.toml"
    )
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use datafusion::prelude::SessionConfig;

    use super::*;

    async fn reading(text: &str) -> Result<Parsed, Status> {
        let context = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
        context.sql("CREATE TABLE t AS VALUES (1, 'a'), (2, 'b')").await.unwrap();
        parse(&context, text, 10_000).await
    }

    #[test]
    fn question_marks_get_their_numbers_and_nothing_else_does() {
        for (text, due) in [
            ("SELECT ? + ?", "SELECT $1 + $2"),
            ("SELECT '?', \"?\", -- ?\n ?, $tag$?$tag$", "SELECT '?', \"?\", -- ?\n $1, $tag$?$tag$"),
            ("SELECT 'ä', ?", "SELECT 'ä', $1"),
            ("SELECT\r\n\t?\n,?", "SELECT\r\n\t$1\n,$2"),
            ("SELECT $2, $1", "SELECT $2, $1"),
            ("SELECT 'open", "SELECT 'open"),
        ] {
            assert_eq!(numbered(text), due);
        }
    }

    #[tokio::test]
    async fn what_would_touch_files_or_the_engine_is_refused_wherever_it_stands() {
        for (text, word) in [
            ("COPY t TO '/tmp/x.parquet'", "COPY"),
            ("COPY (SELECT 1) TO '/tmp/x.csv'", "COPY"),
            ("EXPLAIN COPY t TO '/tmp/x.parquet'", "COPY"),
            ("EXPLAIN ANALYZE COPY t TO '/tmp/x.parquet'", "COPY"),
            ("PREPARE p AS INSERT INTO t VALUES (1, 'a')", "INSERT"),
            ("INSERT INTO t VALUES (3, 'c')", "INSERT"),
            ("DELETE FROM t", "DELETE"),
            ("UPDATE t SET column1 = 2", "UPDATE"),
            ("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", "CREATE EXTERNAL TABLE"),
            ("CREATE FUNCTION f(BIGINT) RETURNS BIGINT RETURN $1", "CreateFunction"),
            ("CREATE DATABASE d", "CreateCatalog"),
            ("SET datafusion.runtime.memory_limit = '100G'", "datafusion.runtime.memory_limit"),
            ("SET DataFusion.Runtime.temp_directory = '/'", "untime.temp_directory"),
            ("RESET datafusion.runtime.memory_limit", "datafusion.runtime.memory_limit"),
            ("START TRANSACTION", "transactions"),
            ("COMMIT", "transactions"),
        ] {
            let refused = reading(text).await.err().unwrap_or_else(|| panic!("{text} is let pass"));
            assert!(refused.code() == Code::PermissionDenied && refused.message().contains(word), "{text}: {refused}");
        }
    }

    #[tokio::test]
    async fn a_statement_has_rows_or_an_effect() {
        for text in
            ["SELECT 1", "EXPLAIN SELECT 1", "SHOW TABLES", "DESCRIBE t", "VALUES (1)", "EXPLAIN ANALYZE SELECT 1"]
        {
            let parsed = reading(text).await.unwrap();
            assert!(matches!(parsed.kind, Kind::Query) && !parsed.schema().fields().is_empty(), "{text}");
        }
        for text in [
            "SET datafusion.execution.batch_size = 100",
            "CREATE VIEW v AS SELECT 1",
            "CREATE TABLE u AS SELECT 1",
            "DROP TABLE t",
            "PREPARE p AS SELECT 1",
            "CREATE SCHEMA s",
        ] {
            let parsed = reading(text).await.unwrap();
            assert!(matches!(parsed.kind, Kind::Effect) && parsed.schema().fields().is_empty(), "{text}");
        }
        assert!(reading("SELECT 1; SELECT 2").await.is_err(), "one statement a call");
        let long = reading(&format!("SELECT '{}'", "x".repeat(10_000))).await.err().unwrap();
        assert!(long.message().contains("10000 are allowed"), "{long}");
    }

    #[tokio::test]
    async fn parameters_are_listed_in_order_and_bound_as_values() {
        let parsed = reading("SELECT column2 FROM t WHERE column1 = ? AND column2 < ?").await.unwrap();
        let schema = parsed.parameters().unwrap();
        let kinds: Vec<_> = schema.fields().iter().map(|f| (f.name().as_str(), f.data_type().to_string())).collect();
        assert_eq!(kinds, [("$1", "Int64".to_owned()), ("$2", "Utf8".to_owned())]);
        let batch = RecordBatch::try_from_iter([
            ("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
            ("b", Arc::new(datafusion::arrow::array::StringArray::from(vec!["x"])) as ArrayRef),
        ])
        .unwrap();
        let bound = values(&[batch.slice(0, 0), batch.clone()]).unwrap();
        let text = parsed.bind(Some(&bound)).unwrap().plan.display_indent().to_string();
        assert!(text.contains("Int64(1)") && text.contains("\"x\"") && !text.contains('$'), "{text}");
        let two = values(&[batch.clone(), batch]).unwrap_err();
        assert!(two.message().contains("2 rows of parameters"), "{two}");
        let unbound = reading("SELECT ?").await.unwrap().bind(None).err().unwrap();
        assert!(unbound.message().contains("has 1 parameters, and 0 are bound"), "{unbound}");
        assert!(reading("SELECT $a").await.unwrap().parameters().is_err());
        assert!(reading("SELECT $2").await.unwrap().parameters().is_err());
    }
}
