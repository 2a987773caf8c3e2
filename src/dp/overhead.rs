//! What a number of dummies means: for choosing a policy.

use super::hypergeometric::{size_noise_95, size_noise_sd};
use std::fmt;

/// Bytes per position of the one oblivious transfer and its first aggregate's payload, about.
const TRANSFER_BYTES: u128 = 24;

/// Bytes of an encoded group element.
const ELEMENT_BYTES: u128 = 32;

/// The cost of τ dummies per column for one query: rows, bytes, blur. Printable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overhead {
    tau: u64,
    columns: u32,
    rows: u64,
}

impl Overhead {
    /// τ dummies per party and column, `columns` identifier columns, `rows` persons in the larger
    /// table.
    pub fn new(tau: u64, columns: u32, rows: u64) -> Self {
        Self { tau, columns, rows }
    }

    /// Dummy persons that each party adds to its table: K·τ.
    pub fn dummies_per_party(&self) -> u64 {
        self.tau.saturating_mul(u64::from(self.columns))
    }

    /// Dummy persons of a party over the persons of the larger table: 0.1 is 10 % more work.
    /// Infinite for an empty table.
    pub fn share_of_rows(&self) -> f64 {
        self.dummies_per_party() as f64 / self.rows as f64
    }

    /// By how much a column's size is off at most in 95 % of queries, in persons, its expected
    /// τ/2 taken away.
    pub fn size_noise_95(&self) -> f64 {
        size_noise_95(self.tau)
    }

    /// Standard deviation of the sum of all columns' sizes, in persons.
    pub fn total_noise_sd(&self) -> f64 {
        size_noise_sd(self.tau) * f64::from(self.columns).sqrt()
    }

    /// Bytes that the dummies of both parties add to one query on the wire, at most and about.
    ///
    /// Per dummy person, with tags of t bytes: its K blinded elements and the tag of its first
    /// column; for each further column, should it still be unmatched, an element and a tag; and
    /// one transfer for one of the two tables: 2·Kτ·(32·(2K − 1) + t·K) + Kτ·24.
    pub fn bytes_per_query_max(&self) -> u128 {
        let columns = u128::from(self.columns);
        let dummies = u128::from(self.dummies_per_party());
        let both = u128::from(self.rows).saturating_add(dummies).saturating_mul(2);
        // ⌈(49 + 2·bitlen(n_A + n_B) + bitlen(K)) / 8⌉
        let bit_length = |n: u128| 128 - n.leading_zeros();
        let tag_bytes = u128::from((49 + 2 * bit_length(both) + bit_length(columns)).div_ceil(8));
        let matching = ELEMENT_BYTES * (2 * columns).saturating_sub(1) + tag_bytes * columns;
        dummies.saturating_mul(2).saturating_mul(matching).saturating_add(dummies.saturating_mul(TRANSFER_BYTES))
    }
}

impl fmt::Display for Overhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.share_of_rows();
        write!(f, "dummy persons per party: {} ({} columns x {})", self.dummies_per_party(), self.columns, self.tau)?;
        if share.is_finite() {
            write!(f, ", {} of {} persons", percent(share), self.rows)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "size noise per column: +/- {} persons at 95 %, after {} expected dummies are taken away",
            self.size_noise_95(),
            self.tau as f64 / 2.0
        )?;
        write!(f, "bytes per query, both parties together: {} more", byte_count(self.bytes_per_query_max()))
    }
}

fn percent(share: f64) -> String {
    let hundredths = share * 100.0;
    if hundredths >= 10.0 || hundredths == 0.0 {
        format!("{hundredths:.0} %")
    } else if hundredths >= 0.01 {
        format!("{hundredths:.2} %")
    } else {
        "under 0.01 %".to_owned()
    }
}

fn byte_count(bytes: u128) -> String {
    let bytes = bytes as f64;
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes / size),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_a_policy_is_chosen_by() {
        let overhead = Overhead::new(864, 3, 1_000_000);
        assert_eq!(overhead.dummies_per_party(), 2592);
        assert_eq!(overhead.size_noise_95(), 20.0);
        // 2·2592·(32·5 + 12·3) + 2592·24
        assert_eq!(overhead.bytes_per_query_max(), 1_078_272);
        assert_eq!(
            overhead.to_string(),
            "dummy persons per party: 2592 (3 columns x 864), 0.26 % of 1000000 persons\n\
             size noise per column: +/- 20 persons at 95 %, after 432 expected dummies are taken away\n\
             bytes per query, both parties together: 1.1 MB more"
        );
    }

    #[test]
    fn odd_shapes_print_without_nonsense() {
        let exact = Overhead::new(0, 1, 10).to_string();
        assert!(exact.contains("0 %") && exact.contains("0 B"), "{exact}");
        let empty = Overhead::new(5, 1, 0).to_string();
        assert!(!empty.contains("inf") && !empty.contains("NaN"), "{empty}");
        let tiny = Overhead::new(1, 1, u64::MAX).to_string();
        assert!(tiny.contains("under 0.01 %"), "{tiny}");
        let most = Overhead::new(u64::MAX, u32::MAX, u64::MAX);
        assert_eq!(most.dummies_per_party(), u64::MAX);
        assert!(most.bytes_per_query_max() > 0);
        assert!((Overhead::new(100, 4, 1).total_noise_sd() / (2.0 * size_noise_sd(100)) - 1.0).abs() < 1e-12);
    }
}
