//! From the logical node of a private query to its execution plan, beside whatever planner a session has.
//!
//! A session with DataFusion's own planner gets one that knows one more node ([`PsiPlanner`]). A session
//! with a planner of its own keeps it: each private query is planned first and handed to that planner as
//! a table scan that is already planned, so that nothing has to know of us.

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::{QueryPlanner, SessionContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::asker::Asker;
use super::exec::PrivateQueryExec;
use super::query::PrivateQuery;
use super::rule::Refused;

/// Plans [`PrivateQuery`] nodes and no others.
#[derive(Debug, Clone)]
pub struct PsiPlanner {
    asker: Arc<Asker>,
    /// Whether what it plans will be displayed.
    explained: bool,
}

impl PsiPlanner {
    /// A planner whose queries are asked by that party.
    pub fn new(asker: Arc<Asker>) -> Self {
        PsiPlanner { asker, explained: false }
    }
}

#[async_trait]
impl ExtensionPlanner for PsiPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _planning_ctx: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(refused) = node.as_any().downcast_ref::<Refused>() {
            return Err(refused.reason());
        }
        let Some(query) = node.as_any().downcast_ref::<PrivateQuery>() else { return Ok(None) };
        // No input of the node's, see there: nothing has optimised it yet.
        let local = session.optimize(&query.local)?;
        let input = planner.create_physical_plan(&local, session).await?;
        let exec = PrivateQueryExec::new(query.clone(), input, self.asker.who_asks(&query.peer))?;
        if self.explained {
            exec.prepare_display().await?;
        }
        Ok(Some(Arc::new(exec)))
    }
}

/// A session's query planner with private queries added.
pub struct PsiQueryPlanner {
    psi: PsiPlanner,
    /// The session's own planner, where it is not DataFusion's.
    other: Option<Arc<dyn QueryPlanner + Send + Sync>>,
}

impl fmt::Debug for PsiQueryPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PsiQueryPlanner").field("asker", &self.psi.asker).field("other", &self.other).finish()
    }
}

impl PsiQueryPlanner {
    /// The planner that plans private queries by `asker`, and all else as `before` does (`None`: DataFusion's).
    pub fn new(asker: Arc<Asker>, before: Option<Arc<dyn QueryPlanner + Send + Sync>>) -> Self {
        let other = before.filter(|planner| !is_default(planner.as_ref()));
        // Installed a second time, the latter asker counts, and the first is not consulted again.
        let other =
            match other.as_ref().map(|planner| planner.as_ref() as &dyn Any).and_then(|any| any.downcast_ref::<Self>())
            {
                Some(earlier) => earlier.other.clone(),
                None => other,
            };
        PsiQueryPlanner { psi: PsiPlanner::new(asker), other }
    }

    /// Plans each private query of `plan` and puts a scan of it in its place.
    async fn planned_first(
        &self,
        other: &Arc<dyn QueryPlanner + Send + Sync>,
        plan: &LogicalPlan,
        session: &dyn Session,
        explained: bool,
    ) -> Result<LogicalPlan> {
        let mut queries = Vec::new();
        plan.apply_with_subqueries(|node| {
            Ok(match private_query(node) {
                Some(query) => {
                    queries.push(query.clone());
                    TreeNodeRecursion::Jump
                }
                None => TreeNodeRecursion::Continue,
            })
        })?;
        let mut planned = VecDeque::with_capacity(queries.len());
        for query in queries {
            // Its local side may itself hold one.
            let local = session.optimize(&query.local)?;
            let local = Box::pin(self.planned_first(other, &local, session, explained)).await?;
            let input = other.create_physical_plan(&local, session).await?;
            let asker = self.psi.asker.who_asks(&query.peer);
            let scan = planned_scan(query, input, asker, explained).await?;
            planned.push_back(scan);
        }
        let replaced = plan.clone().transform_down_with_subqueries(|node| {
            if private_query(&node).is_none() {
                return Ok(Transformed::no(node));
            }
            let scan = planned.pop_front().ok_or_else(|| {
                DataFusionError::Internal("two walks over one plan met different private queries".to_owned())
            })?;
            Ok(Transformed::new(scan, true, TreeNodeRecursion::Jump))
        })?;
        Ok(replaced.data)
    }
}

