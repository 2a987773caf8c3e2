//! One SELECT with private functions, read and computed in the clear.
//!
//! It reads the plain form only: FROM names the peer's table and relations of one's own, inner joins; ON and WHERE are
//! ANDs of conditions on one side and of one list of equations joined by OR. What is written another way has no truth
//! by persons, and the file then says what the truth is.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, JoinConstraint, JoinOperator,
    Select, TableFactor, Visit, Visitor, With,
};

use super::clear::{Clear, private_name};
use super::kit::rows_of;
use super::persons::{Identifier, Person, pairs, persons};

/// Decimals of one's own floats, unless the analyst sets another number.
const OWN_FLOAT_DECIMALS: usize = 6;

/// What a private function is about.
#[derive(Clone, Debug)]
enum Argument {
    Persons,
    Theirs(String),
    Ours(String),
}

/// A SELECT, read.
pub(super) struct Question {
    calls: Vec<(Function, Argument)>,
    /// The relation of one's own: `FROM … WHERE …`, with the CTEs around.
    with: String,
    own_from: String,
    own_where: String,
    table: String,
    alias: String,
    filter: String,
    /// Per alternative, (own expression, column of the peer's table).
    terms: Vec<Vec<(String, String)>>,
}

/// The value of a call that was answered.
pub(super) fn value_of<'a>(answers: &'a [(Function, String)], call: &Function) -> Option<&'a str> {
    answers.iter().find(|(known, _)| known == call).map(|(_, value)| value.as_str())
}

/// Which sides an expression reads.
struct Sides<'a> {
    alias: &'a str,
    theirs: &'a Schema,
    ours_read: bool,
    theirs_read: bool,
}

impl Visitor for Sides<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> std::ops::ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(parts) if parts[0].value == self.alias => self.theirs_read = true,
            Expr::Identifier(name) if self.theirs.field_with_name(&name.value).is_ok() => self.theirs_read = true,
            Expr::CompoundIdentifier(_) | Expr::Identifier(_) => self.ours_read = true,
            _ => {}
        }
        std::ops::ControlFlow::Continue(())
    }
}

fn split<'e>(expr: &'e Expr, by: &BinaryOperator, parts: &mut Vec<&'e Expr>) {
    match expr {
        Expr::Nested(inner) => split(inner, by, parts),
        Expr::BinaryOp { left, op, right } if op == by => {
            split(left, by, parts);
            split(right, by, parts);
        }
        other => parts.push(other),
    }
}

fn joined(parts: &[String], by: &str) -> String {
    match parts {
        [] => "TRUE".to_owned(),
        parts => parts.iter().map(|part| format!("({part})")).collect::<Vec<_>>().join(by),
    }
}

impl Question {
    /// Reads a SELECT; the reason why where it is not of the plain form.
    pub(super) fn read(clear: &Clear, select: &Select, with: &[&With], calls: &[Function]) -> Result<Self, String> {
        let mut factors = Vec::new();
        let mut conditions: Vec<&Expr> = select.selection.iter().collect();
        for from in &select.from {
            factors.push(&from.relation);
            for join in &from.joins {
                factors.push(&join.relation);
                match &join.join_operator {
                    JoinOperator::Join(JoinConstraint::On(on)) | JoinOperator::Inner(JoinConstraint::On(on)) => {
                        conditions.push(on);
                    }
                    JoinOperator::CrossJoin(_) => {}
                    other => return Err(format!("a join by {other:?}")),
                }
            }
        }
        let (mut table, mut own) = (None, Vec::new());
        for factor in factors {
            match factor {
                TableFactor::Table { name, alias, .. } if name.to_string().starts_with("advertiser.") => {
                    let known_as = alias.as_ref().map(|alias| alias.name.value.clone());
                    let name = name.to_string();
                    let bare = name.trim_start_matches("advertiser.").to_owned();
                    if table.replace((name, known_as.unwrap_or(bare))).is_some() {
                        return Err("two tables of peers".to_owned());
                    }
                }
                other if other.to_string().contains("advertiser.") => return Err(format!("FROM {other}")),
                other => own.push(other.to_string()),
            }
        }
        let (table, alias) = table.ok_or("no table of a peer")?;
        let theirs = clear.schema_of(&format!("SELECT * FROM {table}"))?;
        let sides = |expr: &Expr| {
            let mut sides = Sides { alias: &alias, theirs: &theirs, ours_read: false, theirs_read: false };
            let _ = Visit::visit(expr, &mut sides);
            (sides.ours_read, sides.theirs_read)
        };
        let (mut ours_pass, mut theirs_pass) = (Vec::new(), Vec::new());
        let mut terms: Vec<Vec<(String, String)>> = vec![Vec::new()];
        for condition in conditions {
            let mut conjuncts = Vec::new();
            split(condition, &BinaryOperator::And, &mut conjuncts);
            for conjunct in conjuncts {
                match sides(conjunct) {
                    (_, false) => ours_pass.push(conjunct.to_string()),
                    (false, true) => theirs_pass.push(conjunct.to_string()),
                    (true, true) => {
                        let mut alternatives = Vec::new();
                        split(conjunct, &BinaryOperator::Or, &mut alternatives);
                        let mut next = Vec::new();
                        for known in &terms {
                            for alternative in &alternatives {
                                let mut equations = Vec::new();
                                split(alternative, &BinaryOperator::And, &mut equations);
                                let mut term = known.clone();
                                for equation in equations {
                                    term.push(read_equation(equation, &sides)?);
                                }
                                next.push(term);
                            }
                        }
                        terms = next;
                    }
                }
            }
        }
        let calls = calls.iter().map(|call| Ok((call.clone(), read_argument(call, &sides)?)));
        let calls = calls.collect::<Result<_, String>>()?;
        let ctes: Vec<String> = with.iter().flat_map(|with| &with.cte_tables).map(ToString::to_string).collect();
        Ok(Question {
            calls,
            with: if ctes.is_empty() { String::new() } else { format!("WITH {} ", ctes.join(", ")) },
            own_from: own.join(" CROSS JOIN "),
            own_where: joined(&ours_pass, " AND "),
            table,
            alias,
            filter: joined(&theirs_pass, " AND "),
            terms,
        })
    }

