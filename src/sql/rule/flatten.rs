//! The tree of inner joins under a private aggregate, flattened: leaves, and the conditions between them.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, NullEquality, Result, TableReference};
use datafusion::datasource::{TableProvider, source_as_provider};
use datafusion::logical_expr::expr::{BinaryExpr, Exists, InSubquery, SetComparison};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    Expr, ExprSchemable, JoinType, LogicalPlan, Operator, Subquery, TableScan, binary_expr,
};
use datafusion::sql::unparser::Unparser;

use super::super::catalog::{PeerTable, SharedTable};
use super::refused;
use super::terms::keeps_identifier;

/// A table reference that no SQL can name stands for each leaf; a column's name is its position there.
const LEAF: &str = "\u{1}leaf ";

/// A relation that is not taken apart further.
#[derive(Debug)]
pub(super) enum Leaf {
    /// Whatever this side brings: a table, a view, a join, a subquery without a peer's table.
    Local(LogicalPlan),
    /// A peer's table.
    Remote(Remote),
}

/// A peer's table in a query.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) peer: String,
    pub(super) shared: Arc<SharedTable>,
    /// The name by which the analyst calls it.
    pub(super) called: TableReference,
}

impl Remote {
    /// `peer.table`, for sentences.
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.peer, self.shared.terms.table)
    }

    /// The name of the column at that position of the shared table.
    pub(super) fn column(&self, position: usize) -> &str {
        self.shared.schema.field(position).name()
    }
}

/// Which leaves an expression reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// None: it has no column.
    Neither,
    /// This side's only.
    Local,
    /// The peer's only.
    Remote,
    /// Both sides'.
    Both,
}

/// What is left of a tree of inner joins. Expressions name columns by leaf and position.
#[derive(Debug, Default)]
pub(super) struct JoinTree {
    pub(super) leaves: Vec<Leaf>,
    /// All conditions, joined by AND: ON, USING and WHERE alike, from the inside out.
    pub(super) conditions: Vec<Expr>,
}

/// The peer's table that a scan reads, if it is one.
pub(super) fn peer_table(scan: &TableScan) -> Option<Arc<dyn TableProvider>> {
    let provider = source_as_provider(&scan.source).ok()?;
    as_peer_table(provider.as_ref()).is_some().then_some(provider)
}

/// The same provider, if it is a peer's table.
pub(super) fn as_peer_table(provider: &dyn TableProvider) -> Option<&PeerTable> {
    let provider: &dyn Any = provider;
    provider.downcast_ref::<PeerTable>()
}

