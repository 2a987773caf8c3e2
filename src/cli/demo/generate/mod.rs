//! Invented data for the demo's stories: the same for the same seed and number of rows, on every machine.
//!
//! A person has the same set of identifiers in all rows of a *shared* table: who gave a shop an address and a phone
//! number gives both with every purchase. There, the persons of the protocol and the rows that a plain join finds are
//! the same, and plain SQL over both tables is the truth to compare with. The asking side has no such order: its rows
//! name whatever was known at that moment. Nobody shares an identifier with anybody else.

mod advertising;
mod banks;
mod health;
mod people;

use std::path::Path;

use anyhow::Context;
use datafusion::arrow::array::{ArrayRef, Date32Array, Decimal128Array, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use datafusion::parquet::arrow::ArrowWriter;

pub(super) use advertising::advertising;
pub(super) use banks::banks;
pub(super) use health::health;
pub(super) use people::Draw;

/// The most rows of a main table: beyond, the invented people run out of days to be born on.
pub(super) const ROWS_MAX: u64 = 1_000_000;
/// The fewest rows of a main table: below, some question would be about nobody.
pub(super) const ROWS_MIN: u64 = 500;

/// A table of one party.
pub(super) struct Generated {
    pub(super) party: &'static str,
    pub(super) table: &'static str,
    pub(super) rows: RecordBatch,
}

impl Generated {
    fn new<const N: usize>(
        party: &'static str,
        table: &'static str,
        columns: [(&'static str, ArrayRef); N],
    ) -> anyhow::Result<Self> {
        let columns = columns.into_iter().map(|(name, column)| (name, column, true));
        Ok(Generated { party, table, rows: RecordBatch::try_from_iter_with_nullable(columns)? })
    }
}

/// Days from 1970-01-01 to 2026-01-01, the first day of the stories.
const YEAR_2026: i32 = 20_454;

fn dates(days: impl IntoIterator<Item = i32>) -> ArrayRef {
    std::sync::Arc::new(Date32Array::from_iter_values(days))
}

/// Decimals of `scale` places, from their units.
fn decimals(units: impl IntoIterator<Item = i64>, precision: u8, scale: i8) -> anyhow::Result<ArrayRef> {
    let values = Decimal128Array::from_iter_values(units.into_iter().map(i128::from));
    Ok(std::sync::Arc::new(values.with_data_type(DataType::Decimal128(precision, scale))))
}

/// Writes a table as two Parquet files of a folder.
pub(super) fn write_parquet(folder: &Path, rows: &RecordBatch) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be created", folder.display()))?;
    let half = rows.num_rows().div_ceil(2);
    let parts = [rows.slice(0, half), rows.slice(half, rows.num_rows() - half)];
    for (number, part) in parts.iter().enumerate() {
        let path = folder.join(format!("part-{number}.parquet"));
        let file = std::fs::File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
        let mut writer = ArrowWriter::try_new(file, rows.schema(), None)?;
        writer.write(part)?;
        writer.close().with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use datafusion::arrow::array::{Array, StringArray};

    use super::people::Draw;
    use super::*;

    const SHARED: [(&str, &str, &[&str]); 5] = [
        ("advertiser", "purchases", &["email", "phone", "device"]),
        ("insurer", "hospital_stays", &["insurance_number", "surname"]),
        ("eastbank", "flagged_accounts", &["tax_number", "surname"]),
        ("eastbank", "transfers", &["tax_number"]),
        ("westbank", "flagged", &["tax_number"]),
    ];

    fn all(seed: u64) -> Vec<Generated> {
        let stories = [advertising, health, banks];
        stories.iter().flat_map(|story| story(&mut Draw::new(seed), 2000).unwrap()).collect()
    }

    /// A cell in one spelling, whichever it came in.
    fn plain(table: &RecordBatch, name: &str, row: usize) -> Option<String> {
        let column = table.column_by_name(name).unwrap().as_any().downcast_ref::<StringArray>().unwrap();
        column.is_valid(row).then(|| {
            let text = column.value(row);
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            if name == "phone" { digits[digits.len() - 10..].to_owned() } else { text.trim().to_lowercase() }
        })
    }

    #[test]
    fn equal_seeds_give_equal_tables_and_other_seeds_others() {
        let (one, same, other) = (all(1), all(1), all(2));
        assert!(one.iter().zip(&same).all(|(a, b)| a.rows == b.rows));
        assert!(one.iter().zip(&other).all(|(a, b)| a.rows != b.rows));
    }

    #[test]
    fn rows_of_a_shared_table_that_share_an_identifier_share_all_of_them() {
        for (party, table, identifiers) in SHARED {
            let tables = all(3);
            let rows = &tables.iter().find(|found| (found.party, found.table) == (party, table)).unwrap().rows;
            let mut profiles: HashMap<(usize, String), Vec<Option<String>>> = HashMap::new();
            let mut repeated = 0;
            for row in 0..rows.num_rows() {
                let profile: Vec<_> = identifiers.iter().map(|column| plain(rows, column, row)).collect();
                // A surname alone names nobody.
                for (rank, column) in identifiers.iter().enumerate().filter(|(_, column)| **column != "surname") {
                    if let Some(identifier) = &profile[rank] {
                        let known = profiles.entry((rank, identifier.clone())).or_insert_with(|| profile.clone());
                        assert_eq!(*known, profile, "{table}, {column}");
                        repeated += usize::from(profiles.len() < row);
                    }
                }
            }
            assert!(repeated > 0, "{table} has several rows of one person");
        }
    }

    #[test]
    fn a_written_table_lies_in_two_files_of_the_same_columns() {
        let folder = tempfile::tempdir().unwrap();
        let table = &all(4)[0];
        write_parquet(folder.path(), &table.rows).unwrap();
        let rows: i64 = ["part-0.parquet", "part-1.parquet"]
            .map(|name| {
                let file = std::fs::File::open(folder.path().join(name)).unwrap();
                let reader =
                    datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
                assert_eq!(reader.schema().fields(), table.rows.schema().fields());
                reader.metadata().file_metadata().num_rows()
            })
            .iter()
            .sum();
        assert_eq!(rows as usize, table.rows.num_rows());
    }
}
