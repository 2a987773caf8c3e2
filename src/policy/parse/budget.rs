//! `[share.budget]` and `[ask.budget]`.

use crate::dp;

use super::super::books::Period;
use super::super::decimal::Decimal;
use super::super::error::ConfigError;
use super::super::party::{BudgetTerms, Sizes, WrittenOutputs};
use super::reader::{Key, Section, Value};
use super::share::one_of;

/// The most queries of a budget.
const QUERIES_MAX: u64 = 1_000_000;
/// The most decimals of an epsilon, so that its share of one query is an exact, small fraction.
const EPSILON_DECIMALS_MAX: u8 = 6;
/// The largest epsilon that is still worth calling one.
const EPSILON_MAX: i64 = 100;

const BUDGET: &[Key] = &[
    Key { name: "population", example: "population = \"shoppers\"" },
    Key { name: "queries", example: "queries = 10" },
    Key { name: "sizes", example: "sizes = { epsilon = 2.0 }" },
    Key { name: "outputs", example: "outputs = { epsilon = 4.0 }" },
    Key { name: "period", example: "period = \"month\"" },
];
const ASK_BUDGET: &[Key] = &[
    Key { name: "queries", example: "queries = 100" },
    Key { name: "sizes", example: "sizes = { epsilon = 2.0 }" },
    Key { name: "period", example: "period = \"month\"" },
];
const SIZES: &[Key] = &[
    Key { name: "epsilon", example: "epsilon = 2.0" },
    Key { name: "delta", example: "delta = 1e-7" },
    Key { name: "exact", example: "exact = true" },
];
const OUTPUTS: &[Key] = &[
    Key { name: "epsilon", example: "epsilon = 4.0" },
    Key { name: "delta", example: "delta = 1e-7" },
    Key { name: "noise", example: "noise = \"laplace\"" },
];

/// The law of the noise on answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Law {
    None,
    Laplace,
    Gaussian,
}

/// Reads `[share.budget]`.
pub(super) fn share_budget(value: &Value<'_, '_>, table: &str) -> Result<BudgetTerms, ConfigError> {
    let section = value.section(format!("[share.budget] of '{table}'"), BUDGET)?;
    let population = section.required("population")?.sql_name()?;
    let mut terms = budget(&section, population)?;
    let value = section.required("outputs")?;
    let (outputs, written) = outputs(value, table)?;
    terms.per_query = outputs.per_query(terms.queries).map_err(|reason| {
        value.error(
            format_args!("cannot be kept: {reason}"),
            "or write outputs = { noise = \"none\" } if exact answers may leave",
        )
    })?;
    (terms.outputs, terms.written) = (outputs, written);
    Ok(terms)
}

/// Reads `[ask.budget]`, whose population stands beside it.
pub(super) fn ask_budget(value: &Value<'_, '_>, population: String) -> Result<BudgetTerms, ConfigError> {
    if let Some(outputs) = value.names()?.iter().find(|entry| entry.name() == "outputs") {
        return Err(outputs.key_error(
            "does not belong here",
            "remove it: answers come to the asking party, and the other one's budget is charged for them",
        ));
    }
    budget(&value.section("[ask.budget]", ASK_BUDGET)?, population)
}

/// What the budgets of shares and asks have in common.
fn budget(section: &Section<'_, '_>, population: String) -> Result<BudgetTerms, ConfigError> {
    let queries_value = section.required("queries")?;
    let queries = queries_value.whole(1..=QUERIES_MAX)?;
    let sizes = sizes(section.required("sizes")?)?;
    let period = match section.optional("period") {
        None => Period::default(),
        Some(value) => *one_of(value, &Period::ALL.map(|period| (period.name(), period)))?,
    };
    Ok(BudgetTerms {
        population,
        queries,
        sizes,
        outputs: dp::OutputBudget::Exact,
        period,
        per_query: dp::QueryOutputs::Exact,
        written: None,
        line: section.line(),
        queries_line: queries_value.line(),
    })
}

