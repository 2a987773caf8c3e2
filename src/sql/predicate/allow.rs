//! What a filter on a peer's table may consist of, decided before any value is looked at.
//!
//! A filter whose evaluation can fail, or can take long, on some value is an oracle: whether the query
//! fails tells something of a row that no noise covers. So each node of the expression has to be on the
//! list below, and everything else is refused by name.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF};

use super::cost::{Patterns, check_growth};
use crate::policy::{NotAllowed, check_filter_column};

/// The most nodes of a filter: generous for SQL that people or tools write, and small enough that each
/// row's evaluation and every recursion over the tree stay cheap.
pub(super) const NODES_MAX: usize = 2_000;

/// The most bytes of the characters that a function trims: each character of a text is compared with all of them.
const TRIM_BYTES_MAX: usize = 100;

/// The greatest count that `left`, `right` and `substr` take; negative ones can overflow or fail.
const COUNT_MAX: i64 = 1_000_000;

/// The parts of a date or time: all of them total on their types, and small integers.
const DATE_PARTS: [&str; 12] =
    ["year", "quarter", "month", "week", "day", "doy", "dow", "isodow", "hour", "minute", "second", "millisecond"];

/// How a function's arguments after the first have to look.
enum Arguments {
    /// Any allowed expressions.
    Any,
    /// Literal text of at most [`TRIM_BYTES_MAX`] bytes, for the characters to trim.
    LiteralCharacters,
    /// Literal text, to look for.
    LiteralText,
    /// Literal integers from 0 to [`COUNT_MAX`].
    LiteralCounts,
    /// The *first* argument is one of [`DATE_PARTS`].
    DatePart,
}

/// The functions that cannot fail, whatever their argument. They are compared by identity and not by
/// name, so that a function that a session registers under one of the names is none of them.
///
/// Left out, with the reason: arithmetic and `abs`, `date_trunc`, `to_*` (overflow or parse errors);
/// `repeat`, `lpad`, `rpad`, `replace`, `concat` (a short filter can build values larger than an Arrow
/// array holds, which is an error); `strpos` of one column in another (its time is the product of their
/// lengths); `regexp_*` (patterns cost, and fail to compile); `now`, `random`, `uuid` (not the same on both
/// sides); `arrow_cast` and friends (a cast by another name).
static TOTAL_FUNCTIONS: LazyLock<Vec<(Arc<ScalarUDF>, Arguments)>> = LazyLock::new(|| {
    use datafusion::functions::{core, datetime, string, unicode};
    vec![
        (string::lower(), Arguments::Any),
        (string::upper(), Arguments::Any),
        (string::octet_length(), Arguments::Any),
        (string::ascii(), Arguments::Any),
        (unicode::initcap(), Arguments::Any),
        (unicode::reverse(), Arguments::Any),
        (string::starts_with(), Arguments::Any),
        (string::ends_with(), Arguments::Any),
        (string::contains(), Arguments::Any),
        (string::btrim(), Arguments::LiteralCharacters),
        (string::ltrim(), Arguments::LiteralCharacters),
        (string::rtrim(), Arguments::LiteralCharacters),
        (unicode::character_length(), Arguments::Any),
        (unicode::strpos(), Arguments::LiteralText),
        (unicode::left(), Arguments::LiteralCounts),
        (unicode::right(), Arguments::LiteralCounts),
        (unicode::substr(), Arguments::LiteralCounts),
        (datetime::date_part(), Arguments::DatePart),
        (core::coalesce(), Arguments::Any),
        (core::nullif(), Arguments::Any),
        (core::nvl(), Arguments::Any),
        (core::greatest(), Arguments::Any),
        (core::least(), Arguments::Any),
    ]
});

/// The columns that a filter may name.
pub(super) struct Scope<'a> {
    pub(super) columns: &'a Schema,
    pub(super) filter_on: &'a [String],
    pub(super) schema: &'a DFSchema,
}

