//! Filters on a peer's table: from the requester's plan to SQL text, and at the owner back again.
//!
//! The text is all that travels. The owner reads it afresh, with a parser of fixed settings, names only
//! the columns of `filter_on`, and holds every node against the list in `allow`; the requester does the
//! same before it sends anything, so that its analyst reads the refusal and not a peer's log.
//! docs: protocol, "Filters are questions too".

mod allow;
mod cost;
mod probe;

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::Schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue, SchemaError};
use datafusion::config::Dialect;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::context::{SessionConfig, SessionState};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::unparser::Unparser;

use self::allow::{Scope, soften, walk};
pub(super) use self::allow::{decimal, integer_digits, is_text, is_wider_integer};
use self::cost::{check_cases, check_growth, check_text, with_room};
use self::probe::check_types;
pub(super) use self::probe::evaluated;
use crate::policy::{NotAllowed, check_filter_column};

/// The longest text of a filter, in bytes: a list of several hundred values.
pub const FILTER_BYTES_MAX: usize = 16 * 1024;

/// The one moment that `now()` stands for in a statement, and the options that it depends on.
#[derive(Debug, Clone)]
pub(super) struct Moment(SimplifyContext);

impl Moment {
    /// This moment, under a session's options.
    pub(super) fn now(options: &ConfigOptions) -> Self {
        Moment(SimplifyContext::builder().with_config_options(Arc::new(options.clone())).with_current_time().build())
    }

    /// Folds what needs no column, `now()` included.
    pub(super) fn fold(&self, expr: Expr, schema: &DFSchema) -> Result<Expr, String> {
        fold(expr, schema, &self.0)
    }
}

/// Parses, and nothing else: DataFusion's own functions and fixed settings, so that neither side's
/// session options change what a text means.
static PARSER: LazyLock<SessionState> = LazyLock::new(|| {
    let mut config = SessionConfig::new();
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::Generic;
    options.sql_parser.parse_float_as_decimal = false;
    options.sql_parser.enable_ident_normalization = true;
    SessionStateBuilder::new()
        .with_config(config)
        .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .build()
});

/// Reads a filter at the owner: one expression over `filter_on` columns of `columns`, boolean, and total
/// (nothing in it can fail or run away on any value). Returns it coerced and simplified, with
/// unqualified columns, ready for a physical expression over `columns`.
///
/// # Errors
/// [`NotAllowed`] for everything else, with a sentence that names the offending part, and before any
/// value is read.
pub fn parse_filter(text: &str, columns: &Schema, filter_on: &[String]) -> Result<Expr, NotAllowed> {
    read(text, columns, filter_on)
        .map_err(|reason| NotAllowed { what: format!("filter refused: {}", reason.what), ..reason })
}

fn read(text: &str, columns: &Schema, filter_on: &[String]) -> Result<Expr, NotAllowed> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(format!("its text has {} bytes, more than {FILTER_BYTES_MAX}", text.len()).into());
    }
    check_text(text)?;
    with_room(|| read_bounded(text, columns, filter_on))
}

fn read_bounded(text: &str, columns: &Schema, filter_on: &[String]) -> Result<Expr, NotAllowed> {
    let schema = filter_schema(columns, filter_on)?;
    let parsed = PARSER
        .sql_to_expr_with_alias(text, &Dialect::Generic)
        .map_err(|error| format!("it is no condition in SQL: {}", readable(&error)))?;
    if parsed.alias.is_some() {
        return Err("a filter has no alias".to_owned().into());
    }
    check_cases(&parsed.expr)?;
    let expr = PARSER.create_logical_expr_from_sql_expr(parsed, &schema).map_err(|error| match error.find_root() {
        DataFusionError::SchemaError(missing, _) => missing_column(missing, filter_on),
        _ => readable(&error).into(),
    })?;
    let expr = without_names(expr).map_err(|error| readable(&error))?;
    let scope = Scope { columns, filter_on, schema: &schema };
    walk(&expr, &scope)?;
    // Types first, since coercion adds casts, which have to be looked at before folding may hide them.
    let without_moment = SimplifyContext::builder().with_config_options(Arc::new(ConfigOptions::default())).build();
    let coerced = coerce(expr, &schema, &without_moment)?;
    walk(&coerced, &scope)?;
    let simplified = fold(coerced, &schema, &without_moment)?;
    walk(&simplified, &scope)?;
    if simplified.column_refs().is_empty() {
        return Err("it is the same for every row".to_owned().into());
    }
    check_types(&simplified, columns, &schema)?;
    Ok(simplified)
}