#[async_trait]
impl QueryPlanner for PsiQueryPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let explained = is_explained(logical_plan);
        match &self.other {
            None => {
                let psi: Arc<dyn ExtensionPlanner + Send + Sync> =
                    Arc::new(PsiPlanner { explained, ..self.psi.clone() });
                DefaultPhysicalPlanner::with_extension_planners(vec![psi])
                    .create_physical_plan(logical_plan, session)
                    .await
            }
            Some(other) => {
                let plan = self.planned_first(other, logical_plan, session, explained).await?;
                other.create_physical_plan(&plan, session).await
            }
        }
    }
}

/// Adds private queries to a session that is being built; a query planner set before stays in use. Set
/// other query planners before, not after.
pub fn with_psi_planner(mut builder: SessionStateBuilder, asker: Arc<Asker>) -> SessionStateBuilder {
    let before = builder.query_planner().take();
    builder.with_query_planner(Arc::new(PsiQueryPlanner::new(asker, before)))
}

/// Adds private queries to a session that exists; its query planner stays in use, and its name, tables
/// and settings stay as they are.
pub fn install_psi_planner(context: &SessionContext, asker: Arc<Asker>) {
    let state = context.state_ref();
    let mut state = state.write();
    let before = Arc::clone(state.query_planner());
    let session = state.session_id().to_owned();
    *state = SessionStateBuilder::new_from_existing(state.clone())
        .with_session_id(session)
        .with_query_planner(Arc::new(PsiQueryPlanner::new(asker, Some(before))))
        .build();
}

/// Whether a planner is the one that DataFusion gives to every session; its type has no public name.
fn is_default(planner: &(dyn QueryPlanner + Send + Sync)) -> bool {
    let plain = SessionStateBuilder::new().build();
    let default: &dyn Any = plain.query_planner().as_ref();
    let planner: &dyn Any = planner;
    planner.type_id() == default.type_id()
}

/// Whether a statement displays the estimates of its plan.
fn is_explained(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Explain(_) => true,
        LogicalPlan::Analyze(analyze) => analyze.verbose,
        _ => false,
    }
}

fn private_query(plan: &LogicalPlan) -> Option<&PrivateQuery> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<PrivateQuery>(),
        _ => None,
    }
}

/// A private query as a scan with the same columns, qualifiers included.
async fn planned_scan(
    query: PrivateQuery,
    input: Arc<dyn ExecutionPlan>,
    asker: Arc<Asker>,
    explained: bool,
) -> Result<LogicalPlan> {
    let (name, projected_schema) = (format!("private_query_{}", query.peer), Arc::clone(&query.schema));
    // The input has been planned and optimised to its end: no second planner should look into it.
    let exec = PrivateQueryExec::new(query, input, asker)?.with_hidden_input();
    if explained {
        exec.prepare_display().await?;
    }
    let provider = PlannedQuery { plan: Arc::new(exec) };
    Ok(LogicalPlan::TableScan(TableScan {
        table_name: TableReference::bare(name),
        source: provider_as_source(Arc::new(provider)),
        projection: None,
        projected_schema,
        filters: Vec::new(),
        fetch: None,
        statistics_requests: BTreeSet::new(),
    }))
}

/// A private query that is already planned, as a table.
#[derive(Debug)]
struct PlannedQuery {
    plan: Arc<PrivateQueryExec>,
}

#[async_trait]
impl TableProvider for PlannedQuery {
    fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Filters and limits were not declared as supported, so whoever has them applies them above.
        match projection {
            Some(columns) if !columns.iter().copied().eq(0..self.plan.schema().fields().len()) => {
                Err(DataFusionError::Plan(
                    "a query planner narrowed the columns of a private query, which were settled when it was planned"
                        .to_owned(),
                ))
            }
            _ => Ok(Arc::clone(&self.plan) as Arc<dyn ExecutionPlan>),
        }
    }
}
