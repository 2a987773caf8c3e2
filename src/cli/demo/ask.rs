//! Asking: what `datafusion-psi sql` does, and a look at what the runs counted.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use datafusion::arrow::array::RecordBatch;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;

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
    Ok(Asked { batches, seconds: began.elapsed().as_secs_f64(), runs })
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
