//! What EXPLAIN says of a private query before it runs, and EXPLAIN ANALYZE after it ran.
//!
//! Both are lines of words and numbers below the plan node's name. Nothing here runs, asks or reveals
//! anything: the outline is computed from the share's terms, this party's policy and the statistics of
//! the local plan, the report from what the run has counted. No identifier, value, element or position
//! is in either.

use std::fmt;

use crate::dp::size_noise_95;
use crate::psi::{
    Aggregate, AggregateTerms, ClipTerms, OutputsTerms, Phase, Question, ShareTerms, SizesTerms, WordTerms, tag_bytes,
};

/// Microseconds of one core to hash an identifier to the group and blind it.
/// `cargo bench --bench column` measures both figures (groups `blind` and `evaluate`), per element.
pub(super) const HASH_AND_BLIND_US: f64 = 20.0;
/// Microseconds of one core to decode, multiply and encode an element.
pub(super) const EVALUATE_US: f64 = 18.0;
/// Bytes of an element on the wire.
const ELEMENT_BYTES: u64 = 32;
/// Bytes of an additive share on the wire, where the bounds fit 64 bits.
const WORD_BYTES: u64 = 8;

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

    /// An upper estimate of time and bytes: as if no person matched before the last identifier.
    pub(super) fn cost(&self) -> Option<Cost> {
        let columns = self.question.identifiers.len() as u64;
        let dummies = columns * self.dummies()?;
        let here = self.persons_here? + dummies;
        let there = self.persons_there.or(self.persons_here)? + dummies;
        let tag = u64::from(tag_bytes(here, there, self.question.identifiers.len()));
        let later = columns - 1;
        let (mut bytes_up, mut bytes_down) = (
            ELEMENT_BYTES * (columns * here + later * there) + tag * (there + later * here),
            ELEMENT_BYTES * (columns * there + later * here) + tag * (here + later * there),
        );
        // The side that knows the matched positions sends 128/k correction bits per position.
        let correction = u64::from(16 / self.ot_width.clamp(1, 16));
        let own = self.question.aggregates.iter().filter(|aggregate| aggregate.is_own()).count() as u64;
        let theirs = self.question.aggregates.len() as u64 - own;
        if theirs > 0 {
            bytes_up += correction * there;
            bytes_down += WORD_BYTES * theirs * there;
        }
        if own > 0 {
            bytes_down += correction * here;
            bytes_up += WORD_BYTES * own * here;
        }
        let blinded = (columns * here) as f64 * HASH_AND_BLIND_US;
        let evaluated = (there + later * (here + there)) as f64 * EVALUATE_US;
        let seconds = (blinded + evaluated) / 1e6 / self.cores.max(1) as f64;
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
        write!(f, "{MARGIN}sizes:    {peer}: {}", Sizes(&self.terms.sizes, &self.dummies_there))?;
        if let Ok(own) = &self.own {
            write!(f, "; here: {}", Sizes(&own.sizes, &Ok(own.dummies)))?;
            if let Some(left) = own.queries_left {
                write!(f, ", {} left", plural(left, "query", "queries"))?;
            }
        }
        match self.dummies() {
            Some(0) => write!(f, "; no dummies: the numbers of matches are exact")?,
            Some(dummies) => write!(
                f,
                "; the run uses {} dummies per identifier and side, so that each number of matches is off by ±{} (95 %)",
                count(dummies),
                size_noise_95(dummies)
            )?,
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
        for (index, aggregate) in self.question.aggregates.iter().enumerate() {
            let noise = self.words.get(index).and_then(noise);
            if let Some(line) =
                [bounds(&aggregate.aggregate, &self.terms), noise].into_iter().flatten().reduce(|a, b| a + "; " + &b)
            {
                write!(f, "{MARGIN}          {aggregate}: {line}")?;
            }
        }
        if self.terms.minimum_matched > 0 {
            write!(
                f,
                "{MARGIN}minimum:  under {} matched persons (a noisy number) there is no answer",
                count(self.terms.minimum_matched)
            )?;
        }
        write!(
            f,
            "{MARGIN}you will learn: the number of {peer}'s entries, per identifier a noisy number of matches, the answer"
        )?;
        write!(
            f,
            "{MARGIN}{peer} will learn: the line 'travels', the announced number of your persons, per identifier a noisy number of matches and which lines of your shuffled table they are; no identifier, no answer"
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
            .map(|most| format!("one person's sum of squares counts up to {most}")),
        Aggregate::OwnRows { .. } => terms.requester_values.as_ref().map(|own| rows(own.max_rows)),
        Aggregate::OwnSum { .. } => terms.requester_values.as_ref().map(|own| clip(&own.clip)),
    }
}

/// The ± that the noise of a sum or count means.
fn noise(word: &WordTerms) -> Option<String> {
    let half = word.noise.interval(0.95);
    (half > 0).then(|| format!("± {} (95 %)", measured(half as f64 / 10_f64.powi(i32::from(word.decimals)))))
}

struct Travels<'a>(&'a Question);

