//! What is shown about a private aggregate beside its value: `psi_low`, `psi_high`, `psi_error`, `psi_note`.

use std::any::Any;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::planner::RawAggregateExpr;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};

use super::{PrivateAggregateKind, ResultPart, part_function};

/// `psi_low(aggregate)` for the DataFrame API: the lower end of a private aggregate's 95 % interval.
///
/// # Errors
/// If the argument is no private aggregate.
pub fn psi_low(aggregate: Expr) -> Result<Expr> {
    part_of(ResultPart::Low, aggregate)
}

/// `psi_high(aggregate)` for the DataFrame API: the upper end of it.
///
/// # Errors
/// If the argument is no private aggregate.
pub fn psi_high(aggregate: Expr) -> Result<Expr> {
    part_of(ResultPart::High, aggregate)
}

/// `psi_error(aggregate)` for the DataFrame API: half of its width.
///
/// # Errors
/// If the argument is no private aggregate.
pub fn psi_error(aggregate: Expr) -> Result<Expr> {
    part_of(ResultPart::Error, aggregate)
}

/// `psi_note(aggregate)` for the DataFrame API: why its value is NULL, as text; NULL where it is not.
///
/// # Errors
/// If the argument is no private aggregate.
pub fn psi_note(aggregate: Expr) -> Result<Expr> {
    part_of(ResultPart::Note, aggregate)
}

/// The aggregate whose interval `psi_low(aggregate)` and the like ask for: the same release, shown otherwise. Its
/// argument must stand there itself, since a value alone does not know its noise.
fn part_of(part: ResultPart, aggregate: Expr) -> Result<Expr> {
    let name = format!("{}({})", part.sql_name(), aggregate.schema_name());
    let call = match aggregate.unalias_nested().data {
        Expr::AggregateFunction(call) => call,
        other => return Err(no_aggregate(part, &other)),
    };
    match (PrivateAggregateKind::of(&call.func), ResultPart::of(&call.func)) {
        (Some(kind), Some(ResultPart::Value)) => {
            let func = part_function(kind, part);
            Ok(Expr::AggregateFunction(AggregateFunction { func, params: call.params }).alias(name))
        }
        _ => Err(no_aggregate(part, &Expr::AggregateFunction(call))),
    }
}

fn no_aggregate(part: ResultPart, found: &Expr) -> DataFusionError {
    let name = part.sql_name();
    DataFusionError::Plan(format!(
        "{name}({found}) needs a private aggregate as it stands in the query, as in {name}(PRIVATE_INTERSECT_SUM(p.amount))"
    ))
}

/// `psi_low` and the like as SQL's planner finds them, before [`PrivateAggregatePlanner`](super::PrivateAggregatePlanner)
/// puts the aggregate itself in their place.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shown {
    part: ResultPart,
    signature: Signature,
}

/// The function that SQL's planner finds for a part.
pub(super) fn function(part: ResultPart) -> Arc<AggregateUDF> {
    let signature = Signature::any(1, Volatility::Volatile);
    Arc::new(AggregateUDF::new_from_impl(Shown { part, signature }))
}

/// The part that such a function shows, if it is one.
pub(super) fn part(function: &AggregateUDF) -> Option<ResultPart> {
    let implementation: &dyn Any = function.inner().as_ref();
    implementation.downcast_ref::<Shown>().map(|shown| shown.part)
}

/// The aggregate that stands as its argument, shown so.
pub(super) fn plan(part: ResultPart, raw: RawAggregateExpr) -> Result<Expr> {
    let name = part.sql_name();
    if raw.distinct || raw.filter.is_some() || !raw.order_by.is_empty() || raw.null_treatment.is_some() {
        return Err(DataFusionError::Plan(format!("{name} takes a private aggregate and nothing else")));
    }
    match <[Expr; 1]>::try_from(raw.args) {
        Ok([aggregate]) => part_of(part, aggregate),
        Err(several) => {
            Err(DataFusionError::Plan(format!("{name} takes one private aggregate, not {} arguments", several.len())))
        }
    }
}

impl AggregateUDFImpl for Shown {
    fn name(&self) -> &str {
        self.part.sql_name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Plan(format!(
            "{} shows something about a private aggregate, and is planned by datafusion-psi alone",
            self.part.sql_name()
        )))
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Err(DataFusionError::Plan(format!("{} is never computed here", self.part.sql_name())))
    }
}
