//! A question that was read, computed by persons.
//!
//! What each word of an answer is:
//! - a person's value is the exact sum (of squares, for variances) of its rows that pass the filter and the word's own
//!   condition, clipped to the bounds of the share; who has no such row with a value adds 0; COUNT(column) counts such rows
//!   up to `max_rows`;
//! - by labels: the rows of that label, in the labels of which a person has most rows that pass the filter, at most
//!   `max_labels` of them, those first in the list where it has equally many;
//! - by groups of one's own: each person is in the group that sorts first of those that its rows are in, with these rows.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::{DataType, Schema};

use super::clear::{Clear, private_name};
use super::derive::{Argument, Call, Question};
use super::kit::rows_of;
use super::persons::{Identifier, Person, pairs, persons};

/// Decimals of one's own floats, unless the analyst sets another number.
const OWN_FLOAT_DECIMALS: usize = 6;

/// One row of an answer, as SQL.
pub(super) struct Answer {
    /// One per expression of GROUP BY.
    pub(super) groups: Vec<String>,
    /// One per call.
    pub(super) values: Vec<String>,
}

/// The rows of a cell: of one group and one label.
struct Cell<'a> {
    label: Option<&'a str>,
    pairs: Vec<(usize, usize)>,
}

impl Question {
    /// The rows of the answer.
    pub(super) async fn answer(&self, clear: &Clear) -> Result<Vec<Answer>, String> {
        let share = clear.share(&self.table)?;
        let rules: Vec<Identity> =
            self.terms.iter().map(|term| Identity::of(&share, term)).collect::<Result<_, _>>()?;
        let mut cells = [Vec::new(), vec![self.filter.clone()]];
        for Call { argument, when, .. } in &self.calls {
            match argument {
                Argument::Persons => {}
                Argument::Theirs(column) => cells[1].push(column.clone()),
                Argument::Ours(value) => cells[0].push(value.clone()),
            }
            cells[1].push(when.clone());
        }
        for group in &self.groups {
            match &group.theirs {
                Some(column) => cells[1].push(column.clone()),
                None => cells[0].push(group.expr.to_string()),
            }
        }
        let [own_cells, their_cells] = cells;
        let parts = |side: fn(&Identity) -> &Vec<String>| rules.iter().map(|rule| side(rule).clone()).collect();
        let from = format!("FROM {} WHERE {}", self.own_from, self.own_where);
        let ours = Side::read(clear, &self.with, &from, parts(|rule| &rule.ours), &rules, own_cells).await?;
        let from = format!("FROM {} AS {}", self.table, self.alias);
        let theirs = Side::read(clear, "", &from, parts(|rule| &rule.theirs), &rules, their_cells).await?;

        // A person without a row that passes is nobody.
        let mut entries = theirs.persons.clone();
        for person in &mut entries {
            if !person.rows.iter().any(|row| theirs.holds(&self.filter, *row)) {
                person.holds.fill(None);
            }
        }
        let pairs = pairs(&ours.persons, &entries, rules.len());

        let own_groups: Vec<String> =
            self.groups.iter().filter(|group| group.theirs.is_none()).map(|group| group.expr.to_string()).collect();
        let group_of = |row: usize| -> Vec<Option<&str>> { own_groups.iter().map(|by| ours.text(by, row)).collect() };
        // NULL sorts last.
        let order = |group: &Vec<Option<&str>>| -> Vec<(bool, String)> {
            group.iter().map(|cell| (cell.is_none(), cell.unwrap_or_default().to_owned())).collect()
        };
        let mut own: Vec<Vec<Option<&str>>> = (0..ours.rows).map(group_of).collect();
        own.sort_by_key(order);
        own.dedup();
        if own_groups.is_empty() {
            own = vec![Vec::new()];
        }
        let first = |person: usize| ours.persons[person].rows.iter().map(|row| group_of(*row)).min_by_key(order);

        let label_column = self.groups.iter().find_map(|group| group.theirs.as_deref());
        let labels = label_column.map(|column| labels(&share, column)).transpose()?;
        let minimum = match self.groups.is_empty() {
            true => 0,
            false => share.get("minimum_matched").and_then(toml::Value::as_integer).unwrap_or(50) as usize,
        };
        let mut answers = Vec::new();
        for group in &own {
            let in_group: Vec<(usize, usize)> = match own_groups.is_empty() {
                true => pairs.clone(),
                false => pairs.iter().copied().filter(|pair| first(pair.0).as_ref() == Some(group)).collect(),
            };
            let all = vec![None];
            let shown = labels.as_ref().map_or(all, |labels| labels.iter().map(|label| Some(label.as_str())).collect());
            for label in shown {
                let cell = Cell { label, pairs: in_group.clone() };
                let our_rows = |person: usize| -> Vec<usize> {
                    let rows = ours.persons[person].rows.iter().copied();
                    rows.filter(|row| own_groups.is_empty() || group_of(*row) == *group).collect()
                };
                let their_rows = |person: usize, when: &str| -> Vec<usize> {
                    let passing: Vec<usize> = theirs.persons[person]
                        .rows
                        .iter()
                        .copied()
                        .filter(|row| theirs.holds(&self.filter, *row))
                        .collect();
                    let counted = match (label_column, &labels) {
                        (Some(column), Some(labels)) => first_labels(&share, labels, |label| {
                            passing.iter().filter(|row| theirs.text(column, **row) == Some(label)).count()
                        }),
                        _ => Vec::new(),
                    };
                    let in_cell = |row: &usize| match (label_column, cell.label) {
                        (Some(column), Some(label)) => {
                            counted.contains(&label) && theirs.text(column, *row) == Some(label)
                        }
                        _ => true,
                    };
                    passing.iter().copied().filter(in_cell).filter(|row| theirs.holds(when, *row)).collect()
                };
                let persons =
                    |when: &str| cell.pairs.iter().filter(|pair| !their_rows(pair.1, when).is_empty()).count();
                let mut values = Vec::new();
                for Call { function, argument, when } in &self.calls {
                    let name = private_name(function).unwrap_or_default();
                    let bounds = match argument {
                        Argument::Persons => None,
                        Argument::Theirs(column) => share.get("aggregates").and_then(|all| all.get(column)),
                        Argument::Ours(_) => share.get("requester_values"),
                    };
                    let bounds = || bounds.ok_or(format!("{function} is not in the share"));
                    let value = match argument {
                        Argument::Persons => format!("CAST({} AS BIGINT)", persons(when)),
                        Argument::Theirs(column) => {
                            let rows = cell.pairs.iter().map(|pair| their_rows(pair.1, when)).collect();
                            theirs.word(&name, column, bounds()?, rows)?
                        }
                        Argument::Ours(value) => {
                            let rows = cell.pairs.iter().map(|pair| our_rows(pair.0)).collect();
                            ours.word(&name, value, bounds()?, rows)?
                        }
                    };
                    let hidden = persons("TRUE") < minimum;
                    values.push(if hidden { format!("nullif({value}, {value})") } else { value });
                }
                let mut own_cells = group.iter();
                let groups = self.groups.iter().map(|by| {
                    let (text, kind) = match &by.theirs {
                        Some(column) => (cell.label, theirs.kind(column)),
                        None => (own_cells.next().copied().flatten(), ours.kind(&by.expr.to_string())),
                    };
                    let text = text.map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")));
                    format!("arrow_cast({text}, '{kind}')")
                });
                answers.push(Answer { groups: groups.collect(), values });
            }
        }
        Ok(answers)
    }
}