/// Refuses, with the reason, everything that is not known to be total.
pub(super) fn walk(expr: &Expr, scope: &Scope) -> Result<(), NotAllowed> {
    let mut nodes = 0;
    let mut refusal = Ok(());
    let mut patterns = Patterns::default();
    let visited = expr.apply(|node| {
        nodes += 1;
        let checked = if nodes > NODES_MAX {
            Err(NotAllowed::from(format!("a filter of more than {NODES_MAX} terms is too long")))
        } else {
            check(node, scope, &mut patterns)
        };
        Ok(match checked {
            Ok(next) => next,
            Err(reason) => {
                refusal = Err(reason);
                TreeNodeRecursion::Stop
            }
        })
    });
    refusal.and(visited.map(drop).map_err(|error| error.strip_backtrace().into()))?;
    check_growth(expr).map_err(NotAllowed::from)
}

/// One node; its children are visited after it.
fn check(node: &Expr, scope: &Scope, patterns: &mut Patterns) -> Result<TreeNodeRecursion, NotAllowed> {
    match node {
        // Whether a policy could allow the column is the one question that a policy answers.
        Expr::Column(column) if column.relation.is_none() => check_filter_column(scope.filter_on, &column.name)?,
        _ => {}
    }
    check_node(node, scope, patterns).map_err(NotAllowed::from)
}

fn check_node(node: &Expr, scope: &Scope, patterns: &mut Patterns) -> Result<TreeNodeRecursion, String> {
    use TreeNodeRecursion::Continue;
    match node {
        Expr::Column(column) => {
            if let Some(relation) = &column.relation {
                return Err(format!(
                    "'{relation}.{}' is qualified: a filter names columns without their table",
                    column.name
                ));
            }
            let field = scope.columns.field_with_name(&column.name);
            let field = field.map_err(|_| format!("column '{}' is not among the shared columns", column.name))?;
            if !is_scalar(field.data_type()) {
                return Err(format!(
                    "column '{}' is of type {}, which cannot be compared",
                    column.name,
                    field.data_type()
                ));
            }
            Ok(Continue)
        }
        Expr::Literal(..)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Between(_)
        | Expr::InList(_)
        | Expr::Case(_) => Ok(Continue),
        Expr::BinaryExpr(BinaryExpr { op, .. }) => match operator(*op) {
            None => Ok(Continue),
            Some(reason) => Err(format!("operator {op} {reason}")),
        },
        Expr::Like(like) => {
            if !matches!(like.escape_char, None | Some('\\')) {
                return Err("LIKE with an ESCAPE other than '\\' is not supported".to_owned());
            }
            patterns.add(like).map(|()| Continue)
        }
        Expr::Cast(Cast { expr, field }) => cast(expr, field.data_type(), false, scope).map(|()| Continue),
        Expr::TryCast(TryCast { expr, field }) => cast(expr, field.data_type(), true, scope).map(|()| Continue),
        Expr::ScalarFunction(call) => function(call).map(|()| Continue),
        Expr::SimilarTo(_) => Err("SIMILAR TO is a regular expression, whose cost is not bounded; use LIKE".to_owned()),
        Expr::Negative(_) => Err("negation of a value can overflow; compare with a negative literal".to_owned()),
        Expr::Alias(_) => Err("a filter has no alias".to_owned()),
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
            Err("a subquery cannot travel: its tables are not the peer's to read; write the values as a list"
                .to_owned())
        }
        Expr::AggregateFunction(call) => Err(format!("aggregate {} has no place in a filter", call.func.name())),
        Expr::WindowFunction(_) => Err("a window function has no place in a filter".to_owned()),
        Expr::Placeholder(placeholder) => Err(format!("parameter {} has no value yet", placeholder.id)),
        Expr::OuterReferenceColumn(_, column) => Err(format!("'{column}' belongs to an outer query")),
        Expr::ScalarVariable(_, names) => Err(format!("variable {} is not known to the peer", names.join("."))),
        // What is left has no place in a condition, or comes with a later version of DataFusion.
        other => Err(format!("{} is not allowed in a filter on a peer's table", other.variant_name())),
    }
}

