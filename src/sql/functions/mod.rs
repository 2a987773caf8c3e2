//! The aggregate functions of private queries: names and types. They are never computed here.

mod shown;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr};
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};

pub use self::shown::{psi_error, psi_high, psi_low, psi_note};

/// Which private aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrivateAggregateKind {
    /// `private_intersect_count`
    Count,
    /// `private_intersect_sum`
    Sum,
    /// `private_intersect_avg`
    Avg,
    /// `private_intersect_var`: the variance of a sample, over n − 1.
    Var,
    /// `private_intersect_var_pop`: of a population, over n.
    VarPop,
    /// `private_intersect_stddev`: the square root of `Var`.
    Stddev,
    /// `private_intersect_stddev_pop`: the square root of `VarPop`.
    StddevPop,
    /// `private_intersect_min`: known so that it can be refused with its reason.
    Min,
    /// `private_intersect_max`: likewise.
    Max,
    /// `private_intersect_median`: likewise.
    Median,
}

impl PrivateAggregateKind {
    /// All of them.
    pub const ALL: [PrivateAggregateKind; 10] = [
        PrivateAggregateKind::Count,
        PrivateAggregateKind::Sum,
        PrivateAggregateKind::Avg,
        PrivateAggregateKind::Var,
        PrivateAggregateKind::VarPop,
        PrivateAggregateKind::Stddev,
        PrivateAggregateKind::StddevPop,
        PrivateAggregateKind::Min,
        PrivateAggregateKind::Max,
        PrivateAggregateKind::Median,
    ];

    /// The function's name in SQL.
    pub fn sql_name(self) -> &'static str {
        match self {
            PrivateAggregateKind::Count => "private_intersect_count",
            PrivateAggregateKind::Sum => "private_intersect_sum",
            PrivateAggregateKind::Avg => "private_intersect_avg",
            PrivateAggregateKind::Var => "private_intersect_var",
            PrivateAggregateKind::VarPop => "private_intersect_var_pop",
            PrivateAggregateKind::Stddev => "private_intersect_stddev",
            PrivateAggregateKind::StddevPop => "private_intersect_stddev_pop",
            PrivateAggregateKind::Min => "private_intersect_min",
            PrivateAggregateKind::Max => "private_intersect_max",
            PrivateAggregateKind::Median => "private_intersect_median",
        }
    }

    /// The names that SQL has beside it.
    fn aliases(self) -> &'static [&'static str] {
        match self {
            PrivateAggregateKind::Var => &["private_intersect_var_samp"],
            PrivateAggregateKind::Stddev => &["private_intersect_stddev_samp"],
            _ => &[],
        }
    }

    /// Whether it is one that no noise can hide: its value is one person's.
    pub fn is_one_persons(self) -> bool {
        matches!(self, PrivateAggregateKind::Min | PrivateAggregateKind::Max | PrivateAggregateKind::Median)
    }

    /// The kind that a function of a plan is, if it is one of ours.
    pub fn of(function: &AggregateUDF) -> Option<Self> {
        let implementation: &dyn Any = function.inner().as_ref();
        implementation.downcast_ref::<PrivateAggregate>().map(|aggregate| aggregate.kind)
    }
}

/// Which number of a released aggregate a result shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResultPart {
    /// The released value itself.
    Value,
    /// `psi_low(…)`: the lower end of its 95 % interval.
    Low,
    /// `psi_high(…)`: the upper end.
    High,
    /// `psi_error(…)`: half of the interval's width, the ± of the value.
    Error,
    /// `psi_note(…)`: why the value is NULL, in words; NULL where it is not.
    Note,
}

impl ResultPart {
    /// The parts that have a function of their own.
    const SHOWN: [ResultPart; 4] = [ResultPart::Low, ResultPart::High, ResultPart::Error, ResultPart::Note];

    fn sql_name(self) -> &'static str {
        match self {
            ResultPart::Value => "",
            ResultPart::Low => "psi_low",
            ResultPart::High => "psi_high",
            ResultPart::Error => "psi_error",
            ResultPart::Note => "psi_note",
        }
    }

    /// The part that a private aggregate of a plan shows.
    pub fn of(function: &AggregateUDF) -> Option<Self> {
        let implementation: &dyn Any = function.inner().as_ref();
        implementation.downcast_ref::<PrivateAggregate>().map(|aggregate| aggregate.part)
    }
}

