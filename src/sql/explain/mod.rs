//! What EXPLAIN says of a private query before it runs, and EXPLAIN ANALYZE after it ran.
//!
//! Both are lines of words and numbers below the plan node's name. Nothing here runs, asks or reveals
//! anything: the outline is computed from the share's terms, this party's policy and the statistics of
//! the local plan, the report from what the run has counted. No identifier, value, element or position
//! is in either.

mod numbers;
mod report;
#[cfg(test)]
mod tests;

use std::fmt;

use self::numbers::{bytes, count, measured, plural, seconds};
pub use self::report::{ColumnErrors, Outcome, PhaseLine, RunReport};
use crate::dp::size_noise_95;
use crate::policy::labels_of;
use crate::psi::{
    Aggregate, AggregateTerms, ClipTerms, CurveMicros, OutputsTerms, Question, ShareTerms, SizesTerms, WordTerms,
    matching_bytes,
};

/// Seconds of every run, however small: connections, ledgers on disk, rounds (`cargo bench --bench end_to_end`).
const ROUNDS_S: f64 = 0.1;
/// Microseconds of one core for each entry of either side beside the curve: reading, preparing, encoding, comparing.
const ENTRY_US: f64 = 0.5;
/// Microseconds of one core for an oblivious transfer and its sums (`cargo bench --bench ot`).
const TRANSFER_US: f64 = 0.04;
/// Bytes of an additive share on the wire, where the bounds fit 64 bits.
const WORD_BYTES: u64 = 8;

/// More entries than any session has: what a plan's statistics say may be anything, and an estimate must not overflow.
const ENTRIES_MOST: u64 = 1 << 32;

/// The left edge of every line below the node's name: deeper than any node stands, so that the lines
/// are told apart from the nodes whatever the indentation.
const MARGIN: &str = "\n        | ";

/// One private query, as far as it can be described before it runs.
#[derive(Debug, Clone)]
pub(super) struct Outline {
    /// The peer's name.
    pub(super) peer: String,
    /// What travels.
    pub(super) question: Question,
    /// Per match column: the local columns' names and the normaliser.
    pub(super) columns: Vec<(Vec<String>, String)>,
    /// The share's terms.
    pub(super) terms: ShareTerms,
    /// The expressions of this side that it groups by, as its analyst wrote them.
    pub(super) own_groups: Vec<String>,
    /// Whether planning has added the count of persons by which small groups are hidden.
    pub(super) adds_persons: bool,
    /// Bounds and noise of each sum and count; empty where a policy refuses.
    pub(super) words: Vec<WordTerms>,
    /// What this side's own policy says of the query, or why it refuses.
    pub(super) own: Result<OwnOutline, String>,
    /// The peer's dummies per identifier, by its published terms; or why that cannot be said.
    pub(super) dummies_there: Result<u64, String>,
    /// Estimated persons on this side: an upper bound, its rows.
    pub(super) persons_here: Option<u64>,
    /// Entries that the peer announced in an earlier run of this process.
    pub(super) persons_there: Option<u64>,
    /// k of the OT extension.
    pub(super) ot_width: u8,
    /// Cores that the estimate divides by.
    pub(super) cores: usize,
    /// What they take for an element.
    pub(super) curve: CurveMicros,
}

/// What this side's own policy makes of the query.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OwnOutline {
    /// This side's dummies per identifier.
    pub(super) dummies: u64,
    /// The privacy of the sizes that it asks for.
    pub(super) sizes: SizesTerms,
    /// How its number of persons goes on the wire: `pad`, `reveal`.
    pub(super) rows: String,
    /// Queries left in the budget, if it is counted.
    pub(super) queries_left: Option<u64>,
}

/// What a run will take, roughly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    /// Wall seconds, computing alone, if the peer is as fast.
    pub(super) seconds: f64,
    /// Bytes from this side to the peer.
    pub(super) bytes_up: u64,
    /// Bytes from the peer to this side.
    pub(super) bytes_down: u64,
}

