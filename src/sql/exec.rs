//! The execution plan of a private query: its rows, when they are first asked for.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};

use super::asker::Asker;
use super::config::PsiConfig;
use super::error::{shared_error, to_datafusion};
use super::explain::{Outline, OwnOutline, RunReport};
use super::query::PrivateQuery;
use super::run::{Settled, Watcher, run, settle};
use crate::policy::AskedRows;
use crate::psi::{Error, FilteredRows, SizesTerms, curve_micros};
use crate::transport::{PhaseReport, offload};

/// Executes one [`PrivateQuery`]. Its one input is this side's relation; its output is one batch: a row for each of its
/// groups and labels.
///
/// `execute` does nothing; the first poll of its stream starts the run, in a task that ends with the
/// stream. Equal queries of one statement share one run and one charge: the first that is polled runs,
/// the others wait for its answer. Displaying the plan shows estimates, which are computed once from the policy's books:
/// when an EXPLAIN is planned, else by the first display. It sends nothing, and after a run it shows what happened instead.
#[derive(Debug, Clone)]
pub struct PrivateQueryExec {
    query: Arc<PrivateQuery>,
    input: Arc<dyn ExecutionPlan>,
    /// Whether other rules and displays may look into the input.
    input_hidden: bool,
    asker: Arc<Asker>,
    metrics: ExecutionPlanMetricsSet,
    report: Arc<Mutex<Option<RunReport>>>,
    /// What EXPLAIN says before a run, computed once.
    outline: Arc<OnceLock<Outline>>,
    properties: Arc<PlanProperties>,
}

impl PrivateQueryExec {
    /// The plan of `query`, whose local side `input` yields, asked by `asker`.
    ///
    /// # Errors
    /// If the input has other columns than the query names.
    pub fn new(query: PrivateQuery, input: Arc<dyn ExecutionPlan>, asker: Arc<Asker>) -> Result<Self> {
        let (planned, found) = (query.local.schema().fields().len(), input.schema().fields().len());
        if planned != found {
            return Err(DataFusionError::Internal(format!("a private query over {planned} columns was given {found}")));
        }
        let schema: SchemaRef = Arc::clone(query.schema.inner());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(PrivateQueryExec {
            query: Arc::new(query),
            input,
            input_hidden: false,
            asker,
            metrics: ExecutionPlanMetricsSet::new(),
            report: Arc::default(),
            outline: Arc::default(),
            properties: Arc::new(properties),
        })
    }

    /// The same, with an input that no rule rewrites: for planners that would plan it a second time.
    pub(super) fn with_hidden_input(mut self) -> Self {
        self.input_hidden = true;
        self
    }

    /// The query.
    pub fn query(&self) -> &PrivateQuery {
        &self.query
    }

    /// Computes what EXPLAIN says before a run, off the runtime: it reads the policy's books, and counting the dummies may
    /// take a second. Where a plan is displayed without, the first display computes it.
    pub(super) async fn prepare_display(&self) -> Result<()> {
        let exec = self.clone();
        offload::block(move || {
            exec.outline();
        })
        .await
        .map_err(to_datafusion)
    }

    fn outline(&self) -> &Outline {
        self.outline.get_or_init(|| self.compute_outline())
    }

    fn compute_outline(&self) -> Outline {
        let query = &self.query;
        let columns = query
            .terms
            .iter()
            .map(|term| {
                let parts = term.parts.iter().map(|part| local_column(&query.local, *part));
                let identifier =
                    query.shared.terms.identifiers.iter().find(|identifier| identifier.name == term.identifier);
                (parts.collect(), identifier.map_or_else(String::new, |identifier| identifier.normaliser.clone()))
            })
            .collect();
        let rows = StatisticsContext::new()
            .compute(self.input.as_ref(), &StatisticsArgs::new())
            .ok()
            .and_then(|statistics| statistics.num_rows.get_value().copied())
            .map(|rows| rows as u64);
        let table = &query.question.table;
        let persons_there = self.asker.known_length(&query.peer, table);
        let persons_larger = rows.unwrap_or(0).max(persons_there.unwrap_or(0));
        let settled = settle(query, &self.asker);
        let own = settled.as_ref().map_err(Clone::clone).and_then(|settled| self.own_outline(settled, persons_larger));
        let own = own.map_err(|reason| reason.to_string());
        Outline {
            peer: query.peer.clone(),
            question: query.question.clone(),
            columns,
            terms: query.shared.terms.clone(),
            own_groups: query.own_groups().map(|column| local_column(&query.local, column)).collect(),
            adds_persons: query.adds_persons(),
            words: settled.map(|settled| settled.words).unwrap_or_default(),
            own,
            dummies_there: dummies_there(&query.shared.terms.sizes, query.shared.terms.filtered_rows, persons_larger),
            persons_here: rows,
            persons_there,
            ot_width: self.asker.party().ot.width,
            cores: rayon::current_num_threads(),
            curve: curve_micros(),
        }
    }

    fn own_outline(&self, settled: &Settled, persons: u64) -> Result<OwnOutline, Error> {
        let ask = self.asker.party().may_ask(&self.query.peer)?;
        let account = self.asker.budgets().open(&settled.account, persons)?;
        let balance = account.balance()?;
        Ok(OwnOutline {
            dummies: account.dummies()?,
            sizes: ask.sizes_terms(),
            rows: match ask.rows {
                AskedRows::Pad => "pad".to_owned(),
                AskedRows::Reveal => "reveal".to_owned(),
            },
            queries_left: Some(balance.queries_left),
        })
    }

