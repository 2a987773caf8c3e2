//! GROUP BY: the peer's column of public labels, and this side's own groups.

use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable};

use super::super::answer::label_values;
use super::flatten::{JoinTree, Remote, Side, position_of, replace_columns};
use super::refused;
use crate::policy::check_group_column;

/// What a query is grouped by, in the order of GROUP BY.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The share's column, if one is.
    pub(super) label: Option<String>,
    pub(super) columns: Vec<Group>,
}

/// One expression of GROUP BY.
#[derive(Debug)]
pub(super) enum Group {
    /// The share's column.
    Labels,
    /// An expression of this side, over leaves.
    Own(Expr),
}

impl Groups {
    /// Reads the GROUP BY of an aggregate over a join, whose columns `columns` names by leaf.
    pub(super) fn read(aggregate: &Aggregate, tree: &JoinTree, remote: &Remote, columns: &[Expr]) -> Result<Self> {
        let schema = aggregate.input.schema();
        let mut groups = Groups::default();
        for expr in &aggregate.group_expr {
            if matches!(expr, Expr::GroupingSet(_)) {
                return refused(
                    "GROUPING SETS, ROLLUP and CUBE over a private aggregate are refused: each set is a question of its own, \
                     with noise and a charge of its own; write one query per set, joined by UNION ALL",
                );
            }
            let expr = replace_columns(expr.clone(), &|column| {
                schema.maybe_index_of_column(column).and_then(|position| columns.get(position).cloned())
            })?;
            groups.add(tree, remote, expr.unalias_nested().data)?;
        }
        Ok(groups)
    }

    /// Whether this side groups by values of its own.
    pub(super) fn has_own(&self) -> bool {
        self.columns.iter().any(|group| matches!(group, Group::Own(_)))
    }

    fn add(&mut self, tree: &JoinTree, remote: &Remote, expr: Expr) -> Result<()> {
        let shown = tree.show(&expr);
        if expr.is_volatile() {
            return refused(format!(
                "GROUP BY {shown} is volatile, so that no person has one group; compute it in a subquery over your own table"
            ));
        }
        match tree.side(&expr)? {
            Side::Neither => refused(format!("GROUP BY {shown} is the same for every row: leave it out")),
            Side::Both => refused(format!(
                "GROUP BY {shown} mixes columns of both sides: neither side can compute it without seeing the other's; group \
                 by a column of {} and by one of yours, which gives one row for each pair of them",
                remote.full_name()
            )),
            Side::Local => {
                let kind = expr.get_type(&tree.schema()?)?;
                if !RowConverter::supports_fields(&[SortField::new(kind.clone())]) {
                    return refused(format!("GROUP BY {shown} is of type {kind}, which has no order: cast it to text"));
                }
                self.columns.push(Group::Own(expr));
                Ok(())
            }
            Side::Remote => self.add_label(remote, &expr, &shown),
        }
    }

    fn add_label(&mut self, remote: &Remote, expr: &Expr, shown: &str) -> Result<()> {
        let position = match expr {
            Expr::Column(column) => position_of(column),
            _ => None,
        };
        let Some((_, position)) = position else {
            return refused(format!(
                "GROUP BY {shown} is over an expression of {}'s columns: the groups are the public labels of a column, as its \
                 share lists them; group by the column itself, and write the expression in a SELECT around that query",
                remote.peer
            ));
        };
        let column = remote.column(position);
        if let Err(refusal) = check_group_column(&remote.shared.terms, column) {
            return refused(format!("{} refuses: {refusal}", remote.peer));
        }
        match &self.label {
            Some(known) if known != column => {
                return refused(format!(
                    "GROUP BY takes one column of a peer's, and these are two of {}: {known} and {column}; ask once by each, or \
                     put one of them into FILTER (WHERE {column} = …) for each of its values",
                    remote.full_name()
                ));
            }
            _ => self.label = Some(column.to_owned()),
        }
        // Each label is a value of the column's type, or nothing could be shown of it.
        let kind = remote.shared.schema.field(position).data_type();
        let labels = remote.shared.terms.group_by.iter().find(|group| group.column == column);
        if let Err(reason) = label_values(labels.map_or(&[], |group| &group.labels), kind) {
            return refused(reason.to_string());
        }
        self.columns.push(Group::Labels);
        Ok(())
    }
}
