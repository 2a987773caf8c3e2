//! The logical node of a private query: what travels, and the relation that this side brings.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchemaRef, DataFusionError, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use tokio::sync::OnceCell;

use super::catalog::SharedTable;
use super::functions::ResultPart;
use crate::psi::{Aggregate, Question};

/// Where the equal private queries of one statement leave their answer: the first that executes
/// runs the session, the others read. A failed run stays failed, since trying again would be charged
/// again.
pub type AnswerCell = OnceCell<Result<RecordBatch, Arc<DataFusionError>>>;

/// One of the terms joined by OR: an identifier of the share, and the local columns to match it with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MatchTerm {
    /// The share's name of the identifier.
    pub identifier: String,
    /// Columns of [`PrivateQuery::local`], in the order of the identifier's columns.
    pub parts: Vec<usize>,
}

/// What is released for a column of the result; indices count [`Question::aggregates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrivateOutput {
    /// The count at this index (`Persons`, `Rows` or `OwnRows`), as Int64.
    Count(usize),
    /// The sum at this index (`Sum` or `OwnSum`), in the type of the result's column.
    Sum(usize),
    /// The quotient of two of them, as Float64; NULL where `rows` is not positive.
    Avg {
        /// The index of the sum.
        sum: usize,
        /// The index of the count.
        rows: usize,
    },
    /// A variance or standard deviation from three of them, as Float64; NULL where there are too few rows.
    Spread {
        /// The index of the sum of squares.
        squares: usize,
        /// The index of the sum.
        sum: usize,
        /// The index of the count.
        rows: usize,
        /// Whether the values are a sample: then the quotient is by n − 1.
        sample: bool,
        /// Whether its square root is meant.
        root: bool,
    },
}

/// Where one of the columns that a query is grouped by comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupColumn {
    /// The public labels of the share's column that [`Question::group_by`] names.
    Labels,
    /// This column of [`PrivateQuery::local`]: values of this side's own, whose distinct tuples are the parts.
    Own(usize),
}

/// One column of the result: a release, and which number of it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResultColumn {
    /// The release.
    pub of: PrivateOutput,
    /// The value, or an end of its interval.
    pub part: ResultPart,
}

impl From<PrivateOutput> for ResultColumn {
    /// The value itself.
    fn from(of: PrivateOutput) -> Self {
        ResultColumn { of, part: ResultPart::Value }
    }
}

/// An aggregate over the common persons of a local relation and a peer's table. It takes the place of
/// an `Aggregate` over their join, and has its schema: one row for each of its own groups and each public label.
#[derive(Debug, Clone)]
pub struct PrivateQuery {
    /// The peer's name, which is its schema's name.
    pub peer: String,
    /// The shared table as it was at planning time.
    pub shared: Arc<SharedTable>,
    /// This side's relation. Its columns are exactly those that `terms`, `groups` and `own_values` name.
    pub local: LogicalPlan,
    /// The terms joined by OR, in match order.
    pub terms: Vec<MatchTerm>,
    /// What the first fields of `schema` are: the columns of GROUP BY. Empty: one row.
    pub groups: Vec<GroupColumn>,
    /// Columns of `local` with this side's own values, by value index.
    pub own_values: Vec<usize>,
    /// What travels.
    pub question: Question,
    /// One per field of `schema` after the groups.
    pub outputs: Vec<ResultColumn>,
    /// The schema of the `Aggregate` that this node replaces.
    pub schema: DFSchemaRef,
    /// The answer, shared with the equal queries of the same statement; no part of equality.
    pub cell: Arc<AnswerCell>,
}

impl PrivateQuery {
    /// The columns of `local` that it is grouped by, in the order of GROUP BY.
    pub(super) fn own_groups(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().filter_map(|group| match group {
            GroupColumn::Own(column) => Some(*column),
            GroupColumn::Labels => None,
        })
    }

    /// The public labels of the answer's rows, if it is grouped by a column of the peer's.
    pub(super) fn labels(&self) -> Option<&[String]> {
        let column = self.question.group_by.as_ref()?;
        let group = self.shared.terms.group_by.iter().find(|group| group.column == *column)?;
        Some(&group.labels)
    }

