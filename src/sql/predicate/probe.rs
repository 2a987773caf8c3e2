//! A filter on made-up rows, before it sees real ones: whatever fails by types and literals alone fails here.
//!
//! The engine evaluates the branches of a CASE, and what stands right of AND and OR, for the rows alone that get there. So each
//! of them is tried by itself: else a branch that always fails would be found by the first row that reaches it, and whether
//! there is one would tell of a row.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, new_null_array};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, InListExpr};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::{is_text, readable};

/// A boolean, and one that evaluates, as do all its branches, on no rows, on NULLs and on plain values of every column.
pub(super) fn check_types(expr: &Expr, columns: &Schema, schema: &DFSchema) -> Result<(), String> {
    let kind = expr.get_type(schema).map_err(|error| readable(&error))?;
    if kind != DataType::Boolean {
        return Err(format!("it is of type {kind}, and a filter is true or false"));
    }
    let whole = DFSchema::try_from(columns.clone()).map_err(|error| readable(&error))?;
    let physical = create_physical_expr(expr, &whole, &ExecutionProps::new(), &PhysicalPlanningContext::default())
        .map_err(|error| readable(&error))?;
    each_branch(&physical, &made_up(columns)?)
}

/// What an expression gives for a batch, one value for each row. A panic of the engine is an error like others.
pub(crate) fn evaluated(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, String> {
    let rows = batch.num_rows();
    let found = catch_unwind(AssertUnwindSafe(|| expr.evaluate(batch).and_then(|value| value.into_array(rows))));
    match found {
        Ok(Ok(array)) if array.len() == rows => Ok(array),
        Ok(Ok(array)) => Err(format!("{rows} rows have {} values", array.len())),
        Ok(Err(error)) => Err(readable(&error)),
        Err(_) => Err("the engine panicked".to_owned()),
    }
}

fn each_branch(physical: &Arc<dyn PhysicalExpr>, batches: &[RecordBatch]) -> Result<(), String> {
    let try_it =
        |branch: &Arc<dyn PhysicalExpr>| batches.iter().try_for_each(|batch| evaluated(branch, batch).map(drop));
    try_it(physical)?;
    let mut tried = Ok(());
    let visited = physical.apply(|node| {
        let conjunction = |op: &Operator| matches!(op, Operator::And | Operator::Or);
        let at_once = if node.is::<CaseExpr>() {
            0
        } else if node.is::<InListExpr>() || node.downcast_ref::<BinaryExpr>().is_some_and(|it| conjunction(it.op())) {
            1
        } else {
            // All that it holds has been evaluated with it.
            return Ok(TreeNodeRecursion::Continue);
        };
        tried = node.children().into_iter().skip(at_once).try_for_each(try_it);
        Ok(if tried.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    tried.and(visited.map(drop).map_err(|error| readable(&error)))
}

/// No row; a row of NULLs; two rows of plain values, the second with text that is not ASCII, to which other code applies.
fn made_up(columns: &Schema) -> Result<Vec<RecordBatch>, String> {
    let nullable = columns.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
    let row = |value: &dyn Fn(&DataType) -> ArrayRef| {
        let values = schema.fields().iter().map(|field| value(field.data_type())).collect();
        RecordBatch::try_new(Arc::clone(&schema), values).map_err(|error| error.to_string())
    };
    Ok(vec![
        RecordBatch::new_empty(Arc::clone(&schema)),
        row(&|kind| new_null_array(kind, 1))?,
        row(&|kind| plain(kind, "a"))?,
        row(&|kind| plain(kind, "ß"))?,
    ])
}

/// One value of a type: that text, a zero, or NULL of types that no filter may name.
fn plain(kind: &DataType, text: &str) -> ArrayRef {
    let values = if let DataType::Dictionary(_, values) = kind { values.as_ref() } else { kind };
    let value = if is_text(values) { ScalarValue::from(text).cast_to(kind) } else { ScalarValue::new_default(kind) };
    let array = value.and_then(|value| value.to_array()).ok().filter(|array| array.data_type() == kind);
    array.unwrap_or_else(|| new_null_array(kind, 1))
}
