//! Shared tables on the wire: Arrow schemas with the terms as JSON in their metadata.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{FlightDescriptor, FlightInfo, SchemaAsIpc, SchemaResult};

use crate::psi::{Error, ShareTerms};

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
    Ok(SharedTable { schema: Arc::new(Schema::new(schema.fields().clone())), terms })
}