/// Whether a plan reads a peer's table, subqueries in its expressions left aside.
fn reads_peer(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found |= matches!(node, LogicalPlan::TableScan(scan) if peer_table(scan).is_some());
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The column of a leaf, as an expression.
pub(super) fn leaf_column(leaf: usize, position: usize) -> Expr {
    Expr::Column(Column::new(Some(TableReference::bare(format!("{LEAF}{leaf}"))), position.to_string()))
}

/// Leaf and position of a column that [`leaf_column`] made.
pub(super) fn position_of(column: &Column) -> Option<(usize, usize)> {
    let leaf = column.relation.as_ref()?.table().strip_prefix(LEAF)?.parse().ok()?;
    Some((leaf, column.name.parse().ok()?))
}

impl JoinTree {
    /// Flattens a plan into this tree; returns what each of its columns is.
    pub(super) fn add(&mut self, plan: &LogicalPlan) -> Result<Vec<Expr>> {
        if !reads_peer(plan)? {
            let leaf = self.leaves.len();
            self.leaves.push(Leaf::Local(plan.clone()));
            return Ok((0..plan.schema().fields().len()).map(|position| leaf_column(leaf, position)).collect());
        }
        match plan {
            LogicalPlan::TableScan(scan) => self.add_remote(scan),
            LogicalPlan::SubqueryAlias(alias) => {
                let first = self.leaves.len();
                let columns = self.add(&alias.input)?;
                if let [Leaf::Remote(remote)] = &mut self.leaves[first..] {
                    remote.called = alias.alias.clone();
                }
                Ok(columns)
            }
            LogicalPlan::Filter(filter) => {
                let columns = self.add(&filter.input)?;
                self.add_condition(&filter.predicate, filter.input.schema(), &columns)?;
                Ok(columns)
            }
            LogicalPlan::Projection(projection) => {
                let columns = self.add(&projection.input)?;
                let substituted = projection.expr.iter().map(|expr| {
                    if expr.is_volatile() {
                        return refused(format!(
                            "volatile expression {expr} stands between the join and the private aggregate; \
                             compute it in a subquery over your own table alone"
                        ));
                    }
                    substitute(expr, projection.input.schema(), &columns)
                });
                substituted.collect()
            }
            LogicalPlan::Join(join) => {
                if join.join_type != JoinType::Inner {
                    return refused(super::leftovers::outer_join(join.join_type));
                }
                if join.null_equality != NullEquality::NullEqualsNothing {
                    return refused("a join in which NULL equals NULL cannot be private: a NULL identifies nobody");
                }
                let mut columns = self.add(&join.left)?;
                let right = self.add(&join.right)?;
                for (l, r) in &join.on {
                    let l = substitute(l, join.left.schema(), &columns)?;
                    let r = substitute(r, join.right.schema(), &right)?;
                    self.conditions.push(binary_expr(l, Operator::Eq, r));
                }
                columns.extend(right);
                if let Some(filter) = &join.filter {
                    self.add_condition(filter, &join.schema, &columns)?;
                }
                Ok(columns)
            }
            other => refused(super::leftovers::in_between(other)),
        }
    }

    fn add_remote(&mut self, scan: &TableScan) -> Result<Vec<Expr>> {
        let provider = source_as_provider(&scan.source)?;
        let Some(table) = as_peer_table(provider.as_ref()) else {
            return refused(format!("{} is no peer's table", scan.table_name));
        };
        if scan.fetch.is_some() {
            return refused("LIMIT under a private aggregate would pick rows of the peer; leave it out");
        }
        let leaf = self.leaves.len();
        let positions: Vec<usize> = match &scan.projection {
            Some(projection) => projection.clone(),
            None => (0..table.shared().schema.fields().len()).collect(),
        };
        self.leaves.push(Leaf::Remote(Remote {
            peer: table.peer().to_owned(),
            shared: Arc::clone(table.shared()),
            called: scan.table_name.clone(),
        }));
        let columns: Vec<Expr> = positions.into_iter().map(|position| leaf_column(leaf, position)).collect();
        for filter in &scan.filters {
            self.add_condition(filter, &scan.projected_schema, &columns)?;
        }
        Ok(columns)
    }

    fn add_condition(&mut self, condition: &Expr, schema: &DFSchema, columns: &[Expr]) -> Result<()> {
        self.conditions.extend(terms_of(substitute(condition, schema, columns)?));
        Ok(())
    }

    /// Which sides an expression reads, outer references of its subqueries included.
    pub(super) fn side(&self, expr: &Expr) -> Result<Side> {
        let (mut local, mut remote) = (false, false);
        let mut note = |column: &Column| match position_of(column).and_then(|(leaf, _)| self.leaves.get(leaf)) {
            Some(Leaf::Local(_)) => local = true,
            Some(Leaf::Remote(_)) => remote = true,
            None => {}
        };
        expr.apply(|node| {
            match node {
                Expr::Column(column) => note(column),
                _ => {
                    for outer in subquery_of(node).iter().flat_map(|subquery| &subquery.outer_ref_columns) {
                        if let Expr::OuterReferenceColumn(_, column) = outer {
                            note(column);
                        }
                    }
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(match (local, remote) {
            (false, false) => Side::Neither,
            (true, false) => Side::Local,
            (false, true) => Side::Remote,
            (true, true) => Side::Both,
        })
    }

    /// The types of all columns, as expressions over leaves name them.
    pub(super) fn schema(&self) -> Result<DFSchema> {
        let mut fields: Vec<(Option<TableReference>, FieldRef)> = Vec::new();
        for (leaf, relation) in self.leaves.iter().enumerate() {
            let columns = match relation {
                Leaf::Local(plan) => plan.schema().fields(),
                Leaf::Remote(remote) => remote.shared.schema.fields(),
            };
            let qualifier = TableReference::bare(format!("{LEAF}{leaf}"));
            for (position, field) in columns.iter().enumerate() {
                let field = Field::new(position.to_string(), field.data_type().clone(), field.is_nullable());
                fields.push((Some(qualifier.clone()), Arc::new(field)));
            }
        }
        DFSchema::new_with_metadata(fields, HashMap::new())
    }

    /// The expression in the analyst's words: SQL, without the casts that coercion added.
    pub(super) fn show(&self, expr: &Expr) -> String {
        let types = self.schema();
        let bare = expr.clone().transform_up(|node| match (node, &types) {
            (Expr::Cast(cast), Ok(types)) => {
                let from = cast.expr.get_type(types)?;
                Ok(if keeps_identifier(&from, cast.field.data_type()) {
                    Transformed::yes(*cast.expr)
                } else {
                    Transformed::no(Expr::Cast(cast))
                })
            }
            (node, _) => Ok(Transformed::no(node)),
        });
        let bare = bare.map_or_else(|_| expr.clone(), |bare| bare.data);
        let named = replace_columns(bare, &|column| {
            let (leaf, position) = position_of(column)?;
            Some(match self.leaves.get(leaf)? {
                Leaf::Local(plan) => Expr::Column(Column::from(plan.schema().qualified_field(position))),
                Leaf::Remote(remote) => {
                    Expr::Column(Column::new(Some(remote.called.table().to_owned()), remote.column(position)))
                }
            })
        });
        let Ok(named) = named else { return "an expression".to_owned() };
        match Unparser::default().with_pretty(true).expr_to_sql(&named) {
            Ok(sql) => sql.to_string(),
            Err(_) => named.to_string(),
        }
    }
}

/// The terms of a condition that AND joins; `NOT (a OR b)` is `NOT a AND NOT b`, with NULL too (de Morgan holds in SQL's
/// three-valued logic), so that a term of each side's is not hidden in one of both.
fn terms_of(condition: Expr) -> Vec<Expr> {
    let negated = |term: Expr| match term {
        Expr::Not(inner) => *inner,
        other => Expr::Not(Box::new(other)),
    };
    let split = |term: Expr| match term {
        Expr::Not(inner) => match *inner {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                [negated(*left), negated(*right)].into_iter().flat_map(terms_of).collect()
            }
            Expr::Not(twice) => terms_of(*twice),
            other => vec![Expr::Not(Box::new(other))],
        },
        other => vec![other],
    };
    split_conjunction_owned(condition).into_iter().flat_map(split).collect()
}

/// Replaces columns, and those that subqueries take from outside, where `replacement` has something.
pub(super) fn replace_columns(expr: Expr, replacement: &dyn Fn(&Column) -> Option<Expr>) -> Result<Expr> {
    let replaced = expr.transform_up(|node| match node {
        Expr::Column(column) => Ok(match replacement(&column) {
            Some(expr) => Transformed::yes(expr),
            None => Transformed::no(Expr::Column(column)),
        }),
        node => replace_in_subquery(node, replacement),
    })?;
    Ok(replaced.data)
}

/// An expression over a plan's columns, as one over leaves.
fn substitute(expr: &Expr, schema: &DFSchema, columns: &[Expr]) -> Result<Expr> {
    let replacement =
        |column: &Column| schema.maybe_index_of_column(column).and_then(|position| columns.get(position).cloned());
    let replaced = replace_columns(expr.clone(), &replacement)?;
    // A name that an alias gives is of no use any more, and hides what it stands for.
    let bare = replaced.transform_up(|node| {
        Ok(match node {
            Expr::Alias(alias) => Transformed::yes(*alias.expr),
            other => Transformed::no(other),
        })
    })?;
    Ok(bare.data)
}

fn subquery_of(node: &Expr) -> Option<&Subquery> {
    match node {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(Exists { subquery, .. }) => Some(subquery),
        Expr::InSubquery(InSubquery { subquery, .. }) => Some(subquery),
        Expr::SetComparison(SetComparison { subquery, .. }) => Some(subquery),
        _ => None,
    }
}

fn replace_in_subquery(mut node: Expr, replacement: &dyn Fn(&Column) -> Option<Expr>) -> Result<Transformed<Expr>> {
    let slot = match &mut node {
        Expr::ScalarSubquery(subquery) => subquery,
        Expr::Exists(Exists { subquery, .. }) => subquery,
        Expr::InSubquery(InSubquery { subquery, .. }) => subquery,
        Expr::SetComparison(SetComparison { subquery, .. }) => subquery,
        _ => return Ok(Transformed::no(node)),
    };
    if slot.outer_ref_columns.is_empty() {
        return Ok(Transformed::no(node));
    }
    let rename = |expr: Expr| {
        expr.transform_up(|node| match node {
            Expr::OuterReferenceColumn(field, column) => match replacement(&column) {
                None => Ok(Transformed::no(Expr::OuterReferenceColumn(field, column))),
                Some(Expr::Column(renamed)) => Ok(Transformed::yes(Expr::OuterReferenceColumn(field, renamed))),
                Some(_) => refused(format!(
                    "a subquery refers to {column}, which is computed above the join; put the subquery into one over your own table"
                )),
            },
            other => Ok(Transformed::no(other)),
        })
    };
    let plan = Arc::unwrap_or_clone(Arc::clone(&slot.subquery));
    let plan = plan.transform_down(|node| node.map_expressions(rename))?.data;
    let outer = slot.outer_ref_columns.iter().map(|outer| rename(outer.clone()).map(|renamed| renamed.data));
    *slot = Subquery {
        outer_ref_columns: outer.collect::<Result<_>>()?,
        subquery: Arc::new(plan),
        spans: slot.spans.clone(),
    };
    Ok(Transformed::yes(node))
}