impl Outline {
    /// The session's dummies per identifier and side: the larger of both sides' numbers.
    pub(super) fn dummies(&self) -> Option<u64> {
        let here = self.own.as_ref().ok().map(|own| own.dummies)?;
        Some(here.max(*self.dummies_there.as_ref().ok()?))
    }

    /// The public labels of the answer's rows; 1 where it has none.
    fn labels(&self) -> u64 {
        labels_of(&self.terms, &self.question).len().max(1) as u64
    }

    /// The most groups of this side's own.
    fn parts_most(&self) -> u64 {
        if self.question.own_groups { u64::from(self.terms.max_parts) } else { 1 }
    }

    fn is_grouped(&self) -> bool {
        self.question.group_by.is_some() || self.question.own_groups
    }

    /// An upper estimate of time and bytes: as if no person matched before the last identifier, and as if this side had as
    /// many groups of its own as it may.
    pub(super) fn cost(&self) -> Option<Cost> {
        let (columns, parts) = (self.question.identifiers.len() as u64, self.parts_most());
        let dummies = (columns * parts).saturating_mul(self.dummies()?);
        let entries = |persons: u64| persons.saturating_add(dummies).min(ENTRIES_MOST);
        let here = entries(self.persons_here?);
        let there = entries(self.persons_there.or(self.persons_here)?);
        let later = columns - 1;
        let (mut bytes_up, mut bytes_down) = matching_bytes(here, there, columns as usize, parts as usize);
        // Whoever learns the sums of a transfer sends its corrections: this side, for the peer's words as for its own.
        let correction = u64::from(16 / self.ot_width.clamp(1, 16));
        let theirs = self.question.aggregates.iter().filter(|word| !word.is_own()).count() as u64;
        let mut transfers = 0;
        if theirs > 0 {
            transfers += there * parts;
            bytes_down += WORD_BYTES * theirs * self.labels() * there * parts;
        }
        for (_, word) in self.question.aggregates.iter().zip(&self.words).filter(|(asked, _)| asked.is_own()) {
            // A transfer for each bit of each row.
            let reach = word.min.min(0).unsigned_abs().saturating_add(word.max.max(0).unsigned_abs());
            let bits = here * u64::from(u128::BITS - reach.leading_zeros());
            transfers += bits;
            bytes_down += WORD_BYTES * bits;
        }
        bytes_up += correction * transfers;
        let blinded = (columns * here) as f64 * self.curve.hash_and_blind;
        let evaluated = (there + later * (here + there)) as f64 * self.curve.evaluate;
        let beside = (here + there) as f64 * ENTRY_US + transfers as f64 * TRANSFER_US;
        let seconds = ROUNDS_S + (blinded + evaluated + beside) / 1e6 / self.cores.max(1) as f64;
        Some(Cost { seconds, bytes_up, bytes_down })
    }
}

