//! The tables of a party's configuration, opened as DataFusion listing tables.
//!
//! A `location` is a file, a folder, a glob or a list of those; the files are Parquet, CSV (with a
//! header; an empty field is NULL) or newline-delimited JSON, told apart by their extension. Opening
//! lists the files and reads their schemas, so that a missing file, one that is not what its name says,
//! and files that do not fit together are errors that name the file, at the start and not in the middle
//! of a query. All access goes through DataFusion's object stores: this machine's files, and `s3://BUCKET/…` ([`stores`](super::stores)).

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::object_store::{ObjectMeta, ObjectStore};
use futures::TryStreamExt;

use super::stores::store_of;
use crate::policy::Party;

/// What a table's files were when they were listed: the path, size, modification time and entity tag of
/// each. Two equal versions hold the same rows, as far as the store's own bookkeeping can tell; a file
/// that is rewritten in place within the clock's resolution, with the same size, is not noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TableVersion(Vec<FileVersion>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct FileVersion {
    path: String,
    size_bytes: u64,
    modified_ns: i64,
    entity_tag: Option<String>,
}

impl TableVersion {
    /// The number of files.
    pub fn files(&self) -> usize {
        self.0.len()
    }

    /// The size of all files, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.0.iter().map(|file| file.size_bytes).sum()
    }
}

/// A table whose files exist and fit together.
#[derive(Debug, Clone)]
pub struct OpenedTable {
    /// The table, for registering and scanning.
    pub provider: Arc<dyn TableProvider>,
    /// Its files as they were when it was opened.
    pub version: TableVersion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Format {
    Parquet,
    Csv,
    Json,
}

impl Format {
    fn of(path: &str) -> Option<(Format, &str)> {
        let (_, extension) = path.rsplit_once('.')?;
        let format = match extension.to_ascii_lowercase().as_str() {
            "parquet" => Format::Parquet,
            "csv" => Format::Csv,
            "json" | "ndjson" | "jsonl" => Format::Json,
            _ => return None,
        };
        Some((format, extension))
    }

    fn name(self) -> &'static str {
        match self {
            Format::Parquet => "Parquet",
            Format::Csv => "CSV",
            Format::Json => "newline-delimited JSON",
        }
    }

    fn open(self, session: &dyn Session) -> Arc<dyn FileFormat> {
        let options = session.default_table_options();
        match self {
            Format::Parquet => Arc::new(ParquetFormat::default().with_options(options.parquet)),
            Format::Csv => Arc::new(CsvFormat::default().with_options(options.csv).with_has_header(true)),
            Format::Json => Arc::new(JsonFormat::default().with_options(options.json)),
        }
    }
}

/// Opens the table `name`, whose files are at `locations` (files, folders, globs; relative ones are
/// relative to the working directory).
///
/// # Errors
/// No such file, no file of a known format, files of several formats, a file that is not of the format
/// that its extension says, files whose columns do not fit together; each names the table and the file.
pub async fn open_table(session: &dyn Session, name: &str, locations: &[String]) -> Result<OpenedTable> {
    let mut paths = Vec::with_capacity(locations.len());
    let mut files: BTreeMap<String, (Arc<dyn ObjectStore>, ObjectMeta, Format)> = BTreeMap::new();
    let mut extensions = Vec::new();
    for location in locations {
        let url = ListingTableUrl::parse(location)
            .map_err(|error| problem(name, format!("location '{location}' cannot be read as a path: {error}")))?;
        let store =
            store_of(session, &url).map_err(|reason| problem(name, format!("location '{location}' {reason}")))?;
        let found = list(session, &url, &store).await.map_err(|error| {
            problem(name, format!("location '{location}' cannot be listed: {}", error.strip_backtrace()))
        })?;
        if found.is_empty() {
            return Err(problem(
                name,
                format!(
                    "there is no file at '{location}': give a file, a folder, or a glob such as data/*.parquet that exists"
                ),
            ));
        }
        let mut known = 0;
        for meta in found {
            let path = meta.location.to_string();
            let Some((format, extension)) = Format::of(&path) else { continue };
            known += 1;
            extensions.push(extension.to_owned());
            files.insert(path, (Arc::clone(&store), meta, format));
        }
        if known == 0 {
            return Err(problem(
                name,
                format!(
                    "no file at '{location}' ends with .parquet, .csv, .json, .ndjson or .jsonl: the ending says how it is read"
                ),
            ));
        }
        paths.push(url);
    }
    let Some((_, (_, _, format))) = files.first_key_value() else {
        return Err(problem(name, "it has no location".to_owned()));
    };
    let format = *format;
    if let Some((path, (_, _, other))) = files.iter().find(|(_, (_, _, other))| *other != format) {
        return Err(problem(
            name,
            format!("it has both {} and {} files ('{path}'): a table is of one format", format.name(), other.name()),
        ));
    }
    extensions.sort();
    extensions.dedup();
    // Listing filters by one ending; with several spellings (.json, .jsonl) any will do, as long as
    // nothing else lies there.
    let ending = match extensions.as_slice() {
        [one] => format!(".{one}"),
        several => {
            return Err(problem(name, format!("its files end with {}: use one ending", several.join(", "))));
        }
    };
    let reader = format.open(session);
    let schema = schema_of_all(session, name, format, &reader, files.values()).await?;
    let mut options = ListingOptions::new(reader).with_file_extension(ending);
    let mut version: Vec<FileVersion> = files
        .into_iter()
        .map(|(path, (_, meta, _))| FileVersion {
            path,
            size_bytes: meta.size,
            modified_ns: meta.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX),
            entity_tag: meta.e_tag,
        })
        .collect();
    version.sort();
    if let [url] = paths.as_slice()
        && url.is_collection()
    {
        // A folder of folders named key=value: the keys are columns.
        let partitions =
            options.infer_partitions(session, url).await.map_err(|error| problem(name, error.strip_backtrace()))?;
        options = options.with_table_partition_cols(
            partitions.into_iter().map(|key| (key, datafusion::arrow::datatypes::DataType::Utf8)).collect(),
        );
    }
    let config = ListingTableConfig::new_with_multi_paths(paths).with_listing_options(options).with_schema(schema);
    let provider = ListingTable::try_new(config).map_err(|error| problem(name, error.strip_backtrace()))?;
    Ok(OpenedTable { provider: Arc::new(provider), version: TableVersion(version) })
}

