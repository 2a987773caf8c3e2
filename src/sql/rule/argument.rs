//! An aggregate's argument: whose value it is, and which of the peer's rows count for it.

use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Case, Cast, TryCast};
use datafusion::logical_expr::utils::{conjunction, disjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr};

use super::super::functions::PrivateAggregateKind;
use super::super::predicate::{decimal, integer_digits, is_wider_integer};
use super::flatten::{JoinTree, Remote, Side, position_of};
use super::refused;
use datafusion::arrow::datatypes::DataType;

/// What an aggregate is over. Conditions name columns by leaf, and are the peer's alone.
#[derive(Debug)]
pub(super) enum Argument {
    /// `*`, or a literal that is not NULL: persons, those with a row for which all of these hold.
    Persons(Vec<Expr>),
    /// A column of the share, over the rows for which all of these hold.
    Theirs(String, Vec<Expr>),
    /// An expression of this side.
    Ours(Expr),
}

/// Where an argument stands, for reading it.
pub(super) struct Reader<'a> {
    pub(super) tree: &'a JoinTree,
    pub(super) remote: &'a Remote,
    pub(super) schema: &'a DFSchema,
    pub(super) kind: PrivateAggregateKind,
}

/// The conditions of a FILTER clause, by side.
#[derive(Default)]
struct Filter {
    local: Vec<Expr>,
    remote: Vec<Expr>,
}

/// What a branch of CASE gives.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    Null,
    Zero,
    /// Another literal.
    Constant,
    /// A column of the share.
    Column(String),
}