impl fmt::Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = &self.peer;
        write!(f, "{MARGIN}travels:  {}", Travels(&self.question))?;
        for (rank, (identifier, (local, normaliser))) in self.question.identifiers.iter().zip(&self.columns).enumerate()
        {
            write!(f, "{MARGIN}match {}:  {identifier} = {} as {normaliser}", rank + 1, local.join(", "))?;
        }
        match (&self.own, self.persons_here) {
            (Err(reason), _) => write!(f, "{MARGIN}refused:  {reason}")?,
            (Ok(own), Some(rows)) => {
                write!(
                    f,
                    "{MARGIN}here:     at most {} persons (rows, by statistics), announced by '{}'",
                    count(rows),
                    own.rows
                )?;
            }
            (Ok(own), None) => {
                write!(
                    f,
                    "{MARGIN}here:     persons unknown before it runs (no statistics), announced by '{}'",
                    own.rows
                )?;
            }
        }
        match self.persons_there {
            Some(entries) => write!(f, "{MARGIN}there:    {} entries when last asked", count(entries))?,
            None => write!(f, "{MARGIN}there:    entries unknown before it runs; the estimate takes as many as here")?,
        }
        let rows = self.terms.filtered_rows.name();
        write!(f, " (filtered_rows '{rows}')")?;
        self.write_groups(f)?;
        let (per_group, each_group, announced) = match self.question.own_groups {
            true => (", group of yours", " and group of yours", " in each of your groups,"),
            false => ("", "", ","),
        };
        write!(f, "{MARGIN}sizes:    {peer}: {}", Sizes(&self.terms.sizes, &self.dummies_there))?;
        if let Ok(own) = &self.own {
            write!(f, "; here: {}", Sizes(&own.sizes, &Ok(own.dummies)))?;
            if let Some(left) = own.queries_left {
                write!(f, ", {} left", plural(left, "query", "queries"))?;
            }
        }
        match self.dummies() {
            Some(0) => write!(f, "; no dummies: the numbers of matches are exact")?,
            Some(dummies) => {
                // The default delta is 1 / (10 N): with N unknown, this is the least that it can be.
                let least = if self.persons_here.is_none() { "at least " } else { "" };
                write!(
                    f,
                    "; the run uses {least}{} dummies per identifier{per_group} and side, so that each number of matches is off by {least}±{} (95 %)",
                    count(dummies),
                    size_noise_95(dummies)
                )?;
            }
            None => {}
        }
        match &self.terms.outputs {
            OutputsTerms::Exact => write!(
                f,
                "{MARGIN}outputs:  exact, by {peer}'s policy: the dummies protect the numbers of matches, not the answer itself"
            )?,
            OutputsTerms::Private { epsilon, delta, queries, .. } => {
                write!(f, "{MARGIN}outputs:  noisy: ε {epsilon}")?;
                if let Some(delta) = delta {
                    write!(f, ", δ {delta:e}")?;
                }
                write!(f, " over {}, split over this one's sums and counts", plural(*queries, "query", "queries"))?;
            }
        }
        for (index, word) in self.question.aggregates.iter().enumerate() {
            let noise = self.words.get(index).and_then(|word| noise(word, self.is_grouped()));
            if let Some(line) =
                [bounds(&word.aggregate, &self.terms), noise].into_iter().flatten().reduce(|a, b| a + "; " + &b)
            {
                write!(f, "{MARGIN}          {word}: {line}")?;
            }
        }
        self.write_minimum(f)?;
        write!(
            f,
            "{MARGIN}you will learn: the number of {peer}'s entries, per identifier{each_group} a noisy number of matches, the answer"
        )?;
        write!(
            f,
            "{MARGIN}{peer} will learn: the line 'travels', the announced number of your persons{announced} per identifier{each_group} a noisy number of matches and which lines of your shuffled table they are; no identifier, no answer"
        )?;
        if let Some(cost) = self.cost() {
            write!(
                f,
                "{MARGIN}costs:    about {} on {}, {} up, {} down",
                seconds(cost.seconds),
                plural(self.cores as u64, "core", "cores"),
                bytes(cost.bytes_up),
                bytes(cost.bytes_down)
            )?;
        }
        Ok(())
    }
}

impl Outline {
    /// What the answer's rows are.
    fn write_groups(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_grouped() {
            return Ok(());
        }
        let (labels, parts) = (self.labels(), self.parts_most());
        write!(f, "{MARGIN}groups:   ")?;
        if let Some(column) = &self.question.group_by {
            write!(
                f,
                "by {column} of {}: a row for each of its {}, whatever was matched; one person counts in at most {}",
                self.peer,
                plural(labels, "public label", "public labels"),
                count(u64::from(self.terms.max_labels))
            )?;
        }
        if self.question.own_groups {
            let separator = if self.question.group_by.is_some() { "; and " } else { "" };
            write!(
                f,
                "{separator}by {} here: a row for each of your groups, at most {}; one person is in one",
                self.own_groups.join(", "),
                count(parts)
            )?;
        }
        let rows = plural(labels.saturating_mul(parts), "row", "rows");
        write!(f, "{MARGIN}          the answer has {}{rows}", if self.question.own_groups { "at most " } else { "" })?;
        let theirs = self.question.aggregates.iter().filter(|word| !word.is_own()).count() as u64;
        if theirs > 0 {
            let per_group = if self.question.own_groups { " and group of yours" } else { "" };
            write!(
                f,
                "; one oblivious transfer per entry of {}'s{per_group}, of {}",
                self.peer,
                plural(labels.saturating_mul(theirs), "number", "numbers")
            )?;
        }
        Ok(())
    }

