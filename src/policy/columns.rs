//! Whether a share fits its table: what can only be known once the table's columns are.

use arrow::datatypes::{DataType, Schema};

use crate::dp;

use super::error::ConfigError;
use super::names;
use super::party::{AggregateRule, GroupBy, Party, Share};
use super::words::{squares_decimals, sum_decimals};

impl Party {
    /// Checks that all columns that a share names exist, have fitting types, and that no sum within its
    /// bounds can overflow. For start-up, and before each answer: files change.
    ///
    /// # Errors
    /// The first thing that does not fit, with its line in the policy.
    pub fn check_columns(&self, share: &Share, table: &Schema) -> Result<(), ConfigError> {
        let missing = |line: usize, column: &str| {
            let known = table.fields().iter().map(|field| field.name().as_str());
            self.error(
                line,
                format!("the table '{}' has no column '{}'", share.table, names::shown(column)),
                names::advice(column, "its columns", known),
            )
        };
        let type_of = |line: usize, column: &str| {
            let mut found = table.fields().iter().filter(|field| field.name() == column);
            match (found.next(), found.next()) {
                (Some(field), None) => Ok(field.data_type()),
                (Some(_), Some(_)) => Err(self.error(
                    line,
                    format!("the table '{}' has several columns '{}'", share.table, names::shown(column)),
                    "give each column of the file a name of its own",
                )),
                (None, _) => Err(missing(line, column)),
            }
        };
        for identifier in &share.identifiers {
            for column in &identifier.columns {
                identifier.normaliser.check_type(type_of(identifier.line, column)?).map_err(|reason| {
                    self.error(
                        identifier.line,
                        format!(
                            "column '{}' of '{}' cannot be an identifier: {reason}",
                            names::shown(column),
                            share.table
                        ),
                        "name a column of a type that the normaliser takes",
                    )
                })?;
            }
        }
        for rule in &share.aggregates {
            let column = type_of(rule.line, &rule.column)?;
            self.check_aggregate(share, rule, column)?;
        }
        for column in &share.filter_on {
            type_of(share.lines.filter_on.unwrap_or(share.lines.share), column)?;
        }
        for group in &share.group_by {
            self.check_group(share, group, type_of(group.line, &group.column)?)?;
        }
        Ok(())
    }

    /// A column that is grouped by holds texts, whole numbers, dates or booleans, and each label is one of them.
    fn check_group(&self, share: &Share, group: &GroupBy, column: &DataType) -> Result<(), ConfigError> {
        let values = match column {
            DataType::Dictionary(_, values) => values.as_ref(),
            plain => plain,
        };
        let error = |what: String, advice: &str| {
            let name = format!("column '{}' of '{}'", names::shown(&group.column), share.table);
            Err(self.error(group.line, format!("{name} {what}"), advice))
        };
        let fits = |label: &String| match values {
            DataType::Boolean => label == "true" || label == "false",
            DataType::Date32 | DataType::Date64 => is_date(label),
            // In the one spelling that SQL gives a number: no other would ever be met.
            integer if integer.is_integer() => label.parse::<i128>().is_ok_and(|number| number.to_string() == *label),
            _ => true,
        };
        if !(values.is_integer() || values.is_string() || is_day(values) || *values == DataType::Boolean) {
            return error(
                format!("is of type {column}, which has no labels"),
                "group by a column of texts, whole numbers, dates or booleans",
            );
        }
        match group.labels.iter().find(|label| !fits(label)) {
            None => Ok(()),
            Some(label) => error(
                format!("is of type {column}, and '{}' is none of its values", names::shown(label)),
                "write labels as SQL shows them: 5, 2026-03-01, true",
            ),
        }
    }

    fn check_aggregate(&self, share: &Share, rule: &AggregateRule, column: &DataType) -> Result<(), ConfigError> {
        let name = format!("column '{}' of '{}'", names::shown(&rule.column), share.table);
        let error = |what: String, advice: String| Err(self.error(rule.line, what, advice));
        let Some(clip) = rule.clip else { return Ok(()) };
        if matches!(column, DataType::Float32 | DataType::Float64) && rule.decimals.is_none() {
            return error(
                format!("{name} is of type {column}, and its rule lacks 'decimals'"),
                "say how many decimals a sum keeps, for example: decimals = 2".to_owned(),
            );
        }
        let Some(decimals) = sum_decimals(column, rule.decimals.unwrap_or(0)) else {
            return error(
                format!("{name} is of type {column}, which cannot be summed"),
                format!(
                    "leave out min and max, so that it can be counted: {} = {{ max_rows = {} }}",
                    names::toml_key(&rule.column),
                    rule.max_rows
                ),
            );
        };
        if let Some(written) = rule.decimals
            && written != decimals
        {
            return error(
                format!("{name} is of type {column}, whose sums have {decimals} decimals, and its rule says {written}"),
                "leave out 'decimals': it is for floats".to_owned(),
            );
        }
        let mut units = [0; 2];
        for (unit, (key, bound)) in units.iter_mut().zip([("min", clip.min), ("max", clip.max)]) {
            let Some(whole) = bound.units(decimals) else {
                return error(
                    format!("{key} = {bound} does not fit {name}, whose sums have {decimals} decimals"),
                    format!("write {key} with at most {decimals} decimals"),
                );
            };
            *unit = whole;
        }
        let [min, max] = units;
        // The bound that is written: a default that does not fit is refused where somebody asks for it.
        let squares = match rule.squares {
            None => None,
            Some(bound) => {
                match squares_decimals(column, rule.decimals.unwrap_or(0)).and_then(|twice| bound.units(twice)) {
                    Some(units) => Some(units),
                    None => {
                        return error(
                            format!(
                                "squares_max = {bound} does not fit {name}, whose squares have {} decimals",
                                2 * decimals
                            ),
                            "write it in the square of the column's unit, with fewer decimals".to_owned(),
                        );
                    }
                }
            }
        };
        let fits = |min, max| {
            dp::Clip::new(min, max).map_err(|reason| reason.to_string()).and_then(|clip| {
                // The noise of a query of this aggregate alone: of more, each question is held against its own.
                let noise = share.budget.outputs_per_query().word_noise(clip.sensitivity_own(), 1);
                dp::word_width(share.persons_max, clip, noise.tail()).map_err(|reason| reason.to_string())
            })
        };
        if let Err(reason) = fits(min, max) {
            return error(
                format!("the bounds of {name} are too wide: {reason}"),
                "narrow min and max, or lower persons_max in [limits]".to_owned(),
            );
        }
        if let Some(Err(reason)) = squares.map(|most| fits(0, most)) {
            return error(
                format!("the bound squares_max of {name} is too wide: {reason}"),
                "lower squares_max, or persons_max in [limits]".to_owned(),
            );
        }
        Ok(())
    }
}

fn is_day(column: &DataType) -> bool {
    matches!(column, DataType::Date32 | DataType::Date64)
}

/// Whether a label is a date as SQL shows it, such as 2026-03-01.
fn is_date(label: &str) -> bool {
    label.parse::<chrono::NaiveDate>().is_ok_and(|date| date.to_string() == label)
}