/// The public labels of a column.
fn labels(share: &toml::Table, column: &str) -> Result<Vec<String>, String> {
    let listed = share.get("group_by").and_then(|columns| columns.get(column)).and_then(toml::Value::as_array);
    let listed = listed.ok_or(format!("no labels of {column}"))?;
    Ok(listed.iter().map(|label| label.as_str().map_or_else(|| label.to_string(), str::to_owned)).collect())
}

/// The labels that one person counts in.
fn first_labels<'l>(share: &toml::Table, labels: &'l [String], rows: impl Fn(&str) -> usize) -> Vec<&'l str> {
    let most = share.get("max_labels").and_then(toml::Value::as_integer).unwrap_or(1) as usize;
    let mut held: Vec<&str> = labels.iter().map(String::as_str).filter(|label| rows(label) > 0).collect();
    // Stable, so that the list's order decides among equals.
    held.sort_by_key(|label| std::cmp::Reverse(rows(label)));
    held.truncate(most);
    held
}

/// One alternative: an identifier of the share, and what makes it up on either side.
struct Identity {
    normaliser: String,
    ours: Vec<String>,
    theirs: Vec<String>,
}

impl Identity {
    fn of(share: &toml::Table, term: &[(String, String)]) -> Result<Self, String> {
        let identifiers = share.get("identifiers").and_then(toml::Value::as_table).ok_or("no identifiers")?;
        for (name, rule) in identifiers {
            let (columns, normaliser) = match rule {
                toml::Value::String(normaliser) => (vec![name.as_str()], normaliser.as_str()),
                rule => (
                    rule["columns"].as_array().unwrap().iter().map(|column| column.as_str().unwrap()).collect(),
                    rule["as"].as_str().unwrap(),
                ),
            };
            let own = |column: &&str| term.iter().find(|(_, theirs)| theirs == column).map(|(ours, _)| ours.clone());
            let ours: Option<Vec<String>> = columns.iter().map(own).collect();
            if let (Some(ours), true) = (ours, columns.len() == term.len()) {
                let theirs = columns.iter().map(|column| (*column).to_owned()).collect();
                return Ok(Identity { normaliser: normaliser.to_owned(), ours, theirs });
            }
        }
        Err(format!("no identifier for {term:?}"))
    }