async fn list(session: &dyn Session, url: &ListingTableUrl, store: &Arc<dyn ObjectStore>) -> Result<Vec<ObjectMeta>> {
    url.list_all_files(session, store.as_ref(), "").await?.try_collect().await
}

/// The schema of all files: each is read by itself, so that an error can name the file.
async fn schema_of_all<'a>(
    session: &dyn Session,
    name: &str,
    format: Format,
    reader: &Arc<dyn FileFormat>,
    files: impl Iterator<Item = &'a (Arc<dyn ObjectStore>, ObjectMeta, Format)>,
) -> Result<SchemaRef> {
    let mut merged: Option<Schema> = None;
    for (store, meta, _) in files {
        if meta.size == 0 && format != Format::Parquet {
            continue;
        }
        let path = &meta.location;
        let schema = reader.infer_schema(session, store, std::slice::from_ref(meta)).await.map_err(|error| {
            problem(name, format!("'/{path}' is not a readable {} file: {}", format.name(), error.strip_backtrace()))
        })?;
        let schema = Schema::new(schema.fields().clone());
        merged = Some(match merged {
            None => schema,
            Some(before) => Schema::try_merge([before, schema]).map_err(|error| {
                problem(name, format!("the columns of '/{path}' do not fit those of the files before it: {error}"))
            })?,
        });
    }
    match merged {
        Some(schema) if !schema.fields().is_empty() => Ok(Arc::new(schema)),
        _ => Err(problem(name, "its files have no columns".to_owned())),
    }
}

fn problem(table: &str, reason: String) -> DataFusionError {
    DataFusionError::Configuration(format!("table '{table}': {reason}"))
}

