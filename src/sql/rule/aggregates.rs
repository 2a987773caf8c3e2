//! What is asked: the words that travel, this side's own values, and where each result comes from.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, Cast};
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::super::functions::{PrivateAggregateKind, ResultPart};
use super::super::predicate::{decimal, integer_digits, is_wider_integer};
use super::super::query::{PrivateOutput, ResultColumn};
use super::flatten::{JoinTree, Remote, Side, position_of};
use super::refused;
use crate::psi::{AGGREGATES_MAX, Aggregate, AggregateTerms, AskedWord};

/// What the aggregates of one query come to.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The distinct words, in the order of their first use.
    pub(super) aggregates: Vec<AskedWord>,
    /// One per aggregate expression.
    pub(super) outputs: Vec<ResultColumn>,
    /// This side's own values, by value index.
    pub(super) own_values: Vec<Expr>,
}

/// What an aggregate's argument is.
enum Argument {
    /// `*`, or a literal that is not NULL: persons.
    Persons,
    /// A column of the share.
    Theirs(String),
    /// An expression of this side.
    Ours(Expr),
}

impl Asked {
    /// Adds one aggregate expression, whose argument names columns by leaf.
    pub(super) fn add(
        &mut self,
        tree: &JoinTree,
        remote: &Remote,
        float_decimals: u8,
        kind: PrivateAggregateKind,
        call: &AggregateFunction,
        argument: Expr,
    ) -> Result<()> {
        let params = &call.params;
        if params.distinct {
            return refused(format!(
                "{kind}(DISTINCT …): rows of one person are one already, and values cannot be told apart; leave DISTINCT out"
            ));
        }
        if params.filter.is_some() {
            return refused(format!(
                "{kind} with FILTER is not supported; put the condition into WHERE, and run one query per condition"
            ));
        }
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return refused(format!("{kind} takes no ORDER BY and no treatment of NULLs: neither changes a sum"));
        }
        let schema = tree.schema()?;
        let argument = read_argument(tree, remote, &schema, kind, argument)?;
        let output = match (kind, argument) {
            (PrivateAggregateKind::Count, Argument::Persons) => PrivateOutput::Count(self.word(Aggregate::Persons)),
            (kind, Argument::Persons) => {
                return refused(format!("{kind} of a constant: use PRIVATE_INTERSECT_COUNT(*) times it"));
            }
            (PrivateAggregateKind::Count, Argument::Theirs(column)) => {
                aggregate_terms(remote, &column)?;
                PrivateOutput::Count(self.word(Aggregate::Rows { column }))
            }
            (kind, Argument::Theirs(column)) => {
                if aggregate_terms(remote, &column)?.clip.is_none() {
                    return refused(format!(
                        "column '{column}' of {} can be counted, but not summed: its share has no bounds for it",
                        remote.full_name()
                    ));
                }
                let sum = self.word(Aggregate::Sum { column: column.clone() });
                match kind {
                    PrivateAggregateKind::Avg => {
                        PrivateOutput::Avg { sum, rows: self.word(Aggregate::Rows { column }) }
                    }
                    _ => PrivateOutput::Sum(sum),
                }
            }
            (kind, Argument::Ours(value)) => self.own(tree, remote, &schema, float_decimals, kind, value)?,
        };
        if self.aggregates.len() > AGGREGATES_MAX {
            return refused(format!(
                "one query asks for at most {AGGREGATES_MAX} sums and counts (an average is one of each)"
            ));
        }
        let part = ResultPart::of(&call.func).unwrap_or(ResultPart::Value);
        self.outputs.push(ResultColumn { of: output, part });
        Ok(())
    }

    fn own(
        &mut self,
        tree: &JoinTree,
        remote: &Remote,
        schema: &DFSchema,
        float_decimals: u8,
        kind: PrivateAggregateKind,
        value: Expr,
    ) -> Result<PrivateOutput> {
        let shown = tree.show(&value);
        if remote.shared.terms.requester_values.is_none() {
            return refused(format!(
                "{kind}({shown}) is over your own column: {} does not allow its peers to sum values of theirs over the matches \
                 (its share has requester_values = false); ask for PRIVATE_INTERSECT_COUNT(*) or a column of {}",
                remote.peer,
                remote.full_name()
            ));
        }
        if value.is_volatile() {
            return refused(format!(
                "{kind}({shown}) is over a volatile expression; compute it in a subquery over your own table"
            ));
        }
        let decimals = match (kind, value.get_type(schema)?) {
            (PrivateAggregateKind::Count, _) => 0,
            (_, DataType::Dictionary(_, values)) => decimals(&values, float_decimals, &shown)?,
            (_, other) => decimals(&other, float_decimals, &shown)?,
        };
        let index = match self.own_values.iter().position(|known| *known == value) {
            Some(index) => index,
            None => {
                self.own_values.push(value);
                self.own_values.len() - 1
            }
        };
        let Ok(value) = u8::try_from(index) else { return refused("one query sums at most 256 values of your own") };
        Ok(match kind {
            PrivateAggregateKind::Count => PrivateOutput::Count(self.word(Aggregate::OwnRows { value })),
            PrivateAggregateKind::Sum => PrivateOutput::Sum(self.word(Aggregate::OwnSum { value, decimals })),
            PrivateAggregateKind::Avg => PrivateOutput::Avg {
                sum: self.word(Aggregate::OwnSum { value, decimals }),
                rows: self.word(Aggregate::OwnRows { value }),
            },
        })
    }

    /// The index of a word, added if it is new: equal aggregates are asked, and paid, once.
    fn word(&mut self, aggregate: Aggregate) -> usize {
        let word = AskedWord::from(aggregate);
        self.aggregates.iter().position(|known| *known == word).unwrap_or_else(|| {
            self.aggregates.push(word);
            self.aggregates.len() - 1
        })
    }
}