    /// The one spelling of some parts; none where a part is null or identifies nobody.
    fn spell(&self, parts: &[Option<String>]) -> Option<Identifier> {
        let spelt: Option<Vec<String>> = parts.iter().map(|part| spell(&self.normaliser, part.as_deref()?)).collect();
        let spelt = spelt?;
        Some(match spelt.as_slice() {
            [one] => one.clone().into_bytes(),
            parts => parts
                .iter()
                .flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part.as_bytes()].concat())
                .collect(),
        })
    }
}

/// A normaliser for plain cases: tidy addresses, numbers of North America.
fn spell(normaliser: &str, text: &str) -> Option<String> {
    let spelt = match normaliser {
        "exact/1" => text.to_owned(),
        "email/1" => text.trim().to_lowercase(),
        "phone/1:US" => {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            format!("+1{}", &digits[digits.len().checked_sub(10)?..])
        }
        other => panic!("no plain spelling by {other}"),
    };
    let complete = normaliser != "email/1" || spelt.contains('@');
    Some(spelt).filter(|spelt| complete && !spelt.is_empty())
}

/// One party's rows, and what expressions are in each.
struct Side {
    persons: Vec<Person>,
    rows: usize,
    cells: BTreeMap<String, (DataType, Vec<Option<String>>)>,
}

impl Side {
    async fn read(
        clear: &Clear,
        with: &str,
        from_where: &str,
        identifiers: Vec<Vec<String>>,
        rules: &[Identity],
        mut wanted: Vec<String>,
    ) -> Result<Self, String> {
        wanted.sort();
        wanted.dedup();
        let all: Vec<String> = identifiers.concat().into_iter().chain(wanted.iter().cloned()).collect();
        let named = |cells: Vec<String>| -> String {
            cells.iter().enumerate().map(|(at, cell)| format!("{cell} AS c{at}")).collect::<Vec<_>>().join(", ")
        };
        let texts = named(all.iter().map(|cell| format!("CAST(({cell}) AS VARCHAR)")).collect());
        let rows = clear.rows(&format!("{with}SELECT {texts} {from_where}")).await?;
        let types = clear.schema_of(&format!("{with}SELECT {} {from_where}", named(all.clone())))?;
        let keys: Vec<Vec<Option<Identifier>>> = rows
            .iter()
            .map(|row| {
                let mut at = 0;
                let spelt = rules.iter().map(|rule| {
                    at += rule.ours.len();
                    rule.spell(&row[at - rule.ours.len()..at])
                });
                spelt.collect()
            })
            .collect();
        let first = all.len() - wanted.len();
        let cells = wanted.into_iter().enumerate().map(|(at, cell)| {
            let kind = types.field(first + at).data_type().clone();
            (cell, (kind, rows.iter().map(|row| row[first + at].clone()).collect()))
        });
        Ok(Side { persons: persons(&keys, rules.len()), rows: rows.len(), cells: cells.collect() })
    }

    fn kind(&self, cell: &str) -> &DataType {
        &self.cells[cell].0
    }

    fn text(&self, cell: &str, row: usize) -> Option<&str> {
        self.cells[cell].1[row].as_deref()
    }

    /// Whether a condition is true of a row.
    fn holds(&self, condition: &str, row: usize) -> bool {
        condition == "TRUE" || self.text(condition, row) == Some("true")
    }