/// A literal, whatever stands around it that needs no data.
pub(super) fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => literal(expr),
        _ => None,
    }
}

/// Why an operator is refused; `None` if it is not.
fn operator(op: Operator) -> Option<&'static str> {
    match op {
        Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq
        | Operator::And
        | Operator::Or
        | Operator::IsDistinctFrom
        | Operator::IsNotDistinctFrom => None,
        Operator::LikeMatch | Operator::ILikeMatch | Operator::NotLikeMatch | Operator::NotILikeMatch => {
            Some("is LIKE by another name: write LIKE")
        }
        Operator::Plus | Operator::Minus | Operator::Multiply => Some(
            "on a column can overflow, which would tell a value; move the arithmetic to the other side of the comparison",
        ),
        Operator::Divide | Operator::IntegerDivide | Operator::Modulo => {
            Some("can divide by zero, which would tell a value; compare with a multiple instead")
        }
        Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch => {
            Some("is a regular expression, whose cost is not bounded; use LIKE")
        }
        Operator::StringConcat => Some("can build values of any length; compare the parts one by one"),
        _ => Some("is not allowed in a filter on a peer's table"),
    }
}

fn function(call: &ScalarFunction) -> Result<(), String> {
    let name = call.func.name();
    let total = TOTAL_FUNCTIONS.iter().find(|(known, _)| known.as_ref() == call.func.as_ref());
    let Some((_, rest)) = total else {
        let names: Vec<&str> = TOTAL_FUNCTIONS.iter().map(|(known, _)| known.name()).collect();
        return Err(format!(
            "function {name} is not allowed in a filter on a peer's table, since it could fail, cost too much or differ \
             between the two sides; allowed are: {}",
            names.join(", ")
        ));
    };
    let later = || call.args.iter().skip(1);
    match rest {
        Arguments::Any => Ok(()),
        Arguments::LiteralCharacters => {
            let short = |argument: &Expr| {
                let text = literal(argument).map(|value| value.try_as_str().flatten().unwrap_or_default());
                text.is_some_and(|text| text.len() <= TRIM_BYTES_MAX)
            };
            if later().all(short) {
                Ok(())
            } else {
                Err(format!("{name} takes literal text of at most {TRIM_BYTES_MAX} bytes as the characters to trim"))
            }
        }
        Arguments::LiteralText => {
            if later().all(|argument| literal(argument).is_some()) {
                Ok(())
            } else {
                Err(format!("{name} takes literal text to look for"))
            }
        }
        Arguments::LiteralCounts => {
            let bounded = |argument: &Expr| {
                let value = literal(argument).and_then(|value| value.cast_to(&DataType::Int64).ok());
                matches!(value, Some(ScalarValue::Int64(Some(0..=COUNT_MAX))))
            };
            if later().all(bounded) {
                Ok(())
            } else {
                Err(format!("{name} takes literal numbers from 0 to {COUNT_MAX}"))
            }
        }
        Arguments::DatePart => {
            let part = call.args.first().and_then(literal).and_then(|value| value.try_as_str().flatten());
            let part = part.map(str::to_ascii_lowercase);
            if part.is_some_and(|part| DATE_PARTS.contains(&part.as_str())) {
                Ok(())
            } else {
                Err(format!("date_part and EXTRACT take one of: {}", DATE_PARTS.join(", ")))
            }
        }
    }
}

fn cast(inner: &Expr, to: &DataType, safe: bool, scope: &Scope) -> Result<(), String> {
    if literal(inner).is_some() {
        return Ok(()); // it is folded at planning, before any data is touched
    }
    let from = inner.get_type(scope.schema).map_err(|error| error.strip_backtrace())?;
    if is_total_cast(&from, to) || (safe && is_total_try_cast(&from, to)) {
        return Ok(());
    }
    let verb = if safe { "TRY_CAST" } else { "CAST" };
    Err(format!(
        "{verb} from {from} to {to} can fail on a value, which would tell it; compare with a literal of type {from}"
    ))
}