fn decimals(value: &DataType, float_decimals: u8, shown: &str) -> Result<u8> {
    match decimal(value) {
        Some((_, scale)) => match u8::try_from(scale) {
            Ok(scale) => Ok(scale),
            Err(_) => refused(format!("{shown} is a decimal of negative scale; cast it to one with scale 0")),
        },
        None if value.is_floating() => Ok(float_decimals),
        None if value.is_integer() => Ok(0),
        None => refused(format!("{shown} is of type {value}, which cannot be summed")),
    }
}

fn read_argument(
    tree: &JoinTree,
    remote: &Remote,
    schema: &DFSchema,
    kind: PrivateAggregateKind,
    argument: Expr,
) -> Result<Argument> {
    match tree.side(&argument)? {
        Side::Neither => match argument {
            Expr::Literal(value, _) if !value.is_null() => Ok(Argument::Persons),
            other => refused(format!("{kind}({other}) reads no column; use PRIVATE_INTERSECT_COUNT(*) for persons")),
        },
        Side::Local => Ok(Argument::Ours(argument)),
        Side::Remote => {
            let bare = strip_numeric_casts(argument, schema)?;
            let position = match &bare {
                Expr::Column(column) => position_of(column),
                _ => None,
            };
            match position {
                Some((_, position)) => Ok(Argument::Theirs(remote.column(position).to_owned())),
                None => refused(format!(
                    "{kind}({}) is over an expression of {}'s columns: the bounds of the share are those of a column, so only a column \
                     can be summed; factors and offsets go outside, as in 2 * {kind}(column)",
                    tree.show(&bare),
                    remote.peer
                )),
            }
        }
        Side::Both => refused(format!(
            "{kind}({}) mixes values of both sides: neither side can compute it without seeing the other's; \
             aggregate the two columns separately",
            tree.show(&argument)
        )),
    }
}

fn aggregate_terms<'a>(remote: &'a Remote, column: &str) -> Result<&'a AggregateTerms> {
    let aggregates = &remote.shared.terms.aggregates;
    match aggregates.iter().find(|terms| terms.column == column) {
        Some(terms) => Ok(terms),
        None => {
            let listed: Vec<&str> = aggregates.iter().map(|terms| terms.column.as_str()).collect();
            let listed = if listed.is_empty() { "none".to_owned() } else { listed.join(", ") };
            refused(format!(
                "column '{column}' of {} cannot be aggregated; the share allows: {listed} (and PRIVATE_INTERSECT_COUNT(*))",
                remote.full_name()
            ))
        }
    }
}

/// Takes off casts that change a number's type and no value's meaning: widening, and to double, which the
/// sum can be given afterwards as well.
fn strip_numeric_casts(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let mut expr = expr;
    loop {
        let Expr::Cast(Cast { expr: inner, field }) = &expr else { return Ok(expr) };
        if !keeps_number(&inner.get_type(schema)?, field.data_type()) {
            return Ok(expr);
        }
        expr = inner.as_ref().clone();
    }
}

fn keeps_number(from: &DataType, to: &DataType) -> bool {
    if let DataType::Dictionary(_, values) = from {
        return keeps_number(values, to);
    }
    let whole = |(precision, scale): (u8, i8)| i16::from(precision) - i16::from(scale);
    match (integer_digits(from), decimal(from), decimal(to)) {
        (Some(digits), _, Some(wide)) => wide.1 >= 0 && whole(wide) >= i16::from(digits),
        (_, Some(narrow), Some(wide)) => wide.1 >= narrow.1 && whole(wide) >= whole(narrow),
        (_, None, Some(_)) => false,
        _ => from == to || is_wider_integer(from, to) || (from.is_numeric() && to == &DataType::Float64),
    }
}