    /// One private function over the rows of each person.
    fn word(&self, name: &str, column: &str, bounds: &toml::Value, persons: Vec<Vec<usize>>) -> Result<String, String> {
        let kind = match self.kind(column) {
            DataType::Dictionary(_, plain) => plain.as_ref(),
            plain => plain,
        };
        let bound = |name: &str| bounds.get(name).map(ToString::to_string);
        let is_float = matches!(kind, DataType::Float32 | DataType::Float64);
        let decimals = match kind {
            DataType::Float32 | DataType::Float64 => {
                bounds.get("decimals").and_then(toml::Value::as_integer).map_or(OWN_FLOAT_DECIMALS, |d| d as usize)
            }
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
                *scale as usize
            }
            _ => 0,
        };
        let finite = |text: &&str| !is_float || text.parse::<f64>().is_ok_and(f64::is_finite);
        let texts: Vec<Vec<&str>> = persons
            .iter()
            .map(|rows| rows.iter().filter_map(|row| self.text(column, *row)).filter(finite).collect())
            .collect();
        let most: usize = bound("max_rows").ok_or("no max_rows")?.parse().map_err(|_| "max_rows")?;
        let rows: usize = texts.iter().map(|texts| texts.len().min(most)).sum();
        if name == "private_intersect_count" {
            return Ok(format!("CAST({rows} AS BIGINT)"));
        }
        let (min, max) = (bound("min").ok_or("no min")?, bound("max").ok_or("no max")?);
        let (low, high) = (units(&min, false, decimals)?, units(&max, false, decimals)?);
        let squares_max = match bound("squares_max") {
            Some(bound) => units(&bound, false, 2 * decimals)?,
            None => low.abs().max(high.abs()).pow(2),
        };
        let (mut sum, mut squares) = (0, 0);
        for texts in texts.iter().filter(|texts| !texts.is_empty()) {
            let values: Vec<i128> =
                texts.iter().map(|text| units(text, is_float, decimals)).collect::<Result<_, _>>()?;
            sum += values.iter().sum::<i128>().clamp(low, high);
            squares += values.iter().map(|value| value * value).sum::<i128>().clamp(0, squares_max);
        }
        let unit = 10f64.powi(decimals as i32);
        let (total, count) = (sum as f64 / unit, rows as f64);
        let spread = squares as f64 / (unit * unit) - total * total / count;
        let double = |value: Option<f64>| match value {
            Some(value) => format!("CAST('{value:?}' AS DOUBLE)"),
            None => "CAST(NULL AS DOUBLE)".to_owned(),
        };
        Ok(match (name, kind) {
            ("private_intersect_avg", _) => double((rows > 0).then(|| total / count)),
            ("private_intersect_var", _) => double((rows > 1).then(|| spread / (count - 1.0))),
            ("private_intersect_var_pop", _) => double((rows > 1).then(|| spread / count)),
            ("private_intersect_stddev", _) => double((rows > 1).then(|| (spread / (count - 1.0)).sqrt())),
            ("private_intersect_stddev_pop", _) => double((rows > 1).then(|| (spread / count).sqrt())),
            (_, DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..)) => {
                let (whole, part) = (sum.abs() / 10i128.pow(decimals as u32), sum.abs() % 10i128.pow(decimals as u32));
                let sign = if sum < 0 { "-" } else { "" };
                format!("CAST('{sign}{whole}.{part:0decimals$}' AS DECIMAL(38, {decimals}))")
            }
            _ if is_float => double(Some(total)),
            _ => format!("CAST({sum} AS BIGINT)"),
        })
    }
}

/// A number's text as an integer of so many decimals; floats are rounded by the formatter, exactly and half to even.
fn units(text: &str, is_float: bool, decimals: usize) -> Result<i128, String> {
    let text = match is_float {
        true => format!("{:.decimals$}", text.parse::<f64>().map_err(|_| format!("{text} is no float"))?),
        false => text.to_owned(),
    };
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    if part.len() > decimals && part[decimals..].contains(|c| c != '0') {
        return Err(format!("{text} has more than {decimals} decimals"));
    }
    format!("{whole}{part:0<decimals$.decimals$}").parse().map_err(|_| format!("{text} is no number"))
}

impl Clear {
    /// What the policy says of a peer's table.
    fn share(&self, table: &str) -> Result<toml::Table, String> {
        let shares = self.policy["share"].as_array().ok_or("no shares")?;
        let bare = table.trim_start_matches("advertiser.");
        let share = shares.iter().find(|share| share["table"].as_str() == Some(bare));
        share.and_then(toml::Value::as_table).cloned().ok_or(format!("no share of {table}"))
    }

    async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let said = |error| format!("{sql}: {error}");
        let batches = self.context.sql(sql).await.map_err(said)?.collect().await.map_err(said)?;
        rows_of(&batches).map_err(|error| format!("{sql}: {error}"))
    }

    /// The columns of a query.
    pub(super) fn schema_of(&self, sql: &str) -> Result<Schema, String> {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let frame = self.context.sql(sql).await.map_err(|error| format!("{sql}: {error}"))?;
                Ok(frame.schema().as_arrow().clone())
            })
        })
    }
}