impl fmt::Display for Travels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let question = self.0;
        let asked: Vec<String> = question.aggregates.iter().map(ToString::to_string).collect();
        write!(f, "table {}; match by {}; ask {}", question.table, question.identifiers.join(", "), asked.join(", "))?;
        match &question.filter {
            Some(filter) => write!(f, "; filter {filter}"),
            None => write!(f, "; no filter"),
        }
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

/// What a run has counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunReport {
    /// Seconds until the local side was collected and prepared.
    pub local_seconds: f64,
    /// Rows of the local side.
    pub rows: u64,
    /// Persons that they are.
    pub persons: u64,
    /// Identifiers that could not be normalised.
    pub unnormalised: u64,
    /// Identifiers that their person does not go by: another's already, or its second.
    pub dropped_identifiers: u64,
    /// One line per phase.
    pub phases: Vec<PhaseLine>,
    /// The outcome, if the run has come to it.
    pub outcome: Option<Outcome>,
    /// Per column of the answer: its name and its ± at 95 %, where that can be said.
    pub errors: Vec<(String, Option<f64>)>,
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
    /// Noisy number of matches per identifier, dummies included.
    pub sizes: Vec<(String, u64)>,
    /// The session's dummies per identifier and side.
    pub dummies: u64,
    /// The number of the peer's entries.
    pub persons_there: u64,
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{MARGIN}local:    {}, {} rows, {} persons, {} identifiers not normalised, {} dropped as repeated",
            seconds(self.local_seconds),
            count(self.rows),
            count(self.persons),
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
            for (identifier, size) in &outcome.sizes {
                write!(f, "{MARGIN}matched by {identifier}: {} lines", count(*size))?;
                if outcome.dummies > 0 {
                    // Half of τ is the mean overlap of the two sides' dummies.
                    let estimate = size.saturating_sub(outcome.dummies / 2);
                    write!(
                        f,
                        ", some {} of them dummies: {} ± {} persons (95 %)",
                        count(outcome.dummies / 2),
                        count(estimate),
                        size_noise_95(outcome.dummies)
                    )?;
                }
            }
        }
        for (column, error) in &self.errors {
            match error {
                Some(0.0) => write!(f, "{MARGIN}answer:   {column} is exact")?,
                Some(error) => write!(f, "{MARGIN}answer:   {column} ± {} (95 %)", measured(*error))?,
                None => write!(f, "{MARGIN}answer:   {column} has no bound: its count may be zero")?,
            }
        }
        Ok(())
    }
}

/// A number of some unit, with as many digits as say something.
pub(super) fn measured(number: f64) -> String {
    match number {
        whole if whole.fract() == 0.0 && whole.abs() < 1e15 => count(whole.abs() as u64),
        large if large.abs() >= 100.0 => count(large.abs().round() as u64),
        small => format!("{small:.3}"),
    }
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn plural(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { several })
}

/// `812 B`, `1.2 KB`, `34.5 MB`: powers of 1000.
pub(super) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    if number < 1000 {
        return format!("{number} B");
    }
    for unit in ["KB", "MB", "GB"] {
        value /= 1000.0;
        if value < 999.95 {
            return format!("{value:.1} {unit}");
        }
    }
    format!("{:.1} TB", value / 1000.0)
}

