//! The numbers of one cell: what a release, and its noise, say of a sum, a mean or a spread.
//!
//! # Intervals
//! A count or a sum has the interval of its noise at 95 %. Of a quotient each of the parts has one at a confidence that makes
//! all of them together 95 % (union bound): two parts of a mean at 97.5 %, three of a variance at 98.3 %. The ends are then
//! those that the quotient can have while each part stays within its own (interval arithmetic), which holds whatever the
//! parts have to do with each other, and is wider than it would have to be where they have much.
//!
//! # A variance and its noise
//! From Σx², Σx and n: (Σx² − (Σx)²/n) / (n − 1), or / n of a population. It is shown as it comes out, also below zero,
//! as a noisy count is: who averages over groups or adds them up keeps an unbiased number, and one that was clipped at 0
//! would say "no spread" where the noise says nothing. Its root is NULL there.

use super::super::functions::ResultPart;
use super::super::query::{PrivateOutput, ResultColumn};
use crate::psi::{Error, WordTerms};

/// The chance that an interval holds the value that a release would have without its noise.
const CONFIDENCE: f64 = 0.95;

/// One number of the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// In units of 10^-decimals.
    Exact(i128, u8),
    Float(f64),
}

/// A number, or why there is none.
pub(super) type Shown = Result<Number, &'static str>;

/// One cell's released totals, a word's each.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    pub(super) words: &'a [WordTerms],
    pub(super) sums: &'a [i128],
}

impl Cell<'_> {
    /// One number of the cell.
    ///
    /// # Errors
    /// [`Error::Internal`] for an output that the question does not have.
    pub(super) fn shown(&self, column: ResultColumn) -> Result<Shown, Error> {
        Ok(match column.of {
            PrivateOutput::Count(index) => {
                let count = self.released(index)?;
                if count.word.decimals != 0 {
                    return Err(Error::internal("a count has decimals"));
                }
                count.shown(column.part)?
            }
            PrivateOutput::Sum(index) => self.released(index)?.shown(column.part)?,
            PrivateOutput::Avg { sum, rows } => {
                mean(&self.released(sum)?, &self.released(rows)?, column.part).map(Number::Float)
            }
            PrivateOutput::Spread { squares, sum, rows, sample, root } => {
                let parts = Moments {
                    squares: self.released(squares)?,
                    sum: self.released(sum)?,
                    rows: self.released(rows)?,
                    sample,
                };
                parts.shown(root, column.part)?.map(Number::Float)
            }
        })
    }

    fn released(&self, index: usize) -> Result<Released<'_>, Error> {
        match (self.sums.get(index), self.words.get(index)) {
            (Some(sum), Some(word)) => Ok(Released { sum: *sum, word }),
            _ => Err(Error::internal(format!("an output names aggregate {index} of {}", self.sums.len()))),
        }
    }
}

/// One released total.
#[derive(Clone, Copy)]
struct Released<'a> {
    sum: i128,
    word: &'a WordTerms,
}

impl Released<'_> {
    /// Half of the interval's width, in the word's units.
    fn error(&self, confidence: f64) -> i128 {
        i128::try_from(self.word.noise.interval(confidence)).unwrap_or(i128::MAX)
    }

    /// The ends of the interval, in the column's unit.
    fn ends(&self, confidence: f64) -> [f64; 2] {
        let error = self.error(confidence);
        [self.sum.saturating_sub(error), self.sum.saturating_add(error)].map(|end| unscale(end, self.word.decimals))
    }

    fn shown(&self, part: ResultPart) -> Result<Shown, Error> {
        let error = self.error(CONFIDENCE);
        let shown = match part {
            ResultPart::Value | ResultPart::Note => Some(self.sum),
            ResultPart::Low => self.sum.checked_sub(error),
            ResultPart::High => self.sum.checked_add(error),
            ResultPart::Error => Some(error),
        };
        match shown {
            Some(number) => Ok(Ok(Number::Exact(number, self.word.decimals))),
            None => Err(Error::Caller("the interval of a sum is too wide for any number type".to_owned())),
        }
    }
}

/// The confidence of each of so many parts, so that all of them hold with [`CONFIDENCE`].
fn each(parts: u8) -> f64 {
    1.0 - (1.0 - CONFIDENCE) / f64::from(parts)
}