/// What the engine runs in for one party: within the memory that its policy allows, and with today's files. A list of
/// files that is kept would hide new ones, and rewritten ones' lengths: a version is what the store says now.
///
/// # Errors
/// If the engine cannot be set up.
pub(crate) fn runtime(party: &Party) -> Result<Arc<RuntimeEnv>> {
    let memory = usize::try_from(party.limits.memory_mb.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
    RuntimeEnvBuilder::new().with_object_list_cache_limit(0).with_memory_limit(memory, 1.0).build_arc()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::SessionContext;
    use std::path::Path;

    async fn write(folder: &Path, file: &str, sql: &str) -> String {
        let path = folder.join(file).to_str().unwrap().to_owned();
        let context = SessionContext::new();
        context.sql(&format!("COPY ({sql}) TO '{path}'")).await.unwrap().collect().await.unwrap();
        path
    }

    async fn rows(opened: OpenedTable) -> String {
        let context = SessionContext::new();
        context.register_table("t", opened.provider).unwrap();
        let batches = context.sql("SELECT * FROM t ORDER BY 1").await.unwrap().collect().await.unwrap();
        datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
    }

    async fn open(locations: &[&str]) -> Result<OpenedTable> {
        let locations: Vec<String> = locations.iter().map(|text| (*text).to_owned()).collect();
        open_table(&SessionContext::new().state(), "sales", &locations).await
    }

    #[tokio::test]
    async fn a_file_a_folder_a_glob_and_a_list_are_all_locations() {
        let folder = tempfile::tempdir().unwrap();
        let a = write(folder.path(), "a.parquet", "SELECT 1 AS x, 'p' AS y").await;
        let b = write(folder.path(), "b.parquet", "SELECT 2 AS x, 'q' AS y").await;
        let whole = folder.path().to_str().unwrap().to_owned();
        let glob = format!("{whole}/*.parquet");
        for (locations, files) in [
            (vec![a.as_str()], 1),
            (vec![whole.as_str()], 2),
            (vec![glob.as_str()], 2),
            (vec![a.as_str(), b.as_str()], 2),
        ] {
            let opened = open(&locations).await.unwrap();
            assert_eq!(opened.version.files(), files, "{locations:?}");
            let text = rows(opened).await;
            assert!(text.contains("| 1 | p |"), "{text}");
            assert_eq!(text.contains("| 2 | q |"), files == 2, "{text}");
        }
    }

    #[tokio::test]
    async fn folders_named_key_value_are_columns() {
        let folder = tempfile::tempdir().unwrap();
        for part in ["toys", "books"] {
            std::fs::create_dir_all(folder.path().join(format!("category={part}"))).unwrap();
            write(folder.path(), &format!("category={part}/a.parquet"), "SELECT 1 AS x").await;
        }
        let text = rows(open(&[folder.path().to_str().unwrap()]).await.unwrap()).await;
        assert!(text.contains("category") && text.contains("toys") && text.contains("books"), "{text}");
    }

    #[tokio::test]
    async fn csv_and_json_are_read_with_their_types_and_an_empty_field_is_null() {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("c.csv");
        std::fs::write(&csv, "x,y\n1,a\n2,\n").unwrap();
        let opened = open(&[csv.to_str().unwrap()]).await.unwrap();
        let context = SessionContext::new();
        context.register_table("t", opened.provider).unwrap();
        let count = context.sql("SELECT x FROM t WHERE y IS NULL").await.unwrap().collect().await.unwrap();
        assert!(datafusion::arrow::util::pretty::pretty_format_batches(&count).unwrap().to_string().contains("| 2 |"));
        let json = folder.path().join("j.ndjson");
        std::fs::write(&json, "{\"x\":1,\"y\":\"a\"}\n{\"x\":2}\n").unwrap();
        let text = rows(open(&[json.to_str().unwrap()]).await.unwrap()).await;
        assert!(text.contains("| 2 |   |"), "{text}");
    }

    #[tokio::test]
    async fn a_version_changes_with_its_files_and_only_with_them() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.parquet", "SELECT 1 AS x").await;
        let whole = folder.path().to_str().unwrap().to_owned();
        let first = open(&[&whole]).await.unwrap().version;
        assert_eq!(open(&[&whole]).await.unwrap().version, first);
        write(folder.path(), "b.parquet", "SELECT 2 AS x").await;
        let second = open(&[&whole]).await.unwrap().version;
        assert_ne!(second, first);
        assert!(second.size_bytes() > first.size_bytes());
    }

    #[tokio::test]
    async fn every_bad_location_is_an_error_that_names_table_and_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write_text = |file: &str, text: &str| {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), text).unwrap();
            root.join(file).to_str().unwrap().to_owned()
        };
        let missing = root.join("missing.parquet").to_str().unwrap().to_owned();
        let not_parquet = write_text("fake.parquet", "this is text");
        let empty = write_text("empty.parquet", "");
        let unknown = write_text("notes.txt", "text");
        let empty_glob = root.join("*.csv").to_str().unwrap().to_owned();
        write_text("mixed/a.csv", "x\n1\n");
        write_text("mixed/b.json", "{\"x\":1}\n");
        let mixed = root.join("mixed").to_str().unwrap().to_owned();
        std::fs::create_dir_all(root.join("clash")).unwrap();
        write(root, "clash/a.parquet", "SELECT 1 AS x").await;
        write(root, "clash/b.parquet", "SELECT 'one' AS x").await;
        let clash = root.join("clash").to_str().unwrap().to_owned();
        for (location, words) in [
            (&missing, "no file at"),
            (&not_parquet, "fake.parquet' is not a readable Parquet file"),
            (&empty, "empty.parquet' is not a readable Parquet file"),
            (&unknown, "ends with .parquet"),
            (&empty_glob, "no file at"),
            (&mixed, "both CSV and newline-delimited JSON"),
            (&clash, "b.parquet' do not fit"),
        ] {
            let error = open(&[location]).await.unwrap_err().to_string();
            assert!(error.contains("table 'sales'") && error.contains(words), "{location}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(open(&[]).await.unwrap_err().to_string().contains("no location"));
    }
}