    fn write_minimum(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.minimum_matched == 0 {
            return Ok(());
        }
        let minimum = count(self.terms.minimum_matched);
        write!(f, "{MARGIN}minimum:  under {minimum} matched persons (a noisy number) there is no answer")?;
        if self.is_grouped() {
            write!(f, "; a group of fewer than {minimum} by its own noisy count, persons, shows NULL")?;
        }
        if self.adds_persons {
            write!(f, "{MARGIN}          persons was added to the question for this")?;
            if let OutputsTerms::Private { .. } = self.terms.outputs {
                write!(f, ", and takes its share of ε")?;
            }
        }
        Ok(())
    }
}

fn bounds(aggregate: &Aggregate, terms: &ShareTerms) -> Option<String> {
    let of = |column: &str| terms.aggregates.iter().find(|terms| terms.column == column);
    let clip = |clip: &ClipTerms| format!("one person's total counts from {} to {}", clip.min, clip.max);
    let rows = |max_rows: u64| format!("at most {} of one person count", plural(max_rows, "row", "rows"));
    match aggregate {
        Aggregate::Persons => None,
        Aggregate::Rows { column } => of(column).map(|terms| rows(terms.max_rows)),
        Aggregate::Sum { column } => {
            of(column).and_then(|AggregateTerms { clip: bounds, .. }| bounds.as_ref()).map(clip)
        }
        Aggregate::Squares { column } => of(column)
            .and_then(|terms| terms.squares_max.as_ref())
            .map(|max| format!("one person's total of squares counts from 0 to {max}")),
        Aggregate::OwnRows { .. } => terms.requester_values.as_ref().map(|own| rows(own.max_rows)),
        Aggregate::OwnSum { .. } => terms.requester_values.as_ref().map(|own| clip(&own.clip)),
    }
}

/// The ± that the noise of a sum or count means.
fn noise(word: &WordTerms, grouped: bool) -> Option<String> {
    let half = word.noise.interval(0.95);
    let each = if grouped { " in each row" } else { "" };
    (half > 0).then(|| format!("± {} (95 %){each}", measured(half as f64 / 10_f64.powi(i32::from(word.decimals)))))
}

struct Travels<'a>(&'a Question);

impl fmt::Display for Travels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let question = self.0;
        let asked: Vec<String> = question.aggregates.iter().map(ToString::to_string).collect();
        write!(f, "table {}; match by {}; ask {}", question.table, question.identifiers.join(", "), asked.join(", "))?;
        match &question.filter {
            Some(filter) => write!(f, "; filter {filter}")?,
            None => write!(f, "; no filter")?,
        }
        if let Some(column) = &question.group_by {
            write!(f, "; group by {column}")?;
        }
        if question.own_groups {
            write!(f, "; in groups of your own, whose number and sizes are told, and not what they are")?;
        }
        Ok(())
    }
}

struct Sizes<'a>(&'a SizesTerms, &'a Result<u64, String>);

impl fmt::Display for Sizes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SizesTerms::Exact { queries } => {
                write!(f, "exact, by its policy, {}", plural(*queries, "query", "queries"))?
            }
            SizesTerms::Private { epsilon, delta, queries, columns } => {
                write!(f, "ε {epsilon}, δ ")?;
                match delta {
                    Some(delta) => write!(f, "{delta:e}")?,
                    None => write!(f, "1/(10 N)")?,
                }
                write!(
                    f,
                    " over {} of {}",
                    plural(*queries, "query", "queries"),
                    plural(u64::from(*columns), "identifier", "identifiers")
                )?;
            }
        }
        match self.1 {
            Ok(dummies) => write!(f, " (τ {})", count(*dummies)),
            Err(reason) => write!(f, " (τ unknown: {reason})"),
        }
    }
}