/// A part of sum / rows; none where the number of rows may be 0 or less, so that there is no mean, or no bound on it.
fn mean(sum: &Released<'_>, rows: &Released<'_>, part: ResultPart) -> Result<f64, &'static str> {
    let middle = if rows.sum > 0 {
        Ok(unscale(sum.sum, sum.word.decimals) / rows.sum as f64)
    } else {
        Err("no rows, by their noisy count")
    };
    if matches!(part, ResultPart::Value | ResultPart::Note) {
        return middle;
    }
    let rows_error = rows.error(each(2));
    let (few, many) = (rows.sum.saturating_sub(rows_error), rows.sum.saturating_add(rows_error));
    if few <= 0 {
        return Err("its count may be zero");
    }
    let [low, high] = sum.ends(each(2));
    let quotients = |sum: f64| [sum / few as f64, sum / many as f64];
    let low = quotients(low).into_iter().fold(f64::INFINITY, f64::min);
    let high = quotients(high).into_iter().fold(f64::NEG_INFINITY, f64::max);
    ends(part, middle, low, high)
}

/// The end, or the larger of the two sides: the interval of a quotient is not symmetric.
fn ends(part: ResultPart, middle: Result<f64, &'static str>, low: f64, high: f64) -> Result<f64, &'static str> {
    match part {
        ResultPart::Low => Ok(low),
        ResultPart::High => Ok(high),
        _ => middle.map(|middle| (middle - low).max(high - middle)),
    }
}

/// What a variance is made of.
struct Moments<'a> {
    squares: Released<'a>,
    sum: Released<'a>,
    rows: Released<'a>,
    sample: bool,
}

impl Moments<'_> {
    /// What is taken off the number of rows.
    fn less(&self) -> i128 {
        i128::from(self.sample)
    }

    fn shown(&self, root: bool, part: ResultPart) -> Result<Result<f64, &'static str>, Error> {
        if u16::from(self.squares.word.decimals) != 2 * u16::from(self.sum.word.decimals) {
            return Err(Error::internal("squares have twice the decimals of their sum"));
        }
        let variance = self.variance();
        let middle = match variance {
            Ok(variance) if root && variance < 0.0 => Err("the noise outweighs the spread of the values"),
            Ok(variance) if root => Ok(variance.sqrt()),
            other => other,
        };
        if matches!(part, ResultPart::Value | ResultPart::Note) {
            return Ok(middle);
        }
        let exact = [&self.squares, &self.sum, &self.rows].iter().all(|released| released.error(each(3)) == 0);
        if exact {
            // The same numbers by another route would differ in their last digits.
            return Ok(middle.map(|middle| if part == ResultPart::Error { 0.0 } else { middle }));
        }
        Ok(self.interval().and_then(|[low, high]| {
            let end = |end: f64| if root { end.max(0.0).sqrt() } else { end };
            ends(part, middle, end(low), end(high))
        }))
    }

    /// (n Σx² − (Σx)²) / (n (n − 1)): exact before the division, wherever 128 bits hold it.
    fn variance(&self) -> Result<f64, &'static str> {
        let (rows, sum, squares) = (self.rows.sum, self.sum.sum, self.squares.sum);
        let divisor = rows.saturating_sub(self.less());
        if divisor < 1 {
            return Err(if self.sample {
                "fewer than 2 rows, by their noisy count"
            } else {
                "no rows, by their noisy count"
            });
        }
        let exact = || rows.checked_mul(squares)?.checked_sub(sum.checked_mul(sum)?);
        let above =
            exact().map_or_else(|| rows as f64 * squares as f64 - (sum as f64) * (sum as f64), |above| above as f64);
        Ok(unscale_by(above / (rows as f64) / (divisor as f64), self.squares.word.decimals))
    }

    /// The ends between which a variance lies whose parts lie between theirs.
    fn interval(&self) -> Result<[f64; 2], &'static str> {
        let rows_error = self.rows.error(each(3));
        let (few, many) = (self.rows.sum.saturating_sub(rows_error), self.rows.sum.saturating_add(rows_error));
        let less = self.less();
        if few - less < 1 {
            return Err("its count may be too small");
        }
        let [least, most] = self.squares.ends(each(3));
        let sums = self.sum.ends(each(3));
        let largest = sums[0].abs().max(sums[1].abs());
        let smallest = if sums[0] <= 0.0 && sums[1] >= 0.0 { 0.0 } else { sums[0].abs().min(sums[1].abs()) };
        let low = least - largest * largest / few as f64;
        let high = most - smallest * smallest / many as f64;
        // A positive number is least by the largest divisor, a negative one by the smallest.
        let by = |number: f64, rows: i128| number / (rows - less) as f64;
        Ok([by(low, if low >= 0.0 { many } else { few }), by(high, if high >= 0.0 { few } else { many })])
    }
}

/// `sum` / 10^`decimals`, correctly rounded where `sum` and the power are below 2^53.
pub(super) fn unscale(sum: i128, decimals: u8) -> f64 {
    unscale_by(sum as f64, decimals)
}

fn unscale_by(number: f64, decimals: u8) -> f64 {
    number / 10_f64.powi(i32::from(decimals))
}