/// Scalars that compare, by value and without a way to fail.
fn is_scalar(column: &DataType) -> bool {
    match column {
        DataType::Dictionary(_, values) => is_scalar(values),
        DataType::Boolean
        | DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(..)
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => true,
        other => other.is_numeric() || is_text(other),
    }
}

pub(crate) fn is_text(column: &DataType) -> bool {
    matches!(column, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The decimal digits that every value of an integer type fits into.
pub(crate) fn integer_digits(integer: &DataType) -> Option<u8> {
    Some(match integer {
        DataType::Int8 | DataType::UInt8 => 3,
        DataType::Int16 | DataType::UInt16 => 5,
        DataType::Int32 | DataType::UInt32 => 10,
        DataType::Int64 => 19,
        DataType::UInt64 => 20,
        _ => return None,
    })
}

/// Whether every value of one integer type is one of the other.
pub(crate) fn is_wider_integer(from: &DataType, to: &DataType) -> bool {
    let bits = |integer: &DataType| integer.primitive_width().map(|bytes| 8 * bytes);
    let (Some(narrow), Some(wide)) = (bits(from), bits(to)) else { return false };
    match (from.is_signed_integer(), to.is_signed_integer()) {
        _ if !from.is_integer() || !to.is_integer() => false,
        (true, true) | (false, false) => wide >= narrow,
        (false, true) => wide > narrow,
        (true, false) => false,
    }
}

/// Precision and scale of a decimal of at most 128 bits.
pub(crate) fn decimal(column: &DataType) -> Option<(u8, i8)> {
    match column {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// Casts that cannot fail, whatever the value.
fn is_total_cast(from: &DataType, to: &DataType) -> bool {
    if from == to {
        return true;
    }
    if let DataType::Dictionary(_, values) = from {
        return is_total_cast(values, to);
    }
    if let Some((precision, scale)) = decimal(to) {
        let whole = i16::from(precision) - i16::from(scale);
        return match (integer_digits(from), decimal(from)) {
            (Some(digits), _) => scale >= 0 && whole >= i16::from(digits),
            (_, Some((p, s))) => scale >= s && whole >= i16::from(p) - i16::from(s),
            _ => false,
        };
    }
    let milliseconds =
        matches!(to, DataType::Date64 | DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, None));
    is_wider_integer(from, to)
        || (is_text(from) && is_text(to))
        || ((from.is_integer() || from == &DataType::Boolean) && is_text(to))
        || ((from.is_integer() || decimal(from).is_some() || from == &DataType::Float32) && to == &DataType::Float64)
        || (from == &DataType::Date32 && milliseconds)
        || (matches!(from, DataType::Binary | DataType::FixedSizeBinary(_))
            && matches!(to, DataType::LargeBinary | DataType::BinaryView))
        // Two million values of these fit a binary array, and no batch has as many.
        || matches!((from, to), (DataType::FixedSizeBinary(0..=1024), DataType::Binary))
}

/// Casts that give NULL where they overflow. Others, among them timestamp to date, can fail even so.
fn is_total_try_cast(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Date32, DataType::Timestamp(_, None)) => true,
        (DataType::Timestamp(_, from), DataType::Timestamp(_, to)) => from == to,
        _ => false,
    }
}

/// Makes the casts of dates and timestamps that DataFusion adds around a column total, by letting them
/// give NULL, which no comparison accepts, where they would fail.
pub(super) fn soften(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    use datafusion::common::tree_node::Transformed;
    let softened = expr.transform_up(|node| match node {
        Expr::Cast(Cast { expr, field }) if literal(&expr).is_none() => {
            let from = expr.get_type(schema)?;
            let needed = !is_total_cast(&from, field.data_type()) && is_total_try_cast(&from, field.data_type());
            Ok(if needed {
                Transformed::yes(Expr::TryCast(TryCast { expr, field }))
            } else {
                Transformed::no(Expr::Cast(Cast { expr, field }))
            })
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(softened.data)
}