    /// The values of the calls, as SQL literals.
    pub(super) async fn answer(&self, clear: &Clear) -> Result<Vec<(Function, String)>, String> {
        let share = clear.share(&self.table)?;
        let rules: Vec<Identity> =
            self.terms.iter().map(|term| Identity::of(&share, term)).collect::<Result<_, _>>()?;
        let distinct = |theirs: bool| -> Vec<String> {
            let mut columns: Vec<String> = Vec::new();
            for (_, argument) in &self.calls {
                let column = match argument {
                    Argument::Theirs(column) if theirs => column,
                    Argument::Ours(value) if !theirs => value,
                    _ => continue,
                };
                if !columns.contains(column) {
                    columns.push(column.clone());
                }
            }
            columns
        };
        let ours = Side::read(
            clear,
            &self.with,
            &format!("FROM {} WHERE {}", self.own_from, self.own_where),
            &rules.iter().flat_map(|rule| &rule.ours).cloned().collect::<Vec<_>>(),
            &distinct(false),
            "TRUE",
            &rules,
        )
        .await?;
        let theirs = Side::read(
            clear,
            "",
            &format!("FROM {} AS {}", self.table, self.alias),
            &rules.iter().flat_map(|rule| &rule.theirs).cloned().collect::<Vec<_>>(),
            &distinct(true),
            &self.filter,
            &rules,
        )
        .await?;
        // A person without a row that passes is nobody.
        let mut entries = theirs.persons.clone();
        for person in &mut entries {
            if !person.rows.iter().any(|row| theirs.passes[*row]) {
                person.holds.fill(None);
            }
        }
        let pairs = pairs(&ours.persons, &entries, rules.len());
        let mut answers = Vec::new();
        for (call, argument) in &self.calls {
            let name = private_name(call).unwrap_or_default();
            let value = match argument {
                Argument::Persons => format!("CAST({} AS BIGINT)", pairs.len()),
                Argument::Theirs(column) => {
                    let bounds = share.get("aggregates").and_then(|all| all.get(column));
                    let bounds = bounds.ok_or(format!("{column} is not aggregated"))?;
                    theirs.word(&name, column, bounds, pairs.iter().map(|pair| pair.1))?
                }
                Argument::Ours(value) => {
                    let bounds = share.get("requester_values").ok_or("no requester_values")?;
                    ours.word(&name, value, bounds, pairs.iter().map(|pair| pair.0))?
                }
            };
            answers.push((call.clone(), value));
        }
        Ok(answers)
    }
}

fn read_equation(equation: &Expr, sides: &impl Fn(&Expr) -> (bool, bool)) -> Result<(String, String), String> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = equation else {
        return Err(format!("the term {equation}"));
    };
    let (ours, theirs) = match (sides(left), sides(right)) {
        ((true, false), (false, true)) => (left, right),
        ((false, true), (true, false)) => (right, left),
        _ => return Err(format!("the term {equation}")),
    };
    let column = match theirs.as_ref() {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(parts) => &parts[parts.len() - 1],
        _ => return Err(format!("the term {equation}")),
    };
    Ok((ours.to_string(), column.value.clone()))
}

fn read_argument(call: &Function, sides: &impl Fn(&Expr) -> (bool, bool)) -> Result<Argument, String> {
    if call.filter.is_some() {
        return Err(call.to_string());
    }
    let FunctionArguments::List(list) = &call.args else { return Err(call.to_string()) };
    let argument = match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => return Ok(Argument::Persons),
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => argument,
        _ => return Err(call.to_string()),
    };
    Ok(match (sides(argument), argument) {
        ((false, false), _) => Argument::Persons,
        ((true, false), value) => Argument::Ours(value.to_string()),
        ((false, true), Expr::Identifier(name)) => Argument::Theirs(name.value.clone()),
        ((false, true), Expr::CompoundIdentifier(parts)) => Argument::Theirs(parts[parts.len() - 1].value.clone()),
        _ => return Err(call.to_string()),
    })
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

