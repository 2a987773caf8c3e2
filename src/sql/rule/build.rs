//! From an aggregate over a join to the node that takes its place.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder};

use super::super::functions::PrivateAggregateKind;
use super::super::predicate::{Moment, render_filter};
use super::super::query::{GroupColumn, MatchTerm, PrivateQuery};
use super::aggregates::{Asked, one_persons};
use super::flatten::{JoinTree, Leaf, Remote, Side, position_of, replace_columns};
use super::groups::{Group, Groups};
use super::terms::{Term, identifiers, match_terms};
use super::{leftovers, refused};
use crate::policy::check_question;
use crate::psi::Question;

/// The private functions among an aggregate's expressions.
pub(super) fn private_kinds(aggregate: &Aggregate) -> Vec<PrivateAggregateKind> {
    aggregate
        .aggr_expr
        .iter()
        .filter_map(|expr| match expr.clone().unalias_nested().data {
            Expr::AggregateFunction(call) => PrivateAggregateKind::of(&call.func),
            _ => None,
        })
        .collect()
}

/// The node for an aggregate that has at least one private function.
pub(super) fn private_query(
    aggregate: &Aggregate,
    first: PrivateAggregateKind,
    float_decimals: u8,
    moment: &Moment,
) -> Result<PrivateQuery> {
    if let Some(kind) = private_kinds(aggregate).into_iter().find(|kind| kind.is_one_persons()) {
        return refused(one_persons(kind));
    }
    let mut tree = JoinTree::default();
    let columns = tree.add(&aggregate.input)?;
    let remotes: Vec<&Remote> = tree
        .leaves
        .iter()
        .filter_map(|leaf| match leaf {
            Leaf::Remote(remote) => Some(remote),
            Leaf::Local(_) => None,
        })
        .collect();
    let remote = match remotes.as_slice() {
        [] => return refused(leftovers::needs_a_peer(first)),
        [remote] => *remote,
        several => {
            let names: Vec<String> = several.iter().map(|remote| remote.full_name()).collect();
            return refused(format!(
                "one private aggregate joins one peer's table to relations of your own, not {}; ask one after the other",
                names.join(" and ")
            ));
        }
    };
    if tree.leaves.len() == 1 {
        return refused(format!(
            "{first} is over the persons that {} and a relation of your own have in common: join one, by an identifier; {}",
            remote.full_name(),
            identifiers(remote)
        ));
    }
    if !aggregate.input.all_out_ref_exprs().is_empty() {
        return refused(
            "a private aggregate inside a correlated subquery would run once per outer row; take it out of the subquery",
        );
    }
    let groups = Groups::read(aggregate, &tree, remote, &columns)?;
    let mut asked = asked(aggregate, &tree, remote, &columns, float_decimals, moment)?;
    if !groups.columns.is_empty() && remote.shared.terms.minimum_matched > 0 {
        asked.add_persons()?;
    }
    let conditions = Conditions::sort(&tree, moment)?;
    let terms = match_terms(&tree, remote, conditions.mixed)?;
    let shared = &remote.shared.terms;
    let filter = travels(remote, conditions.remote, moment, "the condition")?;
    let question = Question {
        table: shared.table.clone(),
        identifiers: terms.iter().map(|term| term.identifier.clone()).collect(),
        filter,
        aggregates: asked.aggregates,
        own_groups: groups.has_own(),
        group_by: groups.label,
    };
    if !groups.columns.is_empty()
        && let Err(refusal) = check_question(shared, &question, &remote.shared.schema)
    {
        return refused(format!("{} refuses: {refusal}", remote.peer));
    }
    let brought = Brought { terms, groups: groups.columns, own_values: asked.own_values };
    let Projected { local, terms, groups, own_values } = local_side(&tree, conditions.local, brought)?;
    Ok(PrivateQuery {
        peer: remote.peer.clone(),
        shared: Arc::clone(&remote.shared),
        local,
        terms,
        groups,
        own_values,
        question,
        outputs: asked.outputs,
        schema: Arc::clone(&aggregate.schema),
        cell: Arc::default(),
    })
}

