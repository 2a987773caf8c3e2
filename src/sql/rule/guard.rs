//! Plans that reach the optimizer without having been through the rule: refused.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, DataFusionError, Result};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
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
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>, DataFusionError> {
        if !unanalyzed(&plan)? {
            return Ok(Transformed::no(plan));
        }
        if config.options().optimizer.skip_failed_rules {
            // An error would be a warning then, and the plan would be kept: it must not be one that can be asked.
            return Ok(Transformed::yes(Refused::in_place_of(&plan)));
        }
        refused(REASON)
    }
}

const REASON: &str = "a statement over a peer's table cannot be prepared: preparing rearranges its joins before the match \
                      order is read; send the statement itself each time";

/// What is left of a plan that nobody may run: its columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::sql) struct Refused(DFSchemaRef);

impl Refused {
    fn in_place_of(plan: &LogicalPlan) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(Refused(Arc::clone(plan.schema()))) })
    }

    /// Why it cannot be planned.
    pub(in crate::sql) fn reason(&self) -> DataFusionError {
        DataFusionError::Plan(REASON.to_owned())
    }
}

impl PartialOrd for Refused {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for Refused {
    fn name(&self) -> &str {
        "Refused"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.0
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Refused: {REASON}")
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(Vec::new())
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
