//! The same question in the clear: plain SQL over both parties' tables in one place.
//!
//! Nobody outside a demo or a test has both. Here they lie beside each other as schemas named after the parties.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::MemorySchemaProvider;
use datafusion::prelude::SessionContext;

use super::stories::Story;
use crate::policy::Party;
use crate::sql::open_table;

/// One cell of an answer beside the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// The column, after the row's labels where there are several rows.
    pub name: String,
    /// The private answer; `None` for NULL.
    pub answer: Option<f64>,
    /// The truth; `None` for NULL.
    pub truth: Option<f64>,
    /// The answer as text.
    pub answer_text: String,
    /// The truth as text.
    pub truth_text: String,
    /// Row and column of the result, from 0.
    pub cell: (usize, usize),
}

impl Measure {
    /// How far the answer is from the truth; not a number where only one is NULL.
    pub fn difference(&self) -> f64 {
        match (self.answer, self.truth) {
            (Some(answer), Some(truth)) => answer - truth,
            (None, None) => 0.0,
            _ => f64::NAN,
        }
    }

    /// Whether the answer is the truth, but for the last digits of floats.
    pub fn is_equal(&self) -> bool {
        self.difference().abs() <= 1e-12 * self.truth.unwrap_or(0.0).abs()
    }
}

/// Answers a question in plain SQL. Tables are those of the story's folder under `root`, as `PARTY.TABLE`.
///
/// # Errors
/// A table that cannot be opened; a query that fails.
pub async fn truth(story: &Story, root: &Path, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
    let ctx = SessionContext::new();
    let catalog = ctx.catalog("datafusion").context("a session has a default catalog")?;
    for outline in &story.parties {
        let party = Party::load(story.policy(root, outline.name))?;
        catalog.register_schema(outline.name, Arc::new(MemorySchemaProvider::new()))?;
        for table in &party.tables {
            let opened = open_table(&ctx.state(), &table.name, &table.location).await?;
            ctx.register_table(format!("{}.{}", outline.name, table.name), opened.provider)?;
        }
    }
    Ok(ctx.sql(sql).await?.collect().await?)
}

/// Every number of the answer beside the same number of the truth, row by row.
///
/// # Errors
/// Another number of rows, other columns or other labels.
pub fn compare(answer: &[RecordBatch], truth: &[RecordBatch]) -> anyhow::Result<Vec<Measure>> {
    let (answer, truth) = (whole(answer)?, whole(truth)?);
    ensure!(
        answer.num_rows() == truth.num_rows(),
        "the answer has {} rows and the truth {}",
        answer.num_rows(),
        truth.num_rows()
    );
    let names =
        |batch: &RecordBatch| batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    ensure!(
        names(&answer) == names(&truth),
        "the answer's columns are {:?}, the truth's {:?}",
        names(&answer),
        names(&truth)
    );
    let mut measures = Vec::new();
    for row in 0..answer.num_rows() {
        let mut labels = String::new();
        for (column, name) in names(&answer).into_iter().enumerate() {
            let (ours, theirs) = (answer.column(column), truth.column(column));
            let (answer_text, truth_text) = (text(ours, row)?, text(theirs, row)?);
            if !ours.data_type().is_numeric() {
                ensure!(answer_text == truth_text, "the answer has a row '{answer_text}', the truth '{truth_text}'");
                labels.push_str(&answer_text);
                labels.push_str(": ");
                continue;
            }
            measures.push(Measure {
                name: format!("{labels}{name}"),
                answer: number(ours, row)?,
                truth: number(theirs, row)?,
                answer_text,
                truth_text,
                cell: (row, column),
            });
        }
    }
    Ok(measures)
}

fn whole(batches: &[RecordBatch]) -> anyhow::Result<RecordBatch> {
    let first = batches.first().context("a query gave no result")?;
    Ok(datafusion::arrow::compute::concat_batches(&first.schema(), batches)?)
}

fn number(column: &dyn Array, row: usize) -> anyhow::Result<Option<f64>> {
    let floats = cast(&column.slice(row, 1), &DataType::Float64)?;
    let floats = datafusion::arrow::array::AsArray::as_primitive::<datafusion::arrow::datatypes::Float64Type>(&floats);
    Ok(floats.iter().next().flatten())
}

fn text(column: &dyn Array, row: usize) -> anyhow::Result<String> {
    let options = FormatOptions::default().with_null("NULL");
    let text = ArrayFormatter::try_new(column, &options)?.value(row).to_string();
    Ok(text)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;

    fn batch(label: &str, counts: [Option<i64>; 2], mean: Option<f64>) -> RecordBatch {
        let labels: ArrayRef = Arc::new(StringArray::from(vec![label, "rest"]));
        let counts: ArrayRef = Arc::new(Int64Array::from(counts.to_vec()));
        let means: ArrayRef = Arc::new(Float64Array::from(vec![mean, None]));
        RecordBatch::try_from_iter([("part", labels), ("n", counts), ("mean", means)]).unwrap()
    }

    #[test]
    fn numbers_are_compared_one_by_one_and_named_after_their_row() {
        let answer = batch("toys", [Some(7), Some(8)], Some(0.5));
        let truth = batch("toys", [Some(7), Some(5)], Some(0.5 + 1e-14));
        let measures = compare(&[answer], &[truth]).unwrap();
        let names: Vec<_> = measures.iter().map(|measure| measure.name.as_str()).collect();
        assert_eq!(names, ["toys: n", "toys: mean", "rest: n", "rest: mean"]);
        let equal: Vec<_> = measures.iter().map(Measure::is_equal).collect();
        assert_eq!(equal, [true, true, false, true], "NULL is NULL");
        assert_eq!(measures[2].difference(), 3.0);
        assert_eq!((measures[3].answer_text.as_str(), measures[0].truth_text.as_str()), ("NULL", "7"));
    }

    #[test]
    fn a_null_is_no_number() {
        let measures =
            compare(&[batch("toys", [Some(1), None], Some(1.0))], &[batch("toys", [Some(1), Some(0)], Some(1.0))]);
        assert!(!measures.unwrap()[2].is_equal());
    }

    #[test]
    fn other_rows_or_labels_are_errors_and_no_differences() {
        let one = batch("toys", [None, None], None);
        let other = batch("books", [None, None], None);
        assert!(compare(std::slice::from_ref(&one), &[other]).unwrap_err().to_string().contains("'books'"));
        assert!(compare(std::slice::from_ref(&one), &[one.slice(0, 1)]).unwrap_err().to_string().contains("rows"));
        assert!(compare(&[], &[one]).is_err());
    }
}