    /// The columns that it is grouped by, for people.
    pub(super) fn group_names(&self) -> Vec<String> {
        let name = |group: &GroupColumn| match group {
            GroupColumn::Labels => self.question.group_by.clone().unwrap_or_default(),
            GroupColumn::Own(column) => self.local.schema().field(*column).name().clone(),
        };
        self.groups.iter().map(name).collect()
    }

    /// The index of the count of persons by which groups under the share's minimum are hidden, where they are.
    pub(super) fn hidden_by(&self) -> Option<usize> {
        if self.groups.is_empty() || self.shared.terms.minimum_matched == 0 {
            return None;
        }
        self.question.aggregates.iter().position(|word| word.when.is_none() && word.aggregate == Aggregate::Persons)
    }

    /// Whether that count is there for this alone: nobody wrote it.
    pub(super) fn adds_persons(&self) -> bool {
        self.hidden_by()
            .is_some_and(|persons| !self.outputs.iter().any(|output| output.of == PrivateOutput::Count(persons)))
    }

    /// The node as a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }
}

impl PartialEq for PrivateQuery {
    fn eq(&self, other: &Self) -> bool {
        self.peer == other.peer
            && self.shared.terms == other.shared.terms
            && self.local == other.local
            && reads_the_same(&self.local, &other.local)
            && self.terms == other.terms
            && self.groups == other.groups
            && self.own_values == other.own_values
            && self.question == other.question
            && self.outputs == other.outputs
            && self.schema == other.schema
    }
}

impl Eq for PrivateQuery {}

impl Hash for PrivateQuery {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.peer.hash(state);
        self.local.hash(state);
        self.terms.hash(state);
        self.groups.hash(state);
        self.own_values.hash(state);
        self.question.hash(state);
        self.outputs.hash(state);
        self.schema.hash(state);
    }
}

/// Whether two equal plans read the very same tables. The engine compares scans by the table's name alone, and names are
/// not enough: two files that were read without a name, or a view over a table that has been replaced since.
fn reads_the_same(one: &LogicalPlan, other: &LogicalPlan) -> bool {
    let (one, other) = (tables(one), tables(other));
    one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| std::ptr::addr_eq(*one, *other))
}

/// Where the tables of a plan are in memory, those of its subqueries too, in the plan's order. A plan that cannot be walked
/// to its end gives fewer, and then holds none that another would not have.
fn tables(plan: &LogicalPlan) -> Vec<*const ()> {
    let mut tables = Vec::new();
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            tables.push(match source_as_provider(&scan.source) {
                Ok(provider) => Arc::as_ptr(&provider).cast(),
                Err(_) => Arc::as_ptr(&scan.source).cast(),
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "the closure never fails");
    tables
}

impl PartialOrd for PrivateQuery {
    /// Equal nodes are equal; others have no order.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for PrivateQuery {
    fn name(&self) -> &str {
        "PrivateQuery"
    }

    /// None, for whoever rewrites plans: the local side is optimised and planned by itself. A condition above this node is
    /// one on the answer, and the engine would push what names no column of it (`random() < 0.5`, a subquery) below.
    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        // Columns are named by position, so no rewrite of expressions can change what is matched.
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PrivateQuery: {}.{} match by [", self.peer, self.question.table)?;
        for (rank, term) in self.terms.iter().enumerate() {
            let separator = if rank == 0 { "" } else { ", " };
            write!(f, "{separator}{}", term.identifier)?;
        }
        write!(f, "], ask [")?;
        for (word, aggregate) in self.question.aggregates.iter().enumerate() {
            let separator = if word == 0 { "" } else { ", " };
            write!(f, "{separator}{aggregate}")?;
        }
        write!(f, "]")?;
        if !self.groups.is_empty() {
            write!(f, ", group by [{}]", self.group_names().join(", "))?;
        }
        match &self.question.filter {
            Some(filter) => write!(f, ", filter: {filter}"),
            None => Ok(()),
        }
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        if !exprs.is_empty() || !inputs.is_empty() {
            return Err(DataFusionError::Internal("a rewrite gave a private query inputs or expressions".to_owned()));
        }
        Ok(self.clone())
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(Vec::new())
    }
}
