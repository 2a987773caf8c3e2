//! Every other plan that touches a peer's table: refused, with what works instead.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{DdlStatement, Distinct, Expr, JoinType, LogicalPlan, WindowFunctionDefinition};

use super::super::catalog::no_rows;
use super::super::functions::PrivateAggregateKind;
use super::flatten::{as_peer_table, peer_table};
use super::refused;

/// What a peer's table is used for: a verb before its name, and how to ask it differently.
#[derive(Debug, Clone)]
struct Attempt {
    verb: String,
    hint: Option<String>,
}

impl Attempt {
    fn new(verb: impl Into<String>, hint: impl Into<String>) -> Self {
        Attempt { verb: verb.into(), hint: Some(hint.into()) }
    }
}

/// Walks the plan, its expressions and their subqueries, once all private queries are taken out of it.
pub(super) fn refuse_leftovers(plan: &LogicalPlan) -> Result<()> {
    visit(plan, &Attempt { verb: "cannot read the rows of".to_owned(), hint: None })
}

fn visit(plan: &LogicalPlan, above: &Attempt) -> Result<()> {
    refuse_scan(plan, above)?;
    refuse_target(plan)?;
    let attempt = attempt(plan).unwrap_or_else(|| above.clone());
    plan.apply_expressions(visit_expr)?;
    for input in plan.inputs() {
        visit(input, &attempt)?;
    }
    Ok(())
}

fn refuse_scan(plan: &LogicalPlan, above: &Attempt) -> Result<()> {
    let LogicalPlan::TableScan(scan) = plan else { return Ok(()) };
    let Some(provider) = peer_table(scan) else { return Ok(()) };
    let Some(table) = as_peer_table(provider.as_ref()) else { return Ok(()) };
    refused(no_rows(table.peer(), &table.shared().terms.table, &above.verb, above.hint.as_deref()))
}

/// Statements that would write to a peer's table.
fn refuse_target(plan: &LogicalPlan) -> Result<()> {
    if let LogicalPlan::Dml(statement) = plan
        && let Ok(provider) = source_as_provider(&statement.target)
        && let Some(table) = as_peer_table(provider.as_ref())
    {
        return refused(no_rows(table.peer(), &table.shared().terms.table, "cannot write to", None));
    }
    Ok(())
}

