//! What is asked: the words that travel, this side's own values, and where each result comes from.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};

use super::super::functions::{PrivateAggregateKind, ResultPart};
use super::super::predicate::{Moment, decimal};
use super::super::query::{PrivateOutput, ResultColumn};
use super::argument::{Argument, Reader};
use super::build::travels;
use super::flatten::{JoinTree, Remote};
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

/// Why an aggregate whose value is one person's is refused, and what to ask instead.
pub(super) fn one_persons(kind: PrivateAggregateKind) -> String {
    format!(
        "{kind} is refused: its value is that of one person, so one person decides the answer, and no noise can hide \
         it without hiding the answer; count by bands instead, as in PRIVATE_INTERSECT_COUNT(*) FILTER (WHERE p.amount >= 100), \
         or GROUP BY a column of labels"
    )
}

impl Asked {
    /// Adds one aggregate expression, whose argument and filter name columns by leaf.
    pub(super) fn add(
        &mut self,
        tree: &JoinTree,
        remote: &Remote,
        float_decimals: u8,
        moment: &Moment,
        call: &AggregateFunction,
        (kind, argument, filter): (PrivateAggregateKind, Expr, Option<Expr>),
    ) -> Result<()> {
        let params = &call.params;
        if params.distinct {
            return refused(format!(
                "{kind}(DISTINCT …): rows of one person are one already, and values cannot be told apart; leave DISTINCT out"
            ));
        }
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return refused(format!("{kind} takes no ORDER BY and no treatment of NULLs: neither changes a sum"));
        }
        let schema = tree.schema()?;
        let when = |conditions: Vec<Expr>| travels(remote, conditions, moment, &format!("a condition inside {kind}"));
        let output = match (kind, Reader { tree, remote, schema: &schema, kind }.read(argument, filter)?) {
            (PrivateAggregateKind::Count, Argument::Persons(conditions)) => {
                PrivateOutput::Count(self.word(Aggregate::Persons, when(conditions)?))
            }
            (kind, Argument::Persons(_)) => {
                return refused(format!("{kind} of a constant: use PRIVATE_INTERSECT_COUNT(*) times it"));
            }
            (PrivateAggregateKind::Count, Argument::Theirs(column, conditions)) => {
                aggregate_terms(remote, &column)?;
                PrivateOutput::Count(self.word(Aggregate::Rows { column }, when(conditions)?))
            }
            (kind, Argument::Theirs(column, conditions)) => {
                if aggregate_terms(remote, &column)?.clip.is_none() {
                    return refused(format!(
                        "column '{column}' of {} can be counted, but not summed: its share has no bounds for it",
                        remote.full_name()
                    ));
                }
                self.theirs(kind, column, when(conditions)?)
            }
            (kind, Argument::Ours(value)) => self.own(tree, remote, &schema, float_decimals, kind, value)?,
        };
        self.check_count()?;
        let part = ResultPart::of(&call.func).unwrap_or(ResultPart::Value);
        self.outputs.push(ResultColumn { of: output, part });
        Ok(())
    }

    /// Adds the count of persons by which small groups are hidden, unless it is asked for anyway.
    pub(super) fn add_persons(&mut self) -> Result<()> {
        self.word(Aggregate::Persons, None);
        self.check_count()
    }

    fn check_count(&self) -> Result<()> {
        if self.aggregates.len() > AGGREGATES_MAX {
            return refused(format!(
                "one query asks for at most {AGGREGATES_MAX} sums and counts (an average is one of each, a variance two sums and \
                 a count, and groups under a minimum take a count of persons)"
            ));
        }
        Ok(())
    }

    /// A sum of the peer's column, or what is computed from several of them.
    fn theirs(&mut self, kind: PrivateAggregateKind, column: String, when: Option<String>) -> PrivateOutput {
        let mut word = |aggregate: fn(String) -> Aggregate| self.word(aggregate(column.clone()), when.clone());
        let spread = |squares, sum, rows, sample, root| PrivateOutput::Spread { squares, sum, rows, sample, root };
        let mut three = || (word(squares_of), word(sum_of), word(rows_of));
        match kind {
            PrivateAggregateKind::Avg => PrivateOutput::Avg { sum: word(sum_of), rows: word(rows_of) },
            PrivateAggregateKind::Var | PrivateAggregateKind::Stddev => {
                let (squares, sum, rows) = three();
                spread(squares, sum, rows, true, kind == PrivateAggregateKind::Stddev)
            }
            PrivateAggregateKind::VarPop | PrivateAggregateKind::StddevPop => {
                let (squares, sum, rows) = three();
                spread(squares, sum, rows, false, kind == PrivateAggregateKind::StddevPop)
            }
            _ => PrivateOutput::Sum(word(sum_of)),
        }
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
        if !matches!(kind, PrivateAggregateKind::Count | PrivateAggregateKind::Sum | PrivateAggregateKind::Avg) {
            return refused(format!(
                "{kind}({shown}) is over your own column, of which there are counts, sums and averages; with x = {shown}, ask for \
                 PRIVATE_INTERSECT_SUM(x * x), PRIVATE_INTERSECT_SUM(x) and PRIVATE_INTERSECT_COUNT(x), and compute it from the three"
            ));
        }
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
        let (value, decimals) = match (kind, value.get_type(schema)?) {
            (PrivateAggregateKind::Count, _) => (value, 0),
            // A dictionary is how values are stored, and no type of theirs.
            (_, DataType::Dictionary(_, plain)) => {
                let decimals = decimals(&plain, float_decimals, &shown)?;
                (cast(value, *plain), decimals)
            }
            (_, other) => (value, decimals(&other, float_decimals, &shown)?),
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
            PrivateAggregateKind::Count => PrivateOutput::Count(self.word(Aggregate::OwnRows { value }, None)),
            PrivateAggregateKind::Avg => PrivateOutput::Avg {
                sum: self.word(Aggregate::OwnSum { value, decimals }, None),
                rows: self.word(Aggregate::OwnRows { value }, None),
            },
            _ => PrivateOutput::Sum(self.word(Aggregate::OwnSum { value, decimals }, None)),
        })
    }

    /// The index of a word, added if it is new: equal aggregates are asked, and paid, once.
    fn word(&mut self, aggregate: Aggregate, when: Option<String>) -> usize {
        let word = AskedWord { aggregate, when };
        self.aggregates.iter().position(|known| *known == word).unwrap_or_else(|| {
            self.aggregates.push(word);
            self.aggregates.len() - 1
        })
    }
}

fn sum_of(column: String) -> Aggregate {
    Aggregate::Sum { column }
}

fn rows_of(column: String) -> Aggregate {
    Aggregate::Rows { column }
}

fn squares_of(column: String) -> Aggregate {
    Aggregate::Squares { column }
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