/// One party's rows.
struct Side {
    persons: Vec<Person>,
    passes: Vec<bool>,
    /// Values by column, as text, and their type.
    values: BTreeMap<String, (DataType, Vec<Option<String>>)>,
}

impl Side {
    async fn read(
        clear: &Clear,
        with: &str,
        from_where: &str,
        identifiers: &[String],
        values: &[String],
        passes: &str,
        rules: &[Identity],
    ) -> Result<Self, String> {
        let mut cells: Vec<String> = identifiers.iter().map(|cell| format!("CAST({cell} AS VARCHAR)")).collect();
        cells.extend(values.iter().map(|value| format!("CAST({value} AS VARCHAR)")));
        cells.push(format!("CAST(({passes}) AS VARCHAR)"));
        let sql = format!("{with}SELECT {} {from_where}", columns(&cells));
        let rows = clear.rows(&sql).await?;
        let mut keys = Vec::new();
        for row in &rows {
            let mut at = 0;
            let spelt = rules.iter().map(|rule| {
                at += rule.ours.len();
                rule.spell(&row[at - rule.ours.len()..at])
            });
            keys.push(spelt.collect::<Vec<_>>());
        }
        let types = clear.schema_of(&format!("{with}SELECT {} {from_where}", columns(values)))?;
        let column = |at: usize| rows.iter().map(|row| row[at].clone()).collect();
        let values = values.iter().enumerate().map(|(number, value)| {
            let kind = types.field(number).data_type().clone();
            (value.clone(), (kind, column(identifiers.len() + number)))
        });
        let values = values.collect();
        let passes = rows.iter().map(|row| row[row.len() - 1].as_deref() == Some("true")).collect();
        Ok(Side { persons: persons(&keys, rules.len()), passes, values })
    }

    /// One private function over some of the persons.
    fn word(
        &self,
        name: &str,
        column: &str,
        bounds: &toml::Value,
        matched: impl Iterator<Item = usize> + Clone,
    ) -> Result<String, String> {
        let (kind, cells) = &self.values[column];
        let bound = |name: &str| bounds.get(name).map(|bound| bound.to_string());
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
        let finite = |text: &&String| !is_float || text.parse::<f64>().is_ok_and(f64::is_finite);
        let cells_of = |person: usize| {
            let rows = self.persons[person].rows.iter().filter(|row| self.passes[**row]);
            rows.filter_map(|row| cells[*row].as_ref()).filter(finite)
        };
        let rows = || -> Result<i128, String> {
            let most: usize = bound("max_rows").ok_or("no max_rows")?.parse().map_err(|_| "max_rows")?;
            Ok(matched.clone().map(|person| cells_of(person).count().min(most) as i128).sum())
        };
        if name == "private_intersect_count" {
            return Ok(format!("CAST({} AS BIGINT)", rows()?));
        }
        let low = units(&bound("min").ok_or("no min")?, false, decimals)?;
        let high = units(&bound("max").ok_or("no max")?, false, decimals)?;
        let mut sum = 0;
        for person in matched.clone() {
            let cells: Vec<i128> =
                cells_of(person).map(|cell| units(cell, is_float, decimals)).collect::<Result<_, _>>()?;
            if !cells.is_empty() {
                sum += cells.iter().sum::<i128>().clamp(low, high);
            }
        }
        let double = sum as f64 / 10f64.powi(decimals as i32);
        Ok(match (name, kind) {
            ("private_intersect_avg", _) => match rows()? {
                0 => "CAST(NULL AS DOUBLE)".to_owned(),
                rows => format!("CAST('{:?}' AS DOUBLE)", double / rows as f64),
            },
            (_, DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..)) => {
                let (whole, part) = (sum.abs() / 10i128.pow(decimals as u32), sum.abs() % 10i128.pow(decimals as u32));
                let sign = if sum < 0 { "-" } else { "" };
                format!("CAST('{sign}{whole}.{part:0decimals$}' AS DECIMAL(38, {decimals}))")
            }
            _ if is_float => format!("CAST('{double:?}' AS DOUBLE)"),
            _ => format!("CAST({sum} AS BIGINT)"),
        })
    }
}

fn columns(cells: &[String]) -> String {
    match cells {
        [] => "TRUE".to_owned(),
        cells => cells.iter().enumerate().map(|(at, cell)| format!("{cell} AS c{at}")).collect::<Vec<_>>().join(", "),
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
    fn schema_of(&self, sql: &str) -> Result<Schema, String> {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let frame = self.context.sql(sql).await.map_err(|error| format!("{sql}: {error}"))?;
                Ok(frame.schema().as_arrow().clone())
            })
        })
    }
}
