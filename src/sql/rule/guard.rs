//! Plans that reach the optimizer without having been through the rule: refused.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::super::functions::PrivateAggregateKind;
use super::flatten::peer_table;
use super::refused;

/// `PREPARE` optimizes a statement that no analyzer has seen, and keeps the outcome for `EXECUTE`. The
/// joins are then taken apart before [`PsiRule`](super::PsiRule) could read the match order out of them,
/// and filters on the peer's table may have been inferred that nobody wrote. So what is left of a private
/// query when the optimizer runs is an error; after the rule there is nothing left.
#[derive(Debug, Default)]
pub struct PsiGuard;

impl PsiGuard {
    /// The rule's name, which DataFusion puts in front of its refusals.
    pub const NAME: &'static str = "private query guard";
}

impl OptimizerRule for PsiGuard {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>, DataFusionError> {
        if unanalyzed(&plan)? {
            return refused(
                "a statement over a peer's table cannot be prepared: preparing rearranges its joins before the match order is \
                 read; send the statement itself each time",
            );
        }
        Ok(Transformed::no(plan))
    }
}

fn unanalyzed(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::TableScan(scan) if peer_table(scan).is_some());
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                found |=
                    matches!(part, Expr::AggregateFunction(call) if PrivateAggregateKind::of(&call.func).is_some());
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
