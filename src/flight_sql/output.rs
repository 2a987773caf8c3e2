//! Results as Flight's messages, in types that every client reads.

use std::sync::Arc;

use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use tonic::Status;

use super::error::arrow;

/// The type that stands for another on the wire: view types and dictionaries are the engine's own business, and
/// several clients (Java's, older ones of Go and C++) do not know the first and see another schema for the second.
fn plain(kind: &DataType) -> DataType {
    let field =
        |field: &FieldRef| -> FieldRef { Arc::new(field.as_ref().clone().with_data_type(plain(field.data_type()))) };
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => plain(value),
        DataType::List(item) | DataType::ListView(item) => DataType::List(field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

/// The schema as it goes on the wire.
pub(super) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_data_type(plain(field.data_type()))).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// A batch in the types of [`plain_schema`].
pub(super) fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                cast(column, field.data_type())
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// The messages of a result: its schema first, also where it has no rows.
pub(super) fn messages(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
) -> BoxStream<'static, Result<FlightData, Status>> {
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .build(batches.map(|batch| batch.map_err(FlightError::from)))
        .map(|message| message.map_err(arrow))
        .boxed()
}

/// The messages of one batch that is there already.
pub(super) fn of_batch(batch: RecordBatch) -> BoxStream<'static, Result<FlightData, Status>> {
    messages(batch.schema(), stream::iter([Ok(batch)]))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{
        ArrayRef, DictionaryArray, Int64Array, ListBuilder, StringViewArray, StringViewBuilder,
    };
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn the_engines_own_types_are_cast_and_the_rest_is_not_touched() {
        let view: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None]));
        let dictionary: ArrayRef = Arc::new(vec!["x", "y"].into_iter().collect::<DictionaryArray<Int32Type>>());
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        lists.append_value([Some("p"), None]);
        lists.append_null();
        let list: ArrayRef = Arc::new(lists.finish());
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("view", view, true),
            ("dictionary", dictionary, true),
            ("number", Arc::clone(&number), false),
            ("list", list, true),
        ])
        .unwrap();
        let schema = plain_schema(&batch.schema());
        let kinds: Vec<_> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
        assert_eq!(kinds[..3], ["Utf8", "Utf8", "Int64"]);
        assert!(kinds[3].contains("Utf8") && !kinds[3].contains("View"), "{kinds:?}");
        let plain = plain_batch(&batch, &schema).unwrap();
        assert_eq!(plain.num_rows(), 2);
        assert!(Arc::ptr_eq(plain.column(2), &number));
        assert!(plain.column(0).is_null(1) && plain.column(3).is_null(1));
    }

    #[tokio::test]
    async fn a_result_without_rows_still_has_its_schema() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let messages: Vec<_> = of_batch(RecordBatch::new_empty(schema)).collect().await;
        assert!(!messages.is_empty() && messages.iter().all(Result::is_ok));
        assert!(!messages[0].as_ref().unwrap().data_header.is_empty());
    }
}
