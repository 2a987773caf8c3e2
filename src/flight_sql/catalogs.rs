//! Catalogs, schemas, tables, keys: what tools list.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::sql::{CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::SchemaProvider;
use datafusion::datasource::TableType;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;
use tonic::Status;

use super::error::arrow;
use super::output::plain_schema;
use crate::sql::PeerSchema;

/// The names by which tools filter.
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

fn kind(kind: TableType) -> &'static str {
    match kind {
        TableType::View => VIEW,
        TableType::Base | TableType::Temporary => TABLE,
    }
}

/// The catalogs.
pub(super) fn catalogs(context: &SessionContext) -> Result<RecordBatch, Status> {
    let mut builder = CommandGetCatalogs {}.into_builder();
    for name in context.catalog_names() {
        builder.append(name);
    }
    builder.build().map_err(arrow)
}

/// The kinds of tables.
pub(super) fn table_types() -> Result<RecordBatch, Status> {
    let mut builder = CommandGetTableTypes {}.into_builder();
    builder.append(TABLE);
    builder.append(VIEW);
    builder.build().map_err(arrow)
}

/// The schemas: this party's own, one of each peer, `psi`.
pub(super) fn schemas(context: &SessionContext, wanted: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let mut builder = wanted.into_builder();
    for (catalog, schema, _) in all_schemas(context) {
        builder.append(catalog, schema);
    }
    builder.build().map_err(arrow)
}

fn all_schemas(context: &SessionContext) -> Vec<(String, String, Arc<dyn SchemaProvider>)> {
    let mut found = Vec::new();
    for catalog in context.catalog_names() {
        let Some(provider) = context.catalog(&catalog) else { continue };
        for schema in provider.schema_names() {
            if let Some(tables) = provider.schema(&schema) {
                found.push((catalog.clone(), schema, tables));
            }
        }
    }
    found
}

/// The tables. A peer that has not said yet what it shares is asked, for `patience` at most: what it answers are
/// the terms that planning a query would ask for, and nothing of it depends on data.
pub(super) async fn tables(
    context: &SessionContext,
    wanted: CommandGetTables,
    patience: Duration,
) -> Result<RecordBatch, Status> {
    let schemas: Vec<_> = all_schemas(context)
        .into_iter()
        .filter(|(catalog, schema, _)| {
            wanted.catalog.as_ref().is_none_or(|wanted| wanted == catalog)
                && wanted.db_schema_filter_pattern.as_ref().is_none_or(|pattern| is_like(schema, pattern))
        })
        .collect();
    let mut asked: FuturesUnordered<_> = schemas
        .iter()
        .filter(|(_, _, tables)| peer(tables).is_some() && tables.table_names().is_empty())
        .map(|(_, schema, tables)| async move { (schema, timeout(patience, tables.table("")).await.is_err()) })
        .collect();
    while let Some((peer, late)) = asked.next().await {
        if late {
            tracing::info!(peer, "a peer did not say in time what it shares; its tables are not listed");
        }
    }
    drop(asked);
    let (include, pattern) = (wanted.include_schema, wanted.table_name_filter_pattern.clone());
    let mut builder = wanted.into_builder();
    for (catalog, schema, tables) in schemas {
        for name in tables.table_names() {
            if pattern.as_ref().is_some_and(|pattern| !is_like(&name, pattern)) {
                continue;
            }
            let (kind, columns) = if include {
                // One that went away meanwhile, or whose peer did, is not there.
                match timeout(patience, tables.table(&name)).await {
                    Ok(Ok(Some(table))) => (kind(table.table_type()), plain_schema(&table.schema())),
                    _ => continue,
                }
            } else {
                match tables.table_type(&name).await {
                    Ok(Some(found)) => (kind(found), Arc::new(Schema::empty())),
                    _ => continue,
                }
            };
            builder.append(&catalog, &schema, &name, kind, &columns).map_err(arrow)?;
        }
    }
    builder.build().map_err(arrow)
}

fn peer(schema: &Arc<dyn SchemaProvider>) -> Option<&PeerSchema> {
    let any: &dyn std::any::Any = schema.as_ref();
    any.downcast_ref::<PeerSchema>()
}

/// SQL's LIKE with `%` and `_`, as Flight SQL's filters have it.
fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut t, mut p) = (0, 0);
    // Where to go on after the last %: one character further each time.
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                back = Some((t, p + 1));
                p += 1;
            }
            Some(c) if *c == '_' || *c == text[t] => {
                (t, p) = (t + 1, p + 1);
            }
            _ => match back {
                Some((from, after)) => {
                    back = Some((from + 1, after));
                    (t, p) = (from + 1, after);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '%')
}

/// No keys: the schema that Flight SQL gives their listing.
pub(super) fn no_primary_keys() -> RecordBatch {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let fields = vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ];
    RecordBatch::new_empty(Arc::new(Schema::new(fields)))
}

/// No foreign keys, in either direction.
pub(super) fn no_foreign_keys() -> RecordBatch {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let fields = vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ];
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    RecordBatch::new_empty(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_like() {
        for (text, pattern, due) in [
            ("purchases", "%", true),
            ("purchases", "pur%", true),
            ("purchases", "%as_s", true),
            ("purchases", "p_r%s%", true),
            ("purchases", "PUR%", false),
            ("purchases", "purchase", false),
            ("purchases", "purchases_", false),
            ("aab", "%ab", true),
            ("", "%%", true),
            ("", "_", false),
            ("ä", "_", true),
        ] {
            assert_eq!(is_like(text, pattern), due, "{text} {pattern}");
        }
    }
}