/// `0.012 s`, `3.4 s`, `7 min 5 s`.
pub(super) fn seconds(number: f64) -> String {
    if number < 1.0 {
        format!("{number:.3} s")
    } else if number < 100.0 {
        format!("{number:.1} s")
    } else {
        format!("{:.0} min {:.0} s", (number / 60.0).floor(), number % 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psi::{FilteredRows, IdentifierTerms};

    fn outline() -> Outline {
        Outline {
            peer: "advertiser".to_owned(),
            question: Question {
                table: "purchases".to_owned(),
                identifiers: vec!["email".to_owned(), "phone".to_owned()],
                filter: Some("category = 'toys'".to_owned()),
                aggregates: vec![
                    Aggregate::Persons.into(),
                    Aggregate::Sum { column: "amount".to_owned() }.into(),
                    Aggregate::Rows { column: "amount".to_owned() }.into(),
                ],
                group_by: None,
                own_groups: false,
            },
            columns: vec![
                (vec!["i.email".to_owned()], "email/1".to_owned()),
                (vec!["i.phone".to_owned()], "phone/1:US".to_owned()),
            ],
            terms: ShareTerms {
                table: "purchases".to_owned(),
                identifiers: ["email", "phone"]
                    .map(|name| IdentifierTerms {
                        name: name.to_owned(),
                        columns: vec![name.to_owned()],
                        normaliser: "exact/1".to_owned(),
                    })
                    .to_vec(),
                aggregates: vec![AggregateTerms {
                    column: "amount".to_owned(),
                    clip: Some(ClipTerms { min: "0".to_owned(), max: "500".to_owned() }),
                    max_rows: 20,
                    decimals: 2,
                    squares_max: None,
                }],
                filter_on: vec!["category".to_owned()],
                requester_values: None,
                minimum_matched: 50,
                filtered_rows: FilteredRows::Hide,
                sizes: SizesTerms::Private { epsilon: 2.0, delta: None, queries: 10, columns: 2 },
                outputs: OutputsTerms::Exact,
                group_by: Vec::new(),
                max_labels: 1,
                max_parts: 1,
                period: "forever".to_owned(),
                approval: false,
            },
            words: Vec::new(),
            own: Ok(OwnOutline {
                dummies: 900,
                sizes: SizesTerms::Private { epsilon: 1.0, delta: Some(1e-8), queries: 100, columns: 2 },
                rows: "pad".to_owned(),
                queries_left: Some(99),
            }),
            dummies_there: Ok(1200),
            persons_here: Some(1_000_000),
            persons_there: None,
            ot_width: 2,
            cores: 2,
        }
    }

    /// The text without its margin, which every line has.
    fn lines(text: &impl fmt::Display) -> String {
        let text = text.to_string();
        assert_eq!(text.lines().count(), text.matches(MARGIN).count() + 1, "every line is indented: {text}");
        text.replace(MARGIN, "\n").trim_start().to_owned()
    }

    #[test]
    fn the_outline_names_everything_that_a_reader_must_know_before_the_run() {
        insta::assert_snapshot!(lines(&outline()), @r"
        travels:  table purchases; match by email, phone; ask persons, sum(amount), rows(amount); filter category = 'toys'
        match 1:  email = i.email as email/1
        match 2:  phone = i.phone as phone/1:US
        here:     at most 1,000,000 persons (rows, by statistics), announced by 'pad'
        there:    entries unknown before it runs; the estimate takes as many as here (filtered_rows 'hide')
        sizes:    advertiser: ε 2, δ 1/(10 N) over 10 queries of 2 identifiers (τ 1,200); here: ε 1, δ 1e-8 over 100 queries of 2 identifiers (τ 900), 99 queries left; the run uses 1,200 dummies per identifier and side, so that each number of matches is off by ±24 (95 %)
        outputs:  exact, by advertiser's policy: the dummies protect the numbers of matches, not the answer itself
                  sum(amount): one person's total counts from 0 to 500
                  rows(amount): at most 20 rows of one person count
        minimum:  under 50 matched persons (a noisy number) there is no answer
        you will learn: the number of advertiser's entries, per identifier a noisy number of matches, the answer
        advertiser will learn: the line 'travels', the announced number of your persons, per identifier a noisy number of matches and which lines of your shuffled table they are; no identifier, no answer
        costs:    about 47.1 s on 2 cores, 128.3 MB up, 144.3 MB down
        ");
    }

    #[test]
    fn what_is_not_known_is_said_and_not_guessed() {
        let unknown = Outline {
            own: Err("there is no [[ask]] for advertiser".to_owned()),
            persons_here: None,
            dummies_there: Err("no length".to_owned()),
            ..outline()
        };
        let text = unknown.to_string();
        assert!(text.contains("refused:  there is no [[ask]]"), "{text}");
        assert!(text.contains("τ unknown: no length") && !text.contains("costs:"), "{text}");
        assert!(unknown.cost().is_none());
        let exact = Outline {
            dummies_there: Ok(0),
            own: Ok(OwnOutline {
                dummies: 0,
                sizes: SizesTerms::Exact { queries: 1 },
                rows: "reveal".to_owned(),
                queries_left: None,
            }),
            ..outline()
        };
        assert!(exact.to_string().contains("no dummies: the numbers of matches are exact"), "{exact}");
    }

    #[test]
    fn one_identifier_and_one_sum_at_a_million_rows_stay_within_the_bytes_of_the_plan() {
        // 120 MB in total is the goal for 1e6 x 1e6 with one identifier and one sum.
        let one = Outline {
            question: Question {
                identifiers: vec!["email".to_owned()],
                aggregates: vec![Aggregate::Sum { column: "amount".to_owned() }.into()],
                ..outline().question
            },
            ..outline()
        };
        let cost = one.cost().unwrap();
        assert!(cost.bytes_up + cost.bytes_down < 120_000_000, "{cost:?}");
        let own = Outline {
            question: Question { aggregates: vec![Aggregate::OwnRows { value: 0 }.into()], ..one.question.clone() },
            ..one.clone()
        };
        let mirrored = own.cost().unwrap();
        assert_eq!(
            (mirrored.bytes_up, mirrored.bytes_down),
            (cost.bytes_down, cost.bytes_up),
            "equal tables, roles swapped"
        );
    }

    #[test]
    fn the_report_shows_every_phase_and_the_noisy_sizes_with_their_error() {
        let report = RunReport {
            local_seconds: 0.25,
            rows: 1200,
            persons: 1000,
            unnormalised: 3,
            dropped_identifiers: 2,
            phases: vec![
                PhaseLine { phase: Phase::Hello, seconds: 0.004, rows: 29, bytes: (1800, 1900) },
                PhaseLine { phase: Phase::Elements(2), seconds: 123.0, rows: 3100, bytes: (70_400, 28_800) },
            ],
            outcome: Some(Outcome {
                sizes: vec![("email".to_owned(), 700), ("phone".to_owned(), 610)],
                dummies: 1200,
                persons_there: 2200,
            }),
            errors: vec![
                ("buyers".to_owned(), Some(0.0)),
                ("revenue".to_owned(), Some(1234.5)),
                ("mean".to_owned(), Some(0.0625)),
                ("other".to_owned(), None),
            ],
        };
        insta::assert_snapshot!(lines(&report), @r"
        local:    0.250 s, 1,200 rows, 1,000 persons, 3 identifiers not normalised, 2 dropped as repeated
        hello             0.004 s,           29 rows,    1.8 KB up,    1.9 KB down
        elements-2      2 min 3 s,        3,100 rows,   70.4 KB up,   28.8 KB down
        all:      2 min 3 s, 72.2 KB up, 30.7 KB down
        there:    2,200 entries
        matched by email: 700 lines, some 600 of them dummies: 100 ± 24 persons (95 %)
        matched by phone: 610 lines, some 600 of them dummies: 10 ± 24 persons (95 %)
        answer:   buyers is exact
        answer:   revenue ± 1,235 (95 %)
        answer:   mean ± 0.062 (95 %)
        answer:   other has no bound: its count may be zero
        ");
    }

    #[test]
    fn numbers_are_written_for_reading() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 999, 1000, 999_949, 999_950, 34_500_000].map(bytes),
            ["0 B", "999 B", "1.0 KB", "999.9 KB", "1.0 MB", "34.5 MB"]
        );
        assert_eq!([0.0123, 3.44, 99.9, 425.0].map(seconds), ["0.012 s", "3.4 s", "99.9 s", "7 min 5 s"]);
    }
}
