//! Shared tables on the wire: Arrow schemas with the terms as JSON in their metadata.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{FlightDescriptor, FlightInfo, SchemaAsIpc, SchemaResult};

use crate::psi::{Error, ShareTerms, is_column};

use super::super::source::SharedTable;
use super::super::wire::share_path;

/// The metadata key of a shared table's schema.
const TERMS_KEY: &str = "psi.share";

/// The most shares and columns that this side reads from a peer.
pub(super) const SHARES_MAX: usize = 1024;
const COLUMNS_MAX: usize = 1024;

/// The most bytes of all descriptions of shares together: far above what hundreds of wide shares take.
pub(super) const LIST_BYTES_MAX: usize = 16 << 20;

fn schema(shared: &SharedTable) -> Result<Schema, Error> {
    let terms = serde_json::to_string(&shared.terms).map_err(Error::internal)?;
    Ok(Schema::new_with_metadata(shared.schema.fields().clone(), [(TERMS_KEY.to_owned(), terms)].into()))
}

/// One entry of the list.
pub(super) fn flight_info(shared: &SharedTable) -> Result<FlightInfo, Error> {
    let descriptor = FlightDescriptor::new_path(share_path(&shared.terms.table));
    Ok(FlightInfo::new().try_with_schema(&schema(shared)?).map_err(Error::internal)?.with_descriptor(descriptor))
}

/// The answer about one table.
pub(super) fn schema_result(shared: &SharedTable) -> Result<SchemaResult, Error> {
    SchemaAsIpc::new(&schema(shared)?, &IpcWriteOptions::default()).try_into().map_err(Error::internal)
}

/// Reads what a peer published.
pub(super) fn shared_table(
    peer: &str,
    read: impl FnOnce() -> Result<Schema, ArrowError>,
) -> Result<SharedTable, Error> {
    let unreadable = |reason: &str| {
        Error::Incompatible(format!(
            "{peer} publishes a share that this version of datafusion-psi cannot read: {reason}"
        ))
    };
    // Arrow panics where a flatbuffer names a type that it does not know.
    let schema = catch_unwind(AssertUnwindSafe(read))
        .map_err(|_| unreadable("its schema uses a type unknown here"))?
        .map_err(|_| unreadable("its schema is no Arrow schema"))?;
    if schema.fields().len() > COLUMNS_MAX {
        return Err(unreadable(&format!("it has more than {COLUMNS_MAX} columns")));
    }
    let terms = schema.metadata().get(TERMS_KEY).ok_or_else(|| unreadable("it carries no terms"))?;
    let terms: ShareTerms =
        serde_json::from_str(terms).map_err(|error| unreadable(&super::super::wire::sanitise(&error.to_string())))?;
    terms.check_published().map_err(|reason| unreadable(&reason))?;
    if !schema.fields().iter().all(|field| is_column(field.name())) {
        return Err(unreadable("a column has a name that is none"));
    }
    Ok(SharedTable { schema: Arc::new(Schema::new(schema.fields().clone())), terms })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::psi::{FilteredRows, OutputsTerms, SizesTerms};

    fn terms() -> ShareTerms {
        ShareTerms {
            table: "stays".to_owned(),
            identifiers: Vec::new(),
            aggregates: Vec::new(),
            filter_on: Vec::new(),
            requester_values: None,
            minimum_matched: 0,
            filtered_rows: FilteredRows::Hide,
            sizes: SizesTerms::Exact { queries: 1 },
            outputs: OutputsTerms::Exact,
            group_by: Vec::new(),
            max_labels: 1,
            max_parts: 1,
            period: "forever".to_owned(),
            approval: false,
        }
    }

    fn read(column: Field, terms: &ShareTerms) -> Result<SharedTable, Error> {
        let written = schema(&SharedTable { schema: Arc::new(Schema::new(vec![column])), terms: terms.clone() })?;
        shared_table("insurer", || Ok(written))
    }

    #[test]
    fn names_that_steer_a_terminal_and_numbers_that_overflow_do_not_come_in() {
        let column = |name: &str| Field::new(name, DataType::Int64, true);
        assert_eq!(read(column("nights"), &terms()).unwrap().terms, terms());
        // Arrow escapes the names of a type's parts.
        let part = DataType::Struct(vec![column("a\u{202e}b")].into());
        assert!(!part.to_string().contains('\u{202e}') && read(Field::new("a", part, true), &terms()).is_ok());
        let wide = ShareTerms { max_parts: u32::MAX, ..terms() };
        let named = ShareTerms { table: "stays\u{1b}[2J".to_owned(), ..terms() };
        for (found, reason) in [
            (read(column("a\u{1b}[2Jb"), &terms()), "a column has a name"),
            (read(column("a"), &wide), "'max_parts' is out of range"),
            (read(column("a"), &named), "its table's name is none"),
        ] {
            let error = found.unwrap_err();
            assert!(matches!(error, Error::Incompatible(_)), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(reason) && !text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
        }
    }
}