impl fmt::Display for PrivateAggregateKind {
    /// The name as documentation and errors write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql_name().to_ascii_uppercase())
    }
}

/// The functions to register.
pub fn private_aggregates() -> Vec<Arc<AggregateUDF>> {
    let aggregates = PrivateAggregateKind::ALL.into_iter().map(function);
    aggregates.chain(ResultPart::SHOWN.into_iter().map(shown::function)).collect()
}

/// `PRIVATE_INTERSECT_COUNT(column)` for the DataFrame API; `lit(1)` counts persons, as `*` does in SQL.
pub fn private_intersect_count(argument: Expr) -> Expr {
    function(PrivateAggregateKind::Count).call(vec![argument])
}

/// `PRIVATE_INTERSECT_SUM(value)` for the DataFrame API.
pub fn private_intersect_sum(argument: Expr) -> Expr {
    function(PrivateAggregateKind::Sum).call(vec![argument])
}

/// `PRIVATE_INTERSECT_AVG(value)` for the DataFrame API.
pub fn private_intersect_avg(argument: Expr) -> Expr {
    function(PrivateAggregateKind::Avg).call(vec![argument])
}

/// `PRIVATE_INTERSECT_VAR(column)` for the DataFrame API: the variance of a sample.
pub fn private_intersect_var(argument: Expr) -> Expr {
    function(PrivateAggregateKind::Var).call(vec![argument])
}

/// `PRIVATE_INTERSECT_STDDEV(column)` for the DataFrame API: the standard deviation of a sample.
pub fn private_intersect_stddev(argument: Expr) -> Expr {
    function(PrivateAggregateKind::Stddev).call(vec![argument])
}

fn function(kind: PrivateAggregateKind) -> Arc<AggregateUDF> {
    part_function(kind, ResultPart::Value)
}

fn part_function(kind: PrivateAggregateKind, part: ResultPart) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(PrivateAggregate {
        kind,
        part,
        name: match part {
            ResultPart::Value => kind.sql_name().to_owned(),
            part => format!("{}_{}", part.sql_name(), kind.sql_name()),
        },
        aliases: match part {
            ResultPart::Value => kind.aliases().iter().map(|name| (*name).to_owned()).collect(),
            _ => Vec::new(),
        },
        // Any type and no coercion: the rule has to see the argument as the analyst wrote it.
        signature: Signature::any(1, Volatility::Volatile),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PrivateAggregate {
    kind: PrivateAggregateKind,
    part: ResultPart,
    name: String,
    aliases: Vec<String>,
    signature: Signature,
}

impl AggregateUDFImpl for PrivateAggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType> {
        let [argument] = argument_types else {
            return Err(DataFusionError::Plan(format!(
                "{} takes one argument, not {}",
                self.kind,
                argument_types.len()
            )));
        };
        let value = result_type(self.kind, argument)?;
        Ok(if self.part == ResultPart::Note { DataType::Utf8 } else { value })
    }

    fn is_nullable(&self) -> bool {
        // Of a group, any of them: one under the minimum shows nothing. Without groups, SUM over no match is 0, AVG is NULL.
        true
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Err(DataFusionError::Plan(format!(
            "{} is computed together with a peer, never here: it needs a peer's table in FROM, and a session with datafusion-psi's rule",
            self.kind
        )))
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        ScalarValue::try_from(data_type)
    }
}

/// COUNT is bigint; SUM of integers bigint, of decimal(p, s) decimal(38, s), of floats double; the others double.
fn result_type(kind: PrivateAggregateKind, argument: &DataType) -> Result<DataType> {
    let number = match argument {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let sum = match number {
        _ if kind == PrivateAggregateKind::Count => DataType::Int64,
        // Refused whatever the type, and not for it.
        other if kind.is_one_persons() => return Ok(other.clone()),
        number if number.is_integer() => DataType::Int64,
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
            DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale)
        }
        other => {
            return Err(DataFusionError::Plan(format!(
                "{kind} takes an integer, a decimal of at most 38 digits, a float or a double, not {other}"
            )));
        }
    };
    Ok(if matches!(kind, PrivateAggregateKind::Count | PrivateAggregateKind::Sum) { sum } else { DataType::Float64 })
}

