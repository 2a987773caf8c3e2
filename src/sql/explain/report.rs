//! What a run has counted, and how EXPLAIN ANALYZE shows it.

use std::fmt;

use super::MARGIN;
use super::numbers::{bytes, count, measured, plural, seconds};
use crate::dp::size_noise_95;
use crate::psi::Phase;

/// What a run has counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunReport {
    /// Seconds until the local side was collected and prepared.
    pub local_seconds: f64,
    /// Rows of the local side.
    pub rows: u64,
    /// Persons that they are.
    pub persons: u64,
    /// The groups of this side's own that they are in; 1 where it has none.
    pub parts: usize,
    /// Identifiers that could not be normalised.
    pub unnormalised: u64,
    /// Identifiers that their person does not go by: another's already, or its second.
    pub dropped_identifiers: u64,
    /// One line per phase.
    pub phases: Vec<PhaseLine>,
    /// The outcome, if the run has come to it.
    pub outcome: Option<Outcome>,
    /// Per aggregate of the answer, how far its noise may take it.
    pub errors: Vec<ColumnErrors>,
    /// Rows of the answer that show NULL because their group is under the share's minimum.
    pub hidden: u64,
}

/// How far noise may take the values of one column of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnErrors {
    /// The column.
    pub name: String,
    /// Its ± at 95 %, row by row; `None` where nothing is shown or nothing can be said.
    pub rows: Vec<Option<f64>>,
}

impl ColumnErrors {
    /// The ± of all rows, if it is the same in each.
    pub fn common(&self) -> Option<f64> {
        let first = *self.rows.first()?;
        if self.rows.iter().all(|row| *row == first) { first } else { None }
    }
}

/// One phase that a run has closed.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseLine {
    /// The phase.
    pub phase: Phase,
    /// Wall seconds.
    pub seconds: f64,
    /// Rows of both directions.
    pub rows: u64,
    /// Bytes to the peer, and from it.
    pub bytes: (u64, u64),
}

/// What the run ended with, beside the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Noisy numbers of matches per identifier, one for each of this side's groups, dummies included.
    pub sizes: Vec<(String, Vec<u64>)>,
    /// The session's dummies per identifier, group and side.
    pub dummies: u64,
    /// The number of the peer's entries.
    pub persons_there: u64,
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{MARGIN}local:    {}, {} rows, {} persons{}, {} identifiers not normalised, {} dropped as repeated",
            seconds(self.local_seconds),
            count(self.rows),
            count(self.persons),
            if self.parts > 1 { format!(" in {} groups", count(self.parts as u64)) } else { String::new() },
            count(self.unnormalised),
            count(self.dropped_identifiers)
        )?;
        for line in &self.phases {
            write!(
                f,
                "{MARGIN}{:<15} {:>9}, {:>12} rows, {:>9} up, {:>9} down",
                line.phase.to_string(),
                seconds(line.seconds),
                count(line.rows),
                bytes(line.bytes.0),
                bytes(line.bytes.1)
            )?;
        }
        let total = |pick: fn(&PhaseLine) -> u64| bytes(self.phases.iter().map(pick).sum());
        write!(
            f,
            "{MARGIN}all:      {}, {} up, {} down",
            seconds(self.local_seconds + self.phases.iter().map(|line| line.seconds).sum::<f64>()),
            total(|line| line.bytes.0),
            total(|line| line.bytes.1)
        )?;
        if let Some(outcome) = &self.outcome {
            write!(f, "{MARGIN}there:    {} entries", count(outcome.persons_there))?;
            for (identifier, sizes) in &outcome.sizes {
                write_sizes(f, identifier, sizes, outcome.dummies)?;
            }
        }
        for column in &self.errors {
            let name = &column.name;
            let known: Vec<f64> = column.rows.iter().flatten().copied().collect();
            let (least, most) =
                (known.iter().copied().fold(f64::INFINITY, f64::min), known.iter().copied().fold(0.0, f64::max));
            match known.len() {
                0 => write!(f, "{MARGIN}answer:   {name} has no bound: its count may be too small")?,
                _ if most == 0.0 => write!(f, "{MARGIN}answer:   {name} is exact")?,
                _ if least == most => write!(f, "{MARGIN}answer:   {name} ± {} (95 %)", measured(most))?,
                _ => write!(f, "{MARGIN}answer:   {name} ± {} to {} (95 %)", measured(least), measured(most))?,
            }
            let without = column.rows.len() - known.len();
            if without > 0 && !known.is_empty() {
                write!(f, "; none for {}", plural(without as u64, "row", "rows"))?;
            }
        }
        if self.hidden > 0 {
            write!(
                f,
                "{MARGIN}hidden:   {} by a noisy count under the share's minimum",
                plural(self.hidden, "group shows NULL,", "groups show NULL,")
            )?;
        }
        Ok(())
    }
}

/// The most groups whose sizes are listed one by one.
const LISTED_MAX: usize = 20;

/// The noisy sizes of one identifier: of one group as an estimate, of several as a list.
fn write_sizes(f: &mut fmt::Formatter<'_>, identifier: &str, sizes: &[u64], dummies: u64) -> fmt::Result {
    // Half of τ is the mean overlap of the two sides' dummies.
    let estimate = |size: &u64| count(size.saturating_sub(dummies / 2));
    let noise = size_noise_95(dummies);
    if let [size] = sizes {
        write!(f, "{MARGIN}matched by {identifier}: {} lines", count(*size))?;
        if dummies > 0 {
            let half = count(dummies / 2);
            write!(f, ", some {half} of them dummies: {} ± {noise} persons (95 %)", estimate(size))?;
        }
        return Ok(());
    }
    let listed: Vec<String> = sizes.iter().take(LISTED_MAX).map(estimate).collect();
    write!(f, "{MARGIN}matched by {identifier}, group by group: {}", listed.join(", "))?;
    if sizes.len() > LISTED_MAX {
        write!(f, " and {} more", count((sizes.len() - LISTED_MAX) as u64))?;
    }
    match dummies {
        0 => write!(f, " persons"),
        _ => write!(f, ", each ± {noise} persons (95 %)"),
    }
}