impl Reader<'_> {
    /// Reads an argument and the FILTER beside it.
    pub(super) fn read(&self, argument: Expr, filter: Option<Expr>) -> Result<Argument> {
        let (kind, peer) = (self.kind, &self.remote.peer);
        let filter = self.filter(filter)?;
        let argument = match self.tree.side(&argument)? {
            Side::Neither => match argument {
                Expr::Literal(value, _) if !value.is_null() => Argument::Persons(Vec::new()),
                other => {
                    return refused(format!(
                        "{kind}({other}) reads no column; use PRIVATE_INTERSECT_COUNT(*) for persons"
                    ));
                }
            },
            Side::Local => Argument::Ours(argument),
            side => match strip_numeric_casts(argument, self.schema)? {
                Expr::Case(case) => self.case(case)?,
                Expr::Column(column) if side == Side::Remote => match position_of(&column) {
                    Some((_, position)) => Argument::Theirs(self.remote.column(position).to_owned(), Vec::new()),
                    None => return refused(self.an_expression(&Expr::Column(column))),
                },
                other if side == Side::Remote => return refused(self.an_expression(&other)),
                other => {
                    return refused(format!(
                        "{kind}({}) mixes values of both sides: neither side can compute it without seeing the other's; \
                         aggregate the two columns separately",
                        self.tree.show(&other)
                    ));
                }
            },
        };
        match argument {
            Argument::Ours(_) if !filter.remote.is_empty() => refused(format!(
                "{kind} of a value of yours with FILTER over {peer}'s columns: {peer} never learns whose value it is, so it cannot \
                 leave rows out of it; put the condition into WHERE, in a query of its own"
            )),
            Argument::Ours(value) => Ok(Argument::Ours(match conjunction(filter.local) {
                None => value,
                Some(condition) => Expr::Case(Case::new(None, vec![(Box::new(condition), Box::new(value))], None)),
            })),
            Argument::Persons(_) | Argument::Theirs(..) if !filter.local.is_empty() => {
                let condition = filter.local.first().map(|condition| self.tree.show(condition)).unwrap_or_default();
                refused(self.mixes(&condition))
            }
            Argument::Persons(mut when) => {
                when.extend(filter.remote);
                Ok(Argument::Persons(when))
            }
            Argument::Theirs(column, mut when) => {
                when.extend(filter.remote);
                Ok(Argument::Theirs(column, when))
            }
        }
    }

    /// Sorts a FILTER's conditions by side.
    fn filter(&self, filter: Option<Expr>) -> Result<Filter> {
        let mut sorted = Filter::default();
        for condition in filter.map(split_conjunction_owned).unwrap_or_default() {
            let side = self.tree.side(&condition)?;
            let shown = || self.tree.show(&condition);
            if condition.is_volatile() {
                return refused(format!(
                    "`{}` in a FILTER is volatile, so it has no one meaning in a private join",
                    shown()
                ));
            }
            match side {
                Side::Local => sorted.local.push(condition),
                // Without a column it is folded before it travels, and what is true of every row does not.
                Side::Remote | Side::Neither => sorted.remote.push(condition),
                Side::Both => {
                    return refused(format!(
                        "`{}` in a FILTER mixes columns of both sides: neither side can test it without seeing the other's",
                        shown()
                    ));
                }
            }
        }
        Ok(sorted)
    }

    /// `CASE WHEN condition THEN column END` is the column with a condition of its own: its rows are those for which
    /// the first branch that holds gives the column.
    ///
    /// With c₁ … cₙ the conditions, a row is one of them if some branch i gives the column, cᵢ is true of the row, and
    /// none of the earlier ones that give *nothing* is: earlier ones that give the column do no harm, whether they
    /// hold as well or not. So the branches need not exclude each other.
    fn case(&self, case: Case) -> Result<Argument> {
        let kind = self.kind;
        let Case { expr: operand, when_then_expr, else_expr } = case;
        let mut branches = Vec::with_capacity(when_then_expr.len() + 1);
        for (when, then) in when_then_expr {
            let condition = match &operand {
                None => *when,
                Some(operand) => binary_expr(operand.as_ref().clone(), Operator::Eq, *when),
            };
            let shown = self.tree.show(&condition);
            if condition.is_volatile() {
                return refused(format!("`{shown}` in {kind} is volatile, so it has no one meaning in a private join"));
            }
            match self.tree.side(&condition)? {
                Side::Remote | Side::Neither => {}
                Side::Local => return refused(self.mixes(&shown)),
                Side::Both => {
                    return refused(format!(
                        "`{shown}` in {kind} mixes columns of both sides: neither side can test it without seeing the other's"
                    ));
                }
            }
            branches.push((Some(condition), self.given(*then)?));
        }
        let last = else_expr.map_or(Ok(Given::Null), |given| self.given(*given))?;
        let counts_else = last != Given::Null;
        branches.push((None, last));

        let mut value: Option<Given> = None;
        let (mut nothing, mut passing) = (Vec::new(), Vec::new());
        for (condition, given) in branches {
            let gives = match (&given, kind) {
                (Given::Null, _) => false,
                // A person whose rows give zeros alone adds 0, as one without rows does.
                (Given::Zero, PrivateAggregateKind::Sum) => false,
                (Given::Zero | Given::Constant, PrivateAggregateKind::Count) if counts_else => {
                    return refused(format!(
                        "{kind} with an ELSE that is not NULL counts the rows of every branch: leave ELSE out, or write \
                         PRIVATE_INTERSECT_COUNT(*) FILTER (WHERE …)"
                    ));
                }
                (Given::Zero | Given::Constant, PrivateAggregateKind::Count) | (Given::Column(_), _) => true,
                (Given::Zero, _) => {
                    return refused(format!(
                        "{kind} with a branch of 0 is over the rows of every branch, and only those of one can be told apart: leave it \
                         out, so that it is over the rows of the condition, or divide two aggregates yourself"
                    ));
                }
                (Given::Constant, _) => {
                    return refused(format!(
                        "{kind} of a constant: to count the persons with such a row, write PRIVATE_INTERSECT_COUNT(*) FILTER \
                         (WHERE …), and to count the rows themselves, PRIVATE_INTERSECT_COUNT(column) FILTER (WHERE …)"
                    ));
                }
            };
            if !gives {
                nothing.extend(condition.map(|condition| Expr::IsNotTrue(Box::new(condition))));
                continue;
            }
            let given = if matches!(given, Given::Column(_)) { given } else { Given::Constant };
            if value.as_ref().is_some_and(|known| *known != given) {
                return refused(format!(
                    "{kind} over a CASE whose branches give different values: each of the share's bounds is that of one column; \
                     write one aggregate per column, each with FILTER (WHERE …), and add them up"
                ));
            }
            value = Some(given);
            let alone = conjunction(nothing.iter().cloned().chain(condition));
            passing.push(alone.unwrap_or_else(|| Expr::Literal(ScalarValue::Boolean(Some(true)), None)));
        }
        let when = disjunction(passing).map(split_conjunction_owned).unwrap_or_default();
        match value {
            Some(Given::Column(column)) => Ok(Argument::Theirs(column, when)),
            Some(_) => Ok(Argument::Persons(when)),
            None => refused(format!("{kind} over a CASE that never gives a value")),
        }
    }

    /// What a branch's result is.
    fn given(&self, result: Expr) -> Result<Given> {
        if let Some(literal) = literal(&result) {
            let zero =
                literal.cast_to(&DataType::Float64).is_ok_and(|number| number == ScalarValue::Float64(Some(0.0)));
            return Ok(match literal {
                null if null.is_null() => Given::Null,
                _ if zero && literal.data_type().is_numeric() => Given::Zero,
                _ => Given::Constant,
            });
        }
        let (kind, peer) = (self.kind, &self.remote.peer);
        match (self.tree.side(&result)?, strip_numeric_casts(result, self.schema)?) {
            (Side::Remote, Expr::Column(column)) if position_of(&column).is_some() => {
                let position = position_of(&column).map_or(0, |(_, position)| position);
                Ok(Given::Column(self.remote.column(position).to_owned()))
            }
            (Side::Remote, other) => refused(self.an_expression(&other)),
            (Side::Local, other) => refused(format!(
                "{kind} over a CASE that gives your own {} where a condition on {peer}'s columns holds: {peer} never learns whose value \
                 it is, so it cannot leave rows out of it; put the condition into WHERE, in a query of its own",
                self.tree.show(&other)
            )),
            (_, other) => refused(format!(
                "{kind} over a CASE that gives {}: a branch gives a column of {}, NULL or, in a sum, 0",
                self.tree.show(&other),
                self.remote.full_name()
            )),
        }
    }

    /// Why an aggregate over the peer's rows takes no condition on this side's.
    fn mixes(&self, condition: &str) -> String {
        let (kind, peer) = (self.kind, &self.remote.peer);
        format!(
            "`{condition}` inside {kind} is a condition on your columns over rows of {peer}'s: who of yours matched is hidden from both \
             sides, so neither can test it; put it into WHERE, or GROUP BY {condition}, which has a row for each outcome"
        )
    }

    fn an_expression(&self, expr: &Expr) -> String {
        let kind = self.kind;
        format!(
            "{kind}({}) is over an expression of {}'s columns: the bounds of the share are those of a column, so only a column \
             can be summed; factors and offsets go outside, as in 2 * {kind}(column), and conditions into FILTER (WHERE …)",
            self.tree.show(expr),
            self.remote.peer
        )
    }
}

/// A literal, whatever casts stand around it.
fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => literal(expr),
        _ => None,
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
