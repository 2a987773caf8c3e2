//! Asking: what `datafusion-psi sql` does, and a look at what the runs counted.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use datafusion::arrow::array::RecordBatch;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;

use super::examples::Measure;
use crate::cli::sql::statements;
use crate::psi;
use crate::sql::{PrivateQueryExec, RunReport};

/// The outcome of a question.
pub(super) struct Asked {
    pub(super) batches: Vec<RecordBatch>,
    /// Wall time, from the statement's text to its result.
    pub(super) seconds: f64,
    /// The sessions that it took.
    pub(super) runs: Vec<Run>,
    /// The ± at 95 % of each cell, by row and column, where it is a private aggregate as it was released: arithmetic over
    /// several has no bound that could be read off the plan.
    pub(super) errors: Vec<Vec<Option<f64>>>,
}

impl Asked {
    /// Whether nothing was released with noise.
    pub(super) fn is_exact(&self) -> bool {
        let errors = self.runs.iter().flat_map(|run| &run.report.errors);
        errors.flat_map(|column| &column.rows).all(|error| *error == Some(0.0))
    }

    /// The ± at 95 % of a measure, where it is known.
    pub(super) fn error(&self, measure: &Measure) -> Option<f64> {
        let (row, column) = measure.cell;
        *self.errors.get(row)?.get(column)?
    }
}

/// One session with a peer.
pub(super) struct Run {
    pub(super) peer: String,
    /// All that the peer saw of the SQL.
    pub(super) question: psi::Question,
    pub(super) report: RunReport,
}

/// Runs the statements in a session of the asking party; the outcome is the last one's.
pub(super) async fn ask(ctx: &SessionContext, sql: &str) -> anyhow::Result<Asked> {
    let began = Instant::now();
    let mut statements = statements(sql)?;
    let last = statements.pop().context("there is no statement to run")?;
    for statement in statements {
        let plan = ctx.state().statement_to_plan(statement).await?;
        ctx.execute_logical_plan(plan).await?.collect().await?;
    }
    let plan = ctx.state().statement_to_plan(last).await?;
    let frame = ctx.execute_logical_plan(plan).await?;
    let context = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await?;
    let schema = plan.schema();
    let mut batches = collect(Arc::clone(&plan), context).await?;
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    let mut runs = Vec::new();
    add_runs(&plan, &mut runs);
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let columns = plan.schema().fields().len();
    let errors = (0..rows).map(|row| (0..columns).map(|column| released(&plan, Some(row), column)).collect()).collect();
    Ok(Asked { batches, seconds: began.elapsed().as_secs_f64(), runs, errors })
}

/// The ± of a cell that a plan only passes on from a private query; rows are counted from 0, and `None` is one that
/// is not known any more: then it is the ± that all rows have in common.
fn released(plan: &Arc<dyn ExecutionPlan>, row: Option<usize>, column: usize) -> Option<f64> {
    let node: &dyn std::any::Any = plan.as_ref();
    if let Some(exec) = node.downcast_ref::<PrivateQueryExec>() {
        // The first columns are those of GROUP BY, which have no ±.
        let column = column.checked_sub(exec.query().groups.len())?;
        let errors = exec.report()?.errors;
        let errors = errors.get(column)?;
        return match row {
            Some(row) => *errors.rows.get(row)?,
            None => errors.common(),
        };
    }
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let expr: &dyn std::any::Any = projection.expr().get(column)?.expr.as_ref();
        return released(projection.input(), row, expr.downcast_ref::<Column>()?.index());
    }
    if node.is::<UnionExec>() {
        // An optimised union keeps its inputs' order; each of them gives one row, or which of them it was is not known.
        let inputs = plan.children();
        let one_each = inputs.iter().all(|input| is_one_row(input));
        return if one_each { released(inputs.get(row?)?, Some(0), column) } else { None };
    }
    // Which row came from where is not known after sorting, nor once some are left out.
    let row = row.filter(|_| is_one_row(plan) || !may_move_rows(node));
    match plan.children().as_slice() {
        [only] if only.schema().fields().len() == plan.schema().fields().len() => released(only, row, column),
        _ => None,
    }
}

/// Whether a plan gives one row at most: a private query without groups, and what stands on top of one.
fn is_one_row(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let node: &dyn std::any::Any = plan.as_ref();
    match (node.downcast_ref::<PrivateQueryExec>(), plan.children().as_slice()) {
        (Some(exec), _) => exec.query().groups.is_empty(),
        (None, [only]) => is_one_row(only),
        (None, _) => false,
    }
}

fn may_move_rows(node: &dyn std::any::Any) -> bool {
    node.is::<SortExec>() || node.is::<SortPreservingMergeExec>() || node.is::<FilterExec>()
}

/// The sessions below a plan's node. Equal queries of one statement share a session, which only one of them reports.
fn add_runs(plan: &Arc<dyn ExecutionPlan>, runs: &mut Vec<Run>) {
    let node: &dyn std::any::Any = plan.as_ref();
    if let Some(exec) = node.downcast_ref::<PrivateQueryExec>()
        && let Some(report) = exec.report()
    {
        let query = exec.query();
        runs.push(Run { peer: query.peer.clone(), question: query.question.clone(), report });
    }
    for child in plan.children() {
        add_runs(child, runs);
    }
}