fn asked(
    aggregate: &Aggregate,
    tree: &JoinTree,
    remote: &Remote,
    columns: &[Expr],
    float_decimals: u8,
    moment: &Moment,
) -> Result<Asked> {
    let schema = aggregate.input.schema();
    let mut asked = Asked::default();
    for expr in &aggregate.aggr_expr {
        let call = match expr.clone().unalias_nested().data {
            Expr::AggregateFunction(call) => call,
            other => return refused(format!("{other} cannot be computed together with a peer")),
        };
        let Some(kind) = PrivateAggregateKind::of(&call.func) else {
            return refused(format!(
                "{} and a private aggregate in one SELECT: over a peer's table there are private aggregates only; \
                 put the other into a query of its own",
                call.func.name().to_uppercase()
            ));
        };
        let [argument] = call.params.args.as_slice() else { return refused(format!("{kind} takes one argument")) };
        let by_leaf = |expr: &Expr| {
            let expr = replace_columns(expr.clone(), &|column| {
                schema.maybe_index_of_column(column).and_then(|position| columns.get(position).cloned())
            });
            expr.map(|expr| expr.unalias_nested().data)
        };
        let filter = call.params.filter.as_deref().map(by_leaf).transpose()?;
        asked.add(tree, remote, float_decimals, moment, &call, (kind, by_leaf(argument)?, filter))?;
    }
    Ok(asked)
}

/// The conditions of a join tree, by side.
#[derive(Default)]
struct Conditions {
    local: Vec<Expr>,
    remote: Vec<Expr>,
    mixed: Vec<Expr>,
}

impl Conditions {
    fn sort(tree: &JoinTree, moment: &Moment) -> Result<Self> {
        let mut sorted = Conditions::default();
        for condition in &tree.conditions {
            let condition = condition.clone();
            let shown = tree.show(&condition);
            let side = tree.side(&condition)?;
            if condition.is_volatile() {
                return refused(format!(
                    "`{shown}` is volatile, so it has no one meaning in a private join; put it into a subquery over your own table"
                ));
            }
            match side {
                Side::Local => sorted.local.push(condition),
                Side::Both => sorted.mixed.push(condition),
                Side::Remote => sorted.remote.push(condition),
                Side::Neither => match moment.fold(condition, &DFSchema::empty()) {
                    Ok(Expr::Literal(value, _)) if value == true.into() => {}
                    _ => {
                        return refused(format!(
                            "`{shown}` has no column and is not simply true; a condition on your side belongs into a subquery over your own table"
                        ));
                    }
                },
            }
        }
        Ok(sorted)
    }
}

/// Conditions on the peer's columns, named by leaf, as the text that travels; `None` if they always hold. `what` they
/// are is how a refusal begins.
pub(super) fn travels(remote: &Remote, conditions: Vec<Expr>, moment: &Moment, what: &str) -> Result<Option<String>> {
    let named = conditions.into_iter().map(|condition| {
        replace_columns(condition, &|column| {
            let (_, position) = position_of(column)?;
            Some(Expr::Column(Column::new_unqualified(remote.column(position))))
        })
    });
    let named = named.collect::<Result<Vec<_>>>()?;
    let shared = &remote.shared;
    render_filter(named, &shared.schema, &shared.terms.filter_on, moment).or_else(|reason| {
        refused(format!("{what} on {} cannot be asked of {}: {reason}", remote.full_name(), remote.peer))
    })
}

/// What the session needs of this side's relation, by leaf.
struct Brought {
    terms: Vec<Term>,
    groups: Vec<Group>,
    own_values: Vec<Expr>,
}

