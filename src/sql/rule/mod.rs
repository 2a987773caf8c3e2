//! The analyzer rule: takes every private aggregate out of a plan, and refuses whatever else would touch a
//! peer's table.
//!
//! It runs last among the analyzer's rules, when names and types are settled and the optimizer has not
//! yet pulled the join apart: `Aggregate` over `Filter` over inner joins over the tables, with ON still
//! in one piece, in the analyst's order. It works in four steps, a file each: `flatten` (the joins into
//! leaves and conditions), `terms` (conditions across the sides into identifiers of the share, in match
//! order), `aggregates` and `argument` (what is asked, of which rows), `groups` (GROUP BY), `build` (the node and this side's relation). What then is left
//! of a peer's table anywhere in the plan, `leftovers` refuses; and `guard` refuses plans that reach the
//! optimizer without the rule.

mod aggregates;
mod argument;
mod build;
mod flatten;
mod groups;
mod guard;
mod leftovers;
mod terms;

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DataFusionError, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::AnalyzerRule;

use super::config::{FLOAT_DECIMALS_MAX, GroupConflict, PsiConfig};
use super::predicate::Moment;
use super::query::PrivateQuery;

pub use guard::PsiGuard;
pub(super) use guard::Refused;

/// The rule that makes [`PrivateQuery`] nodes, and the one place where a plan over a peer's table is
/// allowed or refused. It fails closed: after it, no plan reads a peer's table.
#[derive(Debug, Default)]
pub struct PsiRule;

impl PsiRule {
    /// The rule's name, which DataFusion puts in front of its refusals.
    pub const NAME: &'static str = "private query";
}

impl AnalyzerRule for PsiRule {
    fn analyze(&self, plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
        let float_decimals = PsiConfig::of(options).float_decimals;
        if float_decimals > FLOAT_DECIMALS_MAX {
            return refused(format!(
                "psi.float_decimals is {float_decimals}; at most {FLOAT_DECIMALS_MAX} are possible"
            ));
        }
        // One moment for the whole statement: equal queries stay equal.
        let mut moment = None;
        let mut queries: Vec<PrivateQuery> = Vec::new();
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let LogicalPlan::Aggregate(aggregate) = &node else { return Ok(Transformed::no(node)) };
            let Some(first) = build::private_kinds(aggregate).first().copied() else {
                return Ok(Transformed::no(node));
            };
            // Held against what may be set only where it has a say, or a wrong word would leave no statement to put it right.
            if !aggregate.group_expr.is_empty()
                && let Err(reason) = GroupConflict::of(options)
            {
                return refused(reason);
            }
            let moment = moment.get_or_insert_with(|| Moment::now(options));
            let mut query = build::private_query(aggregate, first, float_decimals, moment)?;
            // The walk below does not see into it.
            leftovers::refuse_leftovers(&query.local)?;
            // Equal queries of one statement, as a CTE that is used twice becomes, are one question: one
            // session, one charge.
            match queries.iter().find(|known| **known == query) {
                Some(known) => query.cell = Arc::clone(&known.cell),
                None => queries.push(query.clone()),
            }
            Ok(Transformed::yes(query.into_plan()))
        })?;
        leftovers::refuse_leftovers(&rewritten.data)?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &str {
        Self::NAME
    }
}

/// The error for what an analyst can put right.
fn refused<T>(reason: impl Into<String>) -> Result<T> {
    Err(DataFusionError::Plan(reason.into()))
}

#[cfg(test)]
mod tests;
