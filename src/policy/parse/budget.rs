//! `[share.budget]` and `[ask.budget]`.

use super::super::books::Period;
use super::super::decimal::Decimal;
use super::super::error::ConfigError;
use super::super::names;
use super::super::party::{BudgetTerms, Sizes};
use super::reader::{Key, LaterKey, Section, Value};
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
    Key { name: "outputs", example: "outputs = { noise = \"none\" }" },
    Key { name: "period", example: "period = \"forever\"" },
];
const ASK_BUDGET: &[Key] = &[
    Key { name: "queries", example: "queries = 100" },
    Key { name: "sizes", example: "sizes = { epsilon = 2.0 }" },
    Key { name: "period", example: "period = \"forever\"" },
];
const ASK_BUDGET_LATER: &[LaterKey] = &[LaterKey {
    name: "outputs",
    sentence: "remove it: results come to the asking party, the other one's budget is charged for them",
}];
const SIZES: &[Key] = &[
    Key { name: "epsilon", example: "epsilon = 2.0" },
    Key { name: "delta", example: "delta = 1e-7" },
    Key { name: "exact", example: "exact = true" },
];
const OUTPUTS: &[Key] = &[Key { name: "noise", example: "noise = \"none\"" }];
const OUTPUTS_LATER: &[LaterKey] = &[
    LaterKey {
        name: "epsilon",
        sentence: "results carry no noise yet: write outputs = { noise = \"none\" } if exact results may leave, or do not share the table",
    },
    LaterKey {
        name: "delta",
        sentence: "results carry no noise yet: write outputs = { noise = \"none\" } if exact results may leave, or do not share the table",
    },
];

/// Reads `[share.budget]`.
pub(super) fn share_budget(value: &Value<'_, '_>, table: &str) -> Result<BudgetTerms, ConfigError> {
    let section = value.section(format!("[share.budget] of '{table}'"), BUDGET, &[])?;
    let population = section.required("population")?.sql_name()?;
    let outputs = section.required("outputs")?.section(format!("outputs of '{table}'"), OUTPUTS, OUTPUTS_LATER)?;
    one_of(outputs.required("noise")?, &[("none", ())])?;
    budget(&section, population)
}

/// Reads `[ask.budget]`, whose population stands beside it.
pub(super) fn ask_budget(value: &Value<'_, '_>, population: String) -> Result<BudgetTerms, ConfigError> {
    budget(&value.section("[ask.budget]", ASK_BUDGET, ASK_BUDGET_LATER)?, population)
}

/// What the budgets of shares and asks have in common.
fn budget(section: &Section<'_, '_>, population: String) -> Result<BudgetTerms, ConfigError> {
    let queries = section.required("queries")?.whole(1..=QUERIES_MAX)?;
    let sizes = sizes(section.required("sizes")?)?;
    if let Some(period) = section.optional("period")
        && period.text()? != "forever"
    {
        return Err(period.error(
            format_args!(
                "is '{}', and budgets that renew are not supported by this version",
                names::shown(period.text()?)
            ),
            "write \"forever\" or leave it out",
        ));
    }
    Ok(BudgetTerms { population, queries, sizes, period: Period::Forever, line: section.line() })
}

fn sizes(value: &Value<'_, '_>) -> Result<Sizes, ConfigError> {
    let section = value.section("sizes", SIZES, &[])?;
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
    let epsilon = value.decimal()?;
    if epsilon <= Decimal::ZERO || epsilon > Decimal::from(EPSILON_MAX) || epsilon.decimals() > EPSILON_DECIMALS_MAX {
        return Err(value.error(
            format_args!("is {epsilon}"),
            format!("it must be above 0, at most {EPSILON_MAX}, with at most {EPSILON_DECIMALS_MAX} decimals"),
        ));
    }
    let delta = match delta {
        None => None,
        Some(value) => {
            let delta = value.decimal()?;
            if delta <= Decimal::ZERO || delta >= Decimal::from(1) {
                return Err(value.error(
                    format_args!("is {delta}"),
                    "it must be above 0 and below 1, or left out for 1 / (10 N), N the larger table",
                ));
            }
            Some(delta)
        }
    };
    Ok(Sizes::Private { epsilon, delta })
}