/// This side's relation, and which of its columns the session needs for what.
struct Projected {
    local: LogicalPlan,
    terms: Vec<MatchTerm>,
    groups: Vec<GroupColumn>,
    own_values: Vec<usize>,
}

/// This side's relation: its leaves, filtered, and projected to what the session needs.
fn local_side(tree: &JoinTree, conditions: Vec<Expr>, brought: Brought) -> Result<Projected> {
    let (relation, names) = relation(tree)?;
    let named = |expr: Expr| {
        replace_columns(expr, &|column| {
            let (leaf, position) = position_of(column)?;
            names.get(leaf)?.get(position).cloned().map(Expr::Column)
        })
    };
    let mut builder = LogicalPlanBuilder::from(relation);
    let conditions = conditions.into_iter().map(&named).collect::<Result<Vec<_>>>()?;
    if let Some(predicate) = conjunction(conditions) {
        builder = builder.filter(predicate)?;
    }
    let mut columns: Vec<Expr> = Vec::new();
    let mut column = |expr: Expr| -> Result<usize> {
        let expr = named(expr)?;
        Ok(columns.iter().position(|known| *known == expr).unwrap_or_else(|| {
            columns.push(expr);
            columns.len() - 1
        }))
    };
    let mut matched = Vec::with_capacity(brought.terms.len());
    for term in brought.terms {
        let parts = term.parts.into_iter().map(&mut column).collect::<Result<Vec<_>>>()?;
        matched.push(MatchTerm { identifier: term.identifier, parts });
    }
    let groups = brought.groups.into_iter().map(|group| match group {
        Group::Labels => Ok(GroupColumn::Labels),
        Group::Own(expr) => column(expr).map(GroupColumn::Own),
    });
    let groups = groups.collect::<Result<Vec<_>>>()?;
    let own_values = brought.own_values.into_iter().map(&mut column).collect::<Result<Vec<_>>>()?;
    let mut taken = BTreeSet::new();
    let projected: Vec<Expr> = columns
        .into_iter()
        .map(|expr| {
            let wanted = match &expr {
                Expr::Column(column) => column.name.clone(),
                other => other.schema_name().to_string(),
            };
            let mut name = wanted.clone();
            let mut count = 1;
            while !taken.insert(name.clone()) {
                count += 1;
                name = format!("{wanted}_{count}");
            }
            expr.alias(name)
        })
        .collect();
    Ok(Projected { local: builder.project(projected)?.build()?, terms: matched, groups, own_values })
}

/// The cross product of the local leaves (their conditions follow as a filter, which the optimizer turns
/// into joins), and what each of their columns is called in it.
fn relation(tree: &JoinTree) -> Result<(LogicalPlan, Vec<Vec<Column>>)> {
    let mut whole: Option<LogicalPlan> = None;
    let mut names = Vec::with_capacity(tree.leaves.len());
    for (leaf, relation) in tree.leaves.iter().enumerate() {
        let Leaf::Local(plan) = relation else {
            names.push(Vec::new());
            continue;
        };
        let clashes = whole.as_ref().is_some_and(|whole| whole.schema().join(plan.schema()).is_err());
        let plan = if clashes { renamed(plan, leaf)? } else { plan.clone() };
        names.push(plan.schema().iter().map(Column::from).collect());
        whole = Some(match whole {
            None => plan,
            Some(whole) => LogicalPlanBuilder::from(whole).cross_join(plan)?.build()?,
        });
    }
    match whole {
        Some(whole) => Ok((whole, names)),
        None => refused("a private aggregate needs a relation of your own"),
    }
}

/// The same relation under a name of its own, and with column names that are unique.
fn renamed(plan: &LogicalPlan, leaf: usize) -> Result<LogicalPlan> {
    let columns = plan.schema().iter().enumerate();
    let columns = columns.map(|(position, field)| Expr::Column(Column::from(field)).alias(format!("c{position}")));
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan.clone()).project(columns)?.alias(format!("relation {leaf}"))?.build()
}