/// Gives `*` to PRIVATE_INTERSECT_COUNT, and to no other: SQL's planner knows `*` for its own COUNT only.
#[derive(Debug)]
pub struct PrivateAggregatePlanner;

impl ExprPlanner for PrivateAggregatePlanner {
    fn plan_aggregate(&self, raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if let Some(part) = shown::part(&raw.func) {
            return shown::plan(part, raw).map(PlannerResult::Planned);
        }
        let Some(kind) = PrivateAggregateKind::of(&raw.func) else { return Ok(PlannerResult::Original(raw)) };
        #[expect(deprecated, reason = "the SQL planner still passes `*` as this variant")]
        let star = match raw.args.as_slice() {
            [] => true,
            [Expr::Wildcard { qualifier: None, .. }] => true,
            [Expr::Wildcard { .. }] => {
                return Err(DataFusionError::Plan(format!("{kind} takes * or a column, not a table's *")));
            }
            _ => false,
        };
        if !star {
            return Ok(PlannerResult::Original(raw));
        }
        if kind != PrivateAggregateKind::Count {
            return Err(DataFusionError::Plan(format!(
                "{kind} needs a column, as in {kind}(p.amount); only PRIVATE_INTERSECT_COUNT takes *"
            )));
        }
        let all = vec![Expr::Literal(COUNT_STAR_EXPANSION, None)];
        let counted =
            AggregateFunction::new_udf(raw.func, all, raw.distinct, raw.filter, raw.order_by, raw.null_treatment);
        let counted = Expr::AggregateFunction(counted);
        // As it was written; two counts with different filters have different names.
        let name = counted.schema_name().to_string().replacen("(Int64(1))", "(*)", 1);
        Ok(PlannerResult::Planned(counted.alias(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_types_are_those_that_the_documentation_promises() {
        use PrivateAggregateKind::{Avg, Count, Max, StddevPop, Sum, Var};
        let of = |kind, argument| result_type(kind, &argument).map_err(|error| error.strip_backtrace());
        assert_eq!(of(Count, DataType::Utf8), Ok(DataType::Int64));
        assert_eq!(of(Sum, DataType::Int16), Ok(DataType::Int64));
        assert_eq!(of(Sum, DataType::UInt64), Ok(DataType::Int64));
        assert_eq!(of(Sum, DataType::Decimal128(10, 2)), Ok(DataType::Decimal128(38, 2)));
        assert_eq!(of(Sum, DataType::Float32), Ok(DataType::Float64));
        assert_eq!(of(Avg, DataType::Int64), Ok(DataType::Float64));
        assert_eq!(of(Avg, DataType::Decimal128(10, 2)), Ok(DataType::Float64));
        assert_eq!(of(Var, DataType::UInt8), Ok(DataType::Float64));
        assert_eq!(of(StddevPop, DataType::Decimal64(10, 2)), Ok(DataType::Float64));
        assert_eq!(of(Max, DataType::Utf8), Ok(DataType::Utf8), "refused for what it is, and not for its type");
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Float64));
        assert_eq!(of(Sum, dictionary), Ok(DataType::Float64));
        for argument in [
            DataType::Utf8,
            DataType::Date32,
            DataType::Boolean,
            DataType::Null,
            DataType::Float16,
            DataType::Decimal256(40, 2),
        ] {
            let error = of(Sum, argument.clone()).expect_err("not a number");
            assert!(error.contains(&format!("not {argument}")), "{error}");
        }
    }

    #[tokio::test]
    async fn computing_one_without_the_rule_stays_an_error() {
        let ctx = datafusion::prelude::SessionContext::new();
        for function in private_aggregates() {
            ctx.register_udaf(function.as_ref().clone());
        }
        let sql = "SELECT private_intersect_sum(x) FROM (VALUES (1), (2)) AS t(x)";
        let error = ctx.sql(sql).await.unwrap().collect().await.unwrap_err();
        assert!(error.to_string().contains("never here: it needs a peer's table"), "{error}");
    }
}