    /// What this node's run has counted so far; `None` before it began, and where an equal node ran in its stead.
    pub fn report(&self) -> Option<RunReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs the query unless an equal one of the statement has. If the one that runs is dropped midway while
    /// another still waits, the other runs it again, and it is charged again: what was sent cannot be unsent.
    async fn answer(self, context: Arc<TaskContext>) -> Result<RecordBatch> {
        let cell = Arc::clone(&self.query.cell);
        let answer = cell
            .get_or_init(|| async {
                let metrics = self.metrics.clone();
                let watcher = Watcher {
                    report: Arc::clone(&self.report),
                    sizes: Mutex::default(),
                    closed: Box::new(move |report| count(&metrics, report)),
                    also: if PsiConfig::of(context.session_config().options()).progress {
                        Arc::clone(self.asker.observer())
                    } else {
                        Arc::new(())
                    },
                };
                let schema = self.schema();
                let run = run(self.query, self.input, self.asker, schema, Arc::new(watcher), context);
                // A task of its own, so that the run goes on while its consumer is busy; it ends with this future.
                let outcome = match SpawnedTask::spawn(run).join_unwind().await {
                    Ok(outcome) => outcome,
                    Err(cancelled) => Err(DataFusionError::ExecutionJoin(Box::new(cancelled))),
                };
                outcome.map_err(Arc::new)
            })
            .await;
        answer.clone().map_err(|error| shared_error(&error))
    }
}

/// A column of the local side as the analyst wrote it, where the plan still says so.
fn local_column(local: &LogicalPlan, column: usize) -> String {
    if let LogicalPlan::Projection(projection) = local
        && let Some(expr) = projection.expr.get(column)
    {
        return expr.clone().unalias().to_string();
    }
    match local.schema().qualified_field(column) {
        (Some(relation), field) => format!("{relation}.{}", field.name()),
        (None, field) => field.name().clone(),
    }
}

/// The peer's number of dummies by its published terms: an estimate, since its own table's length, which
/// sets its default delta, is not known here.
fn dummies_there(sizes: &SizesTerms, rows: FilteredRows, persons: u64) -> Result<u64, String> {
    let SizesTerms::Private { epsilon, delta, queries, columns } = sizes else { return Ok(0) };
    let part = if rows == FilteredRows::Pad { 0.5 } else { 1.0 };
    let delta = delta.unwrap_or_else(|| crate::dp::default_delta(persons.max(1)));
    crate::dp::dummies(queries.saturating_mul(u64::from(*columns)), part * epsilon, part * delta)
        .map_err(|reason| reason.to_string())
}

fn count(metrics: &ExecutionPlanMetricsSet, report: &PhaseReport) {
    let phase = report.phase.to_string().replace('-', "_");
    let time = MetricBuilder::new(metrics).subset_time(format!("{phase}_time"), 0);
    time.add_duration(Duration::try_from_secs_f64(report.seconds).unwrap_or_default());
    MetricBuilder::new(metrics).counter("bytes_up", 0).add(report.bytes_up as usize);
    MetricBuilder::new(metrics).counter("bytes_down", 0).add(report.bytes_down as usize);
    MetricBuilder::new(metrics).counter("rows_exchanged", 0).add(report.rows as usize);
}

impl DisplayAs for PrivateQueryExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (query, question) = (&self.query, &self.query.question);
        match kind {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "PrivateQueryExec: {}.{}", query.peer, question.table)?;
                match self.report() {
                    Some(report) if kind == DisplayFormatType::Default => write!(f, "{report}"),
                    Some(report) => write!(f, "{}{report}", self.outline()),
                    None => write!(f, "{}", self.outline()),
                }
            }
            DisplayFormatType::TreeRender => {
                writeln!(f, "peer={}", query.peer)?;
                writeln!(f, "table={}", question.table)?;
                writeln!(f, "match={}", question.identifiers.join(", "))?;
                let asked: Vec<String> = question.aggregates.iter().map(ToString::to_string).collect();
                writeln!(f, "ask={}", asked.join(", "))?;
                if let Some(filter) = &question.filter {
                    writeln!(f, "filter={filter}")?;
                }
                if !query.groups.is_empty() {
                    writeln!(f, "groups={}", query.group_names().join(", "))?;
                }
                let per_query = query.shared.terms.outputs.per_query();
                writeln!(f, "outputs={}", per_query.map_or_else(|_| "unknown".to_owned(), |part| part.to_string()))
            }
        }
    }
}

impl ExecutionPlan for PrivateQueryExec {
    fn name(&self) -> &str {
        "PrivateQueryExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        if self.input_hidden { Vec::new() } else { vec![&self.input] }
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        // All partitions are read at once; spreading the rows of one over several would only copy them.
        vec![false; self.children().len()]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.len() != self.children().len() {
            return Err(DataFusionError::Internal(format!("a private query was given {} inputs", children.len())));
        }
        match <[Arc<dyn ExecutionPlan>; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(PrivateQueryExec { input, ..self.as_ref().clone() })),
            Err(_) => Ok(self),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!("a private query has one partition, not {}", partition + 1)));
        }
        let rows = MetricBuilder::new(&self.metrics).output_rows(partition);
        let answer = self.clone().answer(context);
        let stream = futures::stream::once(async move {
            let batch = answer.await?;
            rows.add(batch.num_rows());
            Ok(batch)
        });
        Ok(Box::pin(cooperative(RecordBatchStreamAdapter::new(self.schema(), Box::pin(stream)))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
