//! Results as table, CSV or JSON, and errors as one line.

use std::io::Write;
use std::sync::Arc;

use clap::ValueEnum;
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::ArrayWriter;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::DataFusionError;

use crate::sql::error_words;

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table with borders, for people.
    Table,
    /// Comma-separated values with a header line; NULL is an empty field.
    Csv,
    /// One JSON array of objects.
    Json,
}

/// Prints one statement's result.
pub(super) fn print_result(out: &mut impl Write, format: Format, batches: &[RecordBatch]) -> anyhow::Result<()> {
    let Some(first) = batches.first() else { return Ok(()) };
    if first.num_columns() == 0 {
        return Ok(());
    }
    match format {
        Format::Table if is_explain(first) => print_explain(out, batches)?,
        Format::Table => writeln!(out, "{}", pretty_format_batches(batches)?)?,
        Format::Csv => {
            let mut writer = WriterBuilder::new().with_header(true).build(&mut *out);
            for batch in batches {
                writer.write(&flat(batch)?)?;
            }
        }
        Format::Json => {
            let mut writer = ArrayWriter::new(&mut *out);
            writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
            writer.finish()?;
            drop(writer);
            writeln!(out)?;
        }
    }
    Ok(())
}

/// The same batch with nested values as text, `[a, b]`: CSV has no lists.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = FormatOptions::default();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let nested = field.data_type().is_nested();
        let column = if nested { as_text(column, &options)? } else { Arc::clone(column) };
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn as_text(column: &ArrayRef, options: &FormatOptions<'_>) -> Result<ArrayRef, ArrowError> {
    let formatter = ArrayFormatter::try_new(column, options)?;
    let texts = (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
    Ok(Arc::new(texts.collect::<StringArray>()))
}

/// A plan is a text of many lines: a table's borders around it would only hide it.
fn is_explain(batch: &RecordBatch) -> bool {
    let schema = batch.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names == ["plan_type", "plan"]
}

fn print_explain(out: &mut impl Write, batches: &[RecordBatch]) -> anyhow::Result<()> {
    for batch in batches {
        let column = |index: usize| batch.column(index).as_any().downcast_ref::<StringArray>();
        let (Some(kinds), Some(plans)) = (column(0), column(1)) else { continue };
        for row in 0..plans.len() {
            writeln!(out, "{}\n{}", kinds.value(row), indented(plans.value(row)))?;
        }
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// An error as one line: what, whose fault, what to do.
pub(super) fn error_line(error: &anyhow::Error) -> String {
    let engine = error.chain().find_map(|cause| cause.downcast_ref::<DataFusionError>());
    let text = match engine {
        Some(engine) => error_words(engine),
        None => error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": "),
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, ListArray};
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;
    use crate::psi;

    fn batch() -> RecordBatch {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a,b"), None]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        RecordBatch::try_from_iter_with_nullable([("name", names, true), ("n", counts, true)]).unwrap()
    }

    fn printed(format: Format) -> String {
        let mut out = Vec::new();
        print_result(&mut out, format, &[batch()]).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_format_prints_values_and_nulls_as_its_readers_expect() {
        assert_eq!(printed(Format::Csv), "name,n\n\"a,b\",1\n,\n");
        assert_eq!(printed(Format::Json), "[{\"name\":\"a,b\",\"n\":1},{}]\n");
        assert!(printed(Format::Table).contains("| a,b  | 1 |"));
    }

    #[test]
    fn a_list_is_one_field_of_csv() {
        let sizes: ArrayRef =
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(7), Some(9)]), None]));
        let batch = RecordBatch::try_from_iter_with_nullable([("sizes", sizes, true)]).unwrap();
        let mut out = Vec::new();
        print_result(&mut out, Format::Csv, &[batch]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "sizes\n\"[7, 9]\"\n\"\"\n");
    }

    #[test]
    fn a_plan_is_printed_as_text_and_not_inside_a_table() {
        let kinds: ArrayRef = Arc::new(StringArray::from(vec!["physical_plan"]));
        let plans: ArrayRef = Arc::new(StringArray::from(vec!["One\n  Two"]));
        let batch = RecordBatch::try_from_iter([("plan_type", kinds), ("plan", plans)]).unwrap();
        let mut out = Vec::new();
        print_result(&mut out, Format::Table, &[batch]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "physical_plan\n  One\n    Two\n\n");
    }

    #[test]
    fn an_error_of_ours_is_printed_in_its_own_words_however_deep_it_lies() {
        let own = psi::Error::Refused("advertiser does not share 'x'".to_owned());
        let engine = DataFusionError::External(Box::new(own)).context("somewhere");
        assert_eq!(error_line(&anyhow::Error::new(engine).context("outer")), "advertiser does not share 'x'");
    }

    #[test]
    fn the_engines_words_lose_their_prefix_and_their_line_breaks() {
        let error = DataFusionError::Plan("table 'x' not found\n  did you mean y?".to_owned());
        assert_eq!(error_line(&error.into()), "table 'x' not found did you mean y?");
    }
}
