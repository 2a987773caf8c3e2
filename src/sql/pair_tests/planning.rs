//! Planner and displays.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::{QueryPlanner, SessionContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use super::kit::*;
use crate::sql::{PrivateQueryExec, PsiQueryPlanner, install_psi_planner, open_table, register, with_psi_planner};

const QUERY: &str = "SELECT PRIVATE_INTERSECT_COUNT(*) AS buyers, PRIVATE_INTERSECT_SUM(p.amount) AS revenue \
    FROM impressions i JOIN advertiser.purchases p ON i.email = p.email OR i.phone = p.phone WHERE p.category = 'toys'";

/// A planner of somebody else's, which counts what it plans and knows no private query.
#[derive(Debug, Default)]
struct Foreign(AtomicU64);

#[async_trait]
impl QueryPlanner for Foreign {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        DefaultPhysicalPlanner::default().create_physical_plan(plan, session).await
    }
}

async fn tables(context: &SessionContext, pair: &Pair) {
    for table in &pair.asker.party().tables {
        let opened = open_table(&context.state(), &table.name, &table.location).await.unwrap();
        context.register_table(table.name.as_str(), opened.provider).unwrap();
    }
    register(context, pair.asker.schemas()).unwrap();
}

#[tokio::test]
async fn a_planner_that_a_session_has_stays_in_use() {
    let pair = Pair::open().await;
    let foreign = Arc::new(Foreign::default());
    let builder = SessionStateBuilder::new().with_default_features().with_query_planner(Arc::clone(&foreign) as _);
    let built = SessionContext::new_with_state(with_psi_planner(builder, Arc::clone(&pair.asker)).build());
    tables(&built, &pair).await;
    let late = SessionContext::new_with_state(
        SessionStateBuilder::new().with_default_features().with_query_planner(Arc::clone(&foreign) as _).build(),
    );
    let id = late.session_id();
    tables(&late, &pair).await;
    install_psi_planner(&late, Arc::clone(&pair.asker));
    install_psi_planner(&late, Arc::clone(&pair.asker));
    assert_eq!(late.session_id(), id);
    for context in [built, late] {
        let before = foreign.0.load(Ordering::SeqCst);
        // On top, in a subquery of an expression, and one private query feeding the local side of another.
        for (sql, answer) in [
            (QUERY.to_owned(), "4|140"),
            (format!("SELECT revenue / buyers, (SELECT revenue FROM ({QUERY})) FROM ({QUERY})"), "35|140"),
            (
                format!(
                    "SELECT PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_COUNT(p.category) FROM impressions i \
                     JOIN ({QUERY}) n ON i.clicks > n.buyers JOIN advertiser.purchases p ON i.email = p.email"
                ),
                "6|5",
            ),
            ("SELECT count(*) FROM impressions".to_owned(), "11"),
        ] {
            let found =
                context.sql(&sql).await.unwrap().collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(cells(&found), answer, "{sql}");
        }
        assert!(foreign.0.load(Ordering::SeqCst) > before + 4, "it planned them all, local sides too");
        context.sql(&format!("EXPLAIN {QUERY}")).await.unwrap().collect().await.unwrap();
    }
}

#[tokio::test]
async fn datafusions_own_planner_is_recognised_and_knows_one_more_node() {
    let pair = Pair::open().await;
    let state = pair.context.state();
    let planner: &dyn Any = state.query_planner().as_ref();
    let planner = format!("{:?}", planner.downcast_ref::<PsiQueryPlanner>().expect("it was installed"));
    assert!(planner.contains("other: None"), "{planner}");
    let plan = pair.context.sql(QUERY).await.unwrap().create_physical_plan().await.unwrap();
    let text = displayable(plan.as_ref()).indent(false).to_string();
    assert!(text.contains("DataSourceExec"), "the local side is below: {text}");
    assert!(text.contains("100 queries left"), "{text}");
    pair.row(QUERY).await;
    let again = displayable(plan.as_ref()).indent(false).to_string();
    assert_eq!(text, again, "the books are not read for every display");
}

#[tokio::test]
async fn explain_shows_the_run_before_it_happens() {
    let share = OPEN_SHARE
        .replace("sizes = { exact = true }", "sizes = { epsilon = 3.0, delta = 1e-3 }")
        .replace("queries = 100", "queries = 2");
    let ask = "rows = \"pad\"\n[ask.budget]\nqueries = 2\nsizes = { epsilon = 3.0, delta = 1e-3 }\n";
    let pair = Pair::new(PURCHASES, IMPRESSIONS, &share, ask).await;
    let text = pair.row(&format!("EXPLAIN {QUERY}")).await;
    for line in [
        "PrivateQueryExec: advertiser.purchases",
        "travels:  table purchases; match by email, phone; ask persons, sum(amount); filter ",
        "category",
        "match 1:  email = i.email as email/1",
        "match 2:  phone = i.phone as phone/1:US",
        "here:     at most 11 persons",
        "announced by 'pad'",
        "there:    entries unknown before it runs",
        "ε 3, δ 1e-3 over 2 queries of 3 identifiers (τ ",
        "2 queries left",
        "outputs:  exact, by advertiser's policy",
        "sum(amount): one person's total counts from -1000000 to 1000000",
        "you will learn:",
        "advertiser will learn:",
        "costs:    about",
    ] {
        assert!(text.contains(line), "'{line}' is missing in\n{text}");
    }
    assert_eq!((pair.charged(), pair.paid()), (0, 0));
    pair.row(QUERY).await;
    let text = pair.row(&format!("EXPLAIN {QUERY}")).await;
    assert!(text.contains("there:    10 entries when last asked") && text.contains("1 query left"), "{text}");
}

#[tokio::test]
async fn explain_analyze_shows_every_phase_and_the_noisy_sizes() {
    let pair = Pair::open().await;
    let text = pair.row(&format!("EXPLAIN ANALYZE {QUERY}")).await;
    for line in [
        "local:",
        "11 rows, 11 persons",
        "hello ",
        "columns ",
        "tags ",
        "elements-2 ",
        "replies-2 ",
        "ot-payload ",
        "release ",
        "all:",
        "there:    10 entries",
        "matched by email: 4 lines",
        "matched by phone: 0 lines",
        "metrics=[",
        "bytes_up=",
        "columns_time=",
    ] {
        assert!(text.contains(line), "'{line}' is missing in\n{text}");
    }
    assert!(!text.contains("travels:"), "it has happened: {text}");
    let verbose = pair.row(&format!("EXPLAIN ANALYZE VERBOSE {QUERY}")).await;
    assert!(verbose.contains("travels:") && verbose.contains("all:"), "{verbose}");
}

#[tokio::test]
async fn execute_does_nothing_before_the_first_poll() {
    let pair = Pair::open().await;
    let plan = pair.context.sql(QUERY).await.unwrap().create_physical_plan().await.unwrap();
    let stream = datafusion::physical_plan::execute_stream(plan, pair.context.task_ctx()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!((pair.charged(), pair.paid()), (0, 0));
    drop(stream);
    let plan = pair.context.sql(QUERY).await.unwrap().create_physical_plan().await.unwrap();
    fn find(plan: &Arc<dyn ExecutionPlan>) -> bool {
        plan.is::<PrivateQueryExec>() || plan.children().into_iter().any(find)
    }
    assert!(find(&plan));
}