/// Writes the terms of a WHERE clause on a peer's table as the text that travels; `None` if they always
/// hold. The terms name columns unqualified; `now()` becomes `moment`.
///
/// # Errors
/// The sentence that says which part cannot travel, and why.
pub(super) fn render_filter(
    terms: Vec<Expr>,
    columns: &Schema,
    filter_on: &[String],
    moment: &Moment,
) -> Result<Option<String>, NotAllowed> {
    let schema = filter_schema(columns, filter_on)?;
    let mut texts = Vec::new();
    for term in terms {
        let scope = Scope { columns, filter_on, schema: &schema };
        let term = without_names(term).map_err(|error| readable(&error))?;
        // Columns first: simplifying needs their types, and an undeclared one has to be refused by name.
        check_columns(&term, filter_on)?;
        check_growth(&term)?;
        // Twice: what folding makes of a list with a NULL in it folds once more, and the owner, who folds what it reads,
        // would read something else than was written.
        let simplified = moment.fold(moment.fold(term, &schema)?, &schema)?;
        match simplified {
            Expr::Literal(ScalarValue::Boolean(Some(true)), _) => continue,
            Expr::Literal(..) => {
                return Err("it can never hold, so the answer would be that of no rows".to_owned().into());
            }
            _ => {}
        }
        walk(&simplified, &scope)?;
        let spelled = spell_numbers(simplified.clone()).map_err(|error| readable(&error))?;
        let text = Unparser::default().expr_to_sql(&spelled).map_err(|error| readable(&error))?.to_string();
        // The owner reads the text and not our tree: what it will read has to mean the same.
        let read_back = read(&text, columns, filter_on)
            .map_err(|reason| NotAllowed { what: format!("{} (written as: {text})", reason.what), ..reason })?;
        if canonical(read_back) != canonical(simplified) {
            return Err(format!("it does not survive being written as text ({text}); write it another way").into());
        }
        texts.push(text);
    }
    let whole = match texts.as_slice() {
        [] => return Ok(None),
        [one] => one.clone(),
        several => several.iter().map(|text| format!("({text})")).collect::<Vec<_>>().join(" AND "),
    };
    read(&whole, columns, filter_on)?;
    Ok(Some(whole))
}

/// The same expression without the names that the parser gives to a function which was called by its second one:
/// `length(x)` is `character_length(x) AS length(x)` to it.
fn without_names(expr: Expr) -> Result<Expr, DataFusionError> {
    let bare = expr.transform_up(|node| {
        Ok(match node {
            Expr::Alias(alias) => Transformed::yes(*alias.expr),
            other => Transformed::no(other),
        })
    })?;
    Ok(bare.data)
}

/// The same expression without the differences that carry no meaning: which of Arrow's text types a
/// literal has.
fn canonical(expr: Expr) -> Expr {
    let text = |node| {
        Ok(match node {
            Expr::Literal(ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text), _) => {
                Transformed::yes(Expr::Literal(ScalarValue::Utf8(text), None))
            }
            Expr::Literal(value, Some(_)) => Transformed::yes(Expr::Literal(value, None)),
            other => Transformed::no(other),
        })
    };
    // The closure never fails, and a tree that it cannot walk is compared as it is.
    expr.clone().transform_up(text).map_or(expr, |transformed| transformed.data)
}

/// Numbers whose digits alone would be read as another type or value, as casts of their text: decimals, and
/// floats that are small, large, of 32 bits or not finite.
fn spell_numbers(expr: Expr) -> Result<Expr, DataFusionError> {
    let plain = |value: &ScalarValue| match value {
        ScalarValue::Float64(Some(number)) => number.abs() <= 1e15 && (number.abs() >= 1e-6 || *number == 0.0),
        other => !other.data_type().is_floating() && !other.data_type().is_decimal(),
    };
    let spelled = expr.transform_up(|node| {
        Ok(match node {
            Expr::Literal(value, metadata) if value.is_null() || plain(&value) => {
                Transformed::no(Expr::Literal(value, metadata))
            }
            Expr::Literal(value, _) => {
                let text = Expr::Literal(ScalarValue::Utf8(Some(value.to_string())), None);
                Transformed::yes(Expr::Cast(Cast::new(Box::new(text), value.data_type())))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(spelled.data)
}

fn check_columns(term: &Expr, filter_on: &[String]) -> Result<(), NotAllowed> {
    let mut names: Vec<String> = term.column_refs().into_iter().map(|column| column.name.clone()).collect();
    names.sort();
    names.iter().try_for_each(|name| check_filter_column(filter_on, name))
}

/// Why a name of the text is none that the parser knows, where only the columns of `filter_on` are names.
fn missing_column(missing: &SchemaError, filter_on: &[String]) -> NotAllowed {
    match missing {
        SchemaError::FieldNotFound { field, .. } => check_filter_column(filter_on, &field.name)
            .err()
            // The name is there, so what stands before it is not.
            .unwrap_or_else(|| format!("'{field}' is qualified: a filter names columns without their table").into()),
        other => other.to_string().into(),
    }
}

fn filter_schema(columns: &Schema, filter_on: &[String]) -> Result<DFSchema, String> {
    let fields = columns.fields().iter().filter(|field| filter_on.contains(field.name())).cloned();
    DFSchema::from_unqualified_fields(fields.collect(), Default::default()).map_err(|error| readable(&error))
}

/// Gives both sides of each operation one type, by casts that are total where they can be.
fn coerce(expr: Expr, schema: &DFSchema, context: &SimplifyContext) -> Result<Expr, String> {
    let coerced = simplifier(schema, context).coerce(expr, schema);
    coerced.and_then(|coerced| soften(coerced, schema)).map_err(|error| readable(&error))
}

/// Coerces, and folds what needs no column.
fn fold(expr: Expr, schema: &DFSchema, context: &SimplifyContext) -> Result<Expr, String> {
    let coerced = coerce(expr, schema, context)?;
    simplifier(schema, context).simplify(coerced).map_err(|error| readable(&error))
}

fn simplifier(schema: &DFSchema, context: &SimplifyContext) -> ExprSimplifier {
    ExprSimplifier::new(
        SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(Arc::clone(context.config_options()))
            .with_query_execution_start_time(context.query_execution_start_time())
            .build(),
    )
}

/// The first line of an error, without what DataFusion wraps around it.
fn readable(error: &DataFusionError) -> String {
    let text = match error.find_root() {
        DataFusionError::SQL(error, _) => match error.as_ref() {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
            ParserError::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
        },
        _ => error.strip_backtrace(),
    };
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