/// `outputs = { epsilon = 4.0 }`, `{ epsilon = 4.0, delta = 1e-7, noise = "gaussian" }` or `{ noise = "none" }`.
fn outputs(value: &Value<'_, '_>, table: &str) -> Result<(dp::OutputBudget, Option<WrittenOutputs>), ConfigError> {
    let section = value.section(format!("outputs of '{table}'"), OUTPUTS)?;
    let (epsilon, delta) = (section.optional("epsilon"), section.optional("delta"));
    let law = match section.optional("noise") {
        None => None,
        Some(word) => {
            Some(*one_of(word, &[("none", Law::None), ("laplace", Law::Laplace), ("gaussian", Law::Gaussian)])?)
        }
    };
    if law == Some(Law::None) {
        return match epsilon.or(delta) {
            None => Ok((dp::OutputBudget::Exact, None)),
            Some(value) => Err(value.error(
                "stands beside noise = \"none\"",
                "write either { noise = \"none\" }, and answers are exact, or { epsilon = 4.0 }",
            )),
        };
    }
    let Some(epsilon_value) = epsilon else {
        return Err(section.error(
            format!("outputs of '{table}' lacks 'epsilon'"),
            "write outputs = { epsilon = 4.0 }, or outputs = { noise = \"none\" } if exact answers may leave",
        ));
    };
    let epsilon = self::epsilon(epsilon_value)?;
    let (budget, delta) = match (law, delta) {
        (Some(Law::Gaussian), Some(value)) => {
            let delta = self::delta(value, "")?;
            let ratio = ratio(value, delta)?;
            (dp::OutputBudget::Gaussian { epsilon: self::ratio(epsilon_value, epsilon)?, delta: ratio }, Some(delta))
        }
        (Some(Law::Gaussian), None) => {
            return Err(section.error(
                format!("outputs of '{table}' lacks 'delta'"),
                "gaussian noise needs one, well under one in the number of persons, for example: delta = 1e-7",
            ));
        }
        (_, Some(value)) => {
            return Err(value.error(
                "stands beside laplace noise, which needs none",
                "leave it out, or write noise = \"gaussian\"",
            ));
        }
        (_, None) => (dp::OutputBudget::Laplace { epsilon: ratio(epsilon_value, epsilon)? }, None),
    };
    Ok((budget, Some(WrittenOutputs { epsilon, delta })))
}

/// A positive number as an exact fraction.
fn ratio(value: &Value<'_, '_>, number: Decimal) -> Result<dp::Ratio, ConfigError> {
    let (numerator, denominator) = number.ratio();
    dp::Ratio::new(numerator.unsigned_abs(), denominator)
        .map_err(|reason| value.error(format_args!("is {number}"), reason.to_string()))
}

/// An epsilon above 0 that is still worth calling one.
fn epsilon(value: &Value<'_, '_>) -> Result<Decimal, ConfigError> {
    let epsilon = value.decimal()?;
    if epsilon <= Decimal::ZERO || epsilon > Decimal::from(EPSILON_MAX) || epsilon.decimals() > EPSILON_DECIMALS_MAX {
        return Err(value.error(
            format_args!("is {epsilon}"),
            format!("it must be above 0, at most {EPSILON_MAX}, with at most {EPSILON_DECIMALS_MAX} decimals"),
        ));
    }
    Ok(epsilon)
}

/// A delta above 0 and below 1; `or` says what may be done instead.
fn delta(value: &Value<'_, '_>, or: &str) -> Result<Decimal, ConfigError> {
    let delta = value.decimal()?;
    if delta <= Decimal::ZERO || delta >= Decimal::from(1) {
        return Err(value.error(format_args!("is {delta}"), format!("it must be above 0 and below 1{or}")));
    }
    Ok(delta)
}

fn sizes(value: &Value<'_, '_>) -> Result<Sizes, ConfigError> {
    let section = value.section("sizes", SIZES)?;
    let (epsilon, delta) = (section.optional("epsilon"), section.optional("delta"));
    if let Some(exact) = section.optional("exact") {
        if !exact.boolean()? {
            return Err(exact.error("is false, which says nothing", "write sizes = { epsilon = 2.0 }"));
        }
        if epsilon.is_some() || delta.is_some() {
            return Err(
                exact.error("stands beside epsilon or delta", "write either { exact = true } or { epsilon = 2.0 }")
            );
        }
        return Ok(Sizes::Exact);
    }
    let Some(value) = epsilon else {
        return Err(section.error(
            "sizes lacks 'epsilon'",
            "write sizes = { epsilon = 2.0 }, or sizes = { exact = true } if the numbers of matches may be seen exactly",
        ));
    };
    let epsilon = self::epsilon(value)?;
    let delta =
        delta.map(|value| self::delta(value, ", or left out for 1 / (10 N), N the larger table")).transpose()?;
    Ok(Sizes::Private { epsilon, delta })
}