fn visit_expr(expr: &Expr) -> Result<TreeNodeRecursion> {
    expr.apply(|node| {
        match node {
            Expr::AggregateFunction(call) => {
                if let Some(kind) = PrivateAggregateKind::of(&call.func) {
                    return refused(needs_a_peer(kind));
                }
            }
            Expr::WindowFunction(call) => {
                if let WindowFunctionDefinition::AggregateUDF(function) = &call.fun
                    && let Some(kind) = PrivateAggregateKind::of(function)
                {
                    return refused(format!("{kind} is no window function: leave OVER out"));
                }
            }
            Expr::Exists(exists) => visit(&exists.subquery.subquery, &semi_join("EXISTS over"))?,
            Expr::InSubquery(within) => visit(&within.subquery.subquery, &semi_join("IN over"))?,
            Expr::SetComparison(comparison) => {
                visit(&comparison.subquery.subquery, &semi_join("a comparison with all of"))?
            }
            Expr::ScalarSubquery(subquery) => {
                visit(
                    &subquery.subquery,
                    &Attempt { verb: "a subquery cannot read the rows of".to_owned(), hint: None },
                )?;
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })
}

fn semi_join(what: &str) -> Attempt {
    Attempt::new(
        format!("no {what}"),
        "An inner JOIN with PRIVATE_INTERSECT_COUNT(*) says how many persons are in both; which ones is never told",
    )
}

pub(super) fn needs_a_peer(kind: PrivateAggregateKind) -> String {
    format!(
        "{kind} needs a peer's table: join one to a relation of your own in the same SELECT, as in \
         SELECT {kind}(…) FROM mine m JOIN peer.their_table t ON m.id = t.id"
    )
}

/// What a join that is not an inner one is called, and what to ask instead.
fn other_join(kind: JoinType) -> (&'static str, &'static str) {
    let unmatched = "It would show which rows have no match. Use an inner JOIN; the number without a match is your own count of \
                     persons less PRIVATE_INTERSECT_COUNT(*)";
    match kind {
        JoinType::Left | JoinType::Right | JoinType::Full => ("outer", unmatched),
        JoinType::LeftAnti | JoinType::RightAnti => ("anti", unmatched),
        JoinType::LeftSemi | JoinType::RightSemi => {
            ("semi", "It would show which rows match. Use an inner JOIN and a private aggregate")
        }
        _ => ("such", "Only an inner join can be private"),
    }
}

/// Why an outer, semi or anti join under a private aggregate is refused.
pub(super) fn outer_join(kind: JoinType) -> String {
    let (name, instead) = other_join(kind);
    format!("no {name} join with a peer's table. {instead}")
}

/// Why a node between a private aggregate and the peer's table is refused.
pub(super) fn in_between(plan: &LogicalPlan) -> String {
    let (what, hint) = match plan {
        LogicalPlan::Limit(_) => ("LIMIT", "it would pick rows of the peer; leave it out"),
        LogicalPlan::Sort(_) => ("ORDER BY", "a sum has no order; leave it out"),
        LogicalPlan::Distinct(_) => ("DISTINCT", "rows of one person are one already; leave it out"),
        LogicalPlan::Aggregate(_) => {
            ("another aggregate", "aggregate your own table in a subquery of its own, before the join")
        }
        LogicalPlan::Window(_) => {
            ("a window function", "compute it in a subquery over your own table alone, before the join")
        }
        LogicalPlan::Union(_) => ("UNION", "ask each table in a query of its own and add the results"),
        LogicalPlan::Unnest(_) => ("UNNEST", "unnest your own table in a subquery, before the join"),
        LogicalPlan::Subquery(_) => ("LATERAL", "join the peer's table directly"),
        _ => ("this", "join the peer's table directly to a relation of your own"),
    };
    format!("{what} between a private aggregate and the peer's table is refused: {hint}")
}

/// What a node makes of the tables below it; `None`: nothing new.
fn attempt(plan: &LogicalPlan) -> Option<Attempt> {
    Some(match plan {
        LogicalPlan::Join(join) if join.join_type != JoinType::Inner => {
            let (name, instead) = other_join(join.join_type);
            Attempt::new(format!("no {name} join with"), instead)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let first = aggregate.aggr_expr.iter().find_map(|expr| match expr.clone().unalias() {
                Expr::AggregateFunction(call) => Some(call.func.name().to_owned()),
                _ => None,
            });
            match first.as_deref() {
                None => {
                    Attempt::new("no DISTINCT or GROUP BY over", "PRIVATE_INTERSECT_COUNT(*) counts persons, each once")
                }
                Some(name @ ("count" | "sum" | "avg")) => Attempt::new(
                    format!("no plain {} over", name.to_uppercase()),
                    format!("Write PRIVATE_INTERSECT_{} instead", name.to_uppercase()),
                ),
                Some(name) => Attempt::new(
                    format!("no {} over", name.to_uppercase()),
                    "There are private counts, sums and averages; an extreme or a list would tell of single persons",
                ),
            }
        }
        LogicalPlan::Window(_) => Attempt::new("no window function over", "It would give a value to each row"),
        LogicalPlan::Distinct(Distinct::All(_) | Distinct::On(_)) => {
            Attempt::new("no DISTINCT over", "PRIVATE_INTERSECT_COUNT(*) counts persons, each once")
        }
        LogicalPlan::Union(_) => {
            Attempt::new("no UNION over", "Ask each table in a query of its own and add the results")
        }
        LogicalPlan::Copy(_) => Attempt::new("cannot copy", "The result of a private aggregate can be copied"),
        LogicalPlan::Dml(_) | LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(_)) => {
            Attempt::new("cannot store rows of", "The result of a private aggregate can be stored")
        }
        _ => return None,
    })
}
