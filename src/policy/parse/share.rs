//! `[[share]]` and `[[ask]]`.

use crate::psi::normalise::{Normaliser, NormaliserNameError};
use crate::psi::{COLUMNS_MAX, FilteredRows, LABELS_MAX, PARTS_MAX, is_column};

use super::super::decimal::Decimal;
use super::super::error::ConfigError;
use super::super::names;
use super::super::party::{
    AggregateRule, Ask, AskedRows, Clip, GroupBy, Identifier, Party, RequesterValues, Share, ShareLines, Sizes,
};
use super::super::unnamed::ANYBODY;
use super::budget::{ask_budget, share_budget};
use super::reader::{Key, Section, Value};

/// The most identifiers, aggregated columns and filter columns that one share names.
const SHARED_MAX: usize = 256;
/// The most columns of one composite identifier.
const COMPOSITE_MAX: usize = 16;
/// The most decimals of a fixed point: 10^18 units still fit 64 bits.
const DECIMALS_MAX: u64 = 18;
/// The most rows of one person that a count may count.
const MAX_ROWS_MAX: u64 = 1_000_000_000;
/// The most bytes of one label.
const LABEL_BYTES_MAX: usize = 256;
/// The least noisy number of matches, where the policy does not say.
const MINIMUM_MATCHED: u64 = 50;
/// The identifiers per query that an ask's budget is computed for, where the policy does not say.
const ASKED_IDENTIFIERS: u8 = 3;

const SHARE: &[Key] = &[
    Key { name: "table", example: "table = \"purchases\"" },
    Key { name: "with", example: "with = [\"publisher\"]" },
    Key { name: "identifiers", example: "identifiers = { email = \"email/1\" }" },
    Key { name: "aggregates", example: "aggregates = { amount = { min = 0, max = 500, max_rows = 20 } }" },
    Key { name: "requester_values", example: "requester_values = false" },
    Key { name: "filter_on", example: "filter_on = [\"bought_at\"]" },
    Key { name: "group_by", example: "group_by = { category = [\"toys\", \"books\", \"garden\"] }" },
    Key { name: "max_labels", example: "max_labels = 2" },
    Key { name: "max_parts", example: "max_parts = 20" },
    Key { name: "minimum_matched", example: "minimum_matched = 50" },
    Key { name: "filtered_rows", example: "filtered_rows = \"hide\"" },
    Key { name: "approval", example: "approval = \"required\"" },
    Key {
        name: "budget",
        example: "[share.budget], and in it: population = \"shoppers\", queries = 10, sizes = { epsilon = 2.0 }, outputs = { epsilon = 4.0 }",
    },
];
const IDENTIFIER: &[Key] = &[
    Key { name: "columns", example: "columns = [\"surname\", \"born\"]" },
    Key { name: "as", example: "as = \"exact/1\"" },
];
const AGGREGATE: &[Key] = &[
    Key { name: "min", example: "min = 0" },
    Key { name: "max", example: "max = 500" },
    Key { name: "max_rows", example: "max_rows = 20" },
    Key { name: "decimals", example: "decimals = 2" },
    Key { name: "squares_max", example: "squares_max = 250000" },
];
const REQUESTER_VALUES: &[Key] = &[
    Key { name: "min", example: "min = 0" },
    Key { name: "max", example: "max = 100" },
    Key { name: "max_rows", example: "max_rows = 20" },
];
const ASK: &[Key] = &[
    Key { name: "of", example: "of = [\"publisher\"]" },
    Key { name: "population", example: "population = \"shoppers\"" },
    Key { name: "rows", example: "rows = \"pad\"" },
    Key { name: "identifiers", example: "identifiers = 3" },
    Key { name: "budget", example: "[ask.budget], and in it: queries = 100, sizes = { epsilon = 2.0 }" },
];
/// Reads all `[[share]]`; tables and peers are those of `party`.
pub(super) fn shares(top: &Section<'_, '_>, party: &Party) -> Result<Vec<Share>, ConfigError> {
    let mut shares: Vec<Share> = Vec::new();
    for value in super::each(top, "share")? {
        let share = share(&value, party, &shares)?;
        shares.push(share);
    }
    // One account pays for all shares of its population, so all are computed for the widest of them,
    // and for padding if any of them pads.
    let accounts: Vec<(u8, bool)> = shares
        .iter()
        .map(|share| {
            let same = || shares.iter().filter(|other| other.budget.population == share.budget.population);
            let widest = same().map(|other| other.identifiers.len()).max().unwrap_or(1);
            (widest.min(COLUMNS_MAX) as u8, same().any(|other| other.filtered_rows == FilteredRows::Pad))
        })
        .collect();
    for (share, (columns, padded)) in shares.iter_mut().zip(accounts) {
        share.columns = columns;
        share.padded_account = padded;
    }
    Ok(shares)
}

fn share(value: &Value<'_, '_>, party: &Party, earlier: &[Share]) -> Result<Share, ConfigError> {
    let mut section = value.section("[[share]]", SHARE)?;
    let table_value = section.required("table")?;
    let table = table_value.text()?.to_owned();
    if party.table(&table).is_none() {
        let known = party.tables.iter().map(|table| table.name.as_str());
        return Err(table_value.error(
            format_args!("is '{}', and no [[table]] has that name", names::shown(&table)),
            names::advice(&table, "tables", known),
        ));
    }
    section.title = format!("[[share]] of '{table}'");
    let with_value = section.required("with")?;
    let with = known_peers(with_value, party)?;
    for (peer, element) in &with {
        recognised(peer, element, party)?;
        if let Some(other) = earlier.iter().find(|share| share.table == table && share.with.contains(peer)) {
            return Err(element.error(
                format_args!("names '{peer}', which the share of line {} already shows '{table}'", other.lines.share),
                "a peer sees a table by one share: join the two, or take the peer out of one",
            ));
        }
    }
    let with_line = with_value.line();
    let with: Vec<String> = with.into_iter().map(|(peer, _)| peer).collect();

    let identifiers_value = section.required("identifiers")?;
    let identifiers = identifiers(identifiers_value)?;
    let aggregates_value = section.optional("aggregates");
    let aggregates = aggregates_value.map(aggregates).transpose()?.unwrap_or_default();
    let own = section.optional("requester_values");
    let requester_values = own.map(requester_values).transpose()?.flatten();
    let filter_value = section.optional("filter_on");
    let filter_on = match filter_value {
        Some(value) => value.distinct(true, Value::column_name)?.into_iter().map(|(column, _)| column).collect(),
        None => Vec::new(),
    };
    if let Some(value) = filter_value.filter(|_| filter_on.len() > SHARED_MAX) {
        return Err(value
            .error(format_args!("names {} columns", filter_on.len()), format!("at most {SHARED_MAX} are possible")));
    }
    let groups_value = section.optional("group_by");
    let group_by = groups_value.map(groups).transpose()?.unwrap_or_default();
    let labels = group_by.iter().map(|group| group.labels.len()).max().unwrap_or(0);
    let max_labels = match section.optional("max_labels") {
        None => 1,
        Some(value) if labels == 0 => {
            return Err(value.error("stands without group_by", "remove it, or list the labels of a column in group_by"));
        }
        Some(value) => value.whole(1..=labels as u64)?,
    };
    let max_parts = section.optional("max_parts").map_or(Ok(1), |value| value.whole(1..=PARTS_MAX as u64))?;
    let approval = match section.optional("approval") {
        None => false,
        Some(value) => *one_of(value, &[("required", true), ("none", false)])?,
    };
    let minimum_matched =
        section.optional("minimum_matched").map_or(Ok(MINIMUM_MATCHED), |value| value.whole(0..=1_000_000_000_000))?;
    let filtered_rows = match section.optional("filtered_rows") {
        None => FilteredRows::Hide,
        Some(value) => {
            let all = [FilteredRows::Hide, FilteredRows::Pad, FilteredRows::Reveal];
            *one_of(value, &all.map(|rows| (rows.name(), rows)))?
        }
    };
    let budget = share_budget(section.required("budget")?, &table)?;
    if let (FilteredRows::Pad, Sizes::Exact, Some(value)) =
        (filtered_rows, budget.sizes, section.optional("filtered_rows"))
    {
        return Err(value.error(
            "is 'pad', and the budget's sizes are exact",
            "padding needs sizes = { epsilon = … }; write \"hide\" or \"reveal\", or give an epsilon",
        ));
    }
    for other in earlier.iter().filter(|share| share.with.iter().any(|peer| with.contains(peer))) {
        if other.budget.population == budget.population && !other.budget.same_terms(&budget) {
            return Err(section.required("budget")?.error(
                format_args!(
                    "differs from that of line {}, and both are about the population '{}'",
                    other.budget.line, budget.population
                ),
                "shares of one population draw on one account: give both the same queries, sizes, outputs and period, or different populations",
            ));
        }
    }
    Ok(Share {
        with,
        identifiers,
        aggregates,
        requester_values,
        filter_on,
        group_by,
        // Both are at most some thousand.
        max_labels: max_labels as u32,
        max_parts: max_parts as u32,
        minimum_matched,
        filtered_rows,
        approval,
        budget,
        columns: 1,
        padded_account: false,
        persons_max: party.limits.persons_max,
        lines: ShareLines {
            share: section.line(),
            identifiers: identifiers_value.line(),
            aggregates: aggregates_value.map(Value::line),
            requester_values: own.map(Value::line),
            filter_on: filter_value.map(Value::line),
            group_by: groups_value.map(Value::line),
            max_labels: section.optional("max_labels").map(Value::line),
            max_parts: section.optional("max_parts").map(Value::line),
            minimum_matched: section.optional("minimum_matched").map(Value::line),
            approval: section.optional("approval").map(Value::line),
            with: with_line,
        },
        table,
    })
}

/// A list of peers' names, each known.
fn known_peers<'s, 'd>(value: &Value<'s, 'd>, party: &Party) -> Result<Vec<(String, Value<'s, 'd>)>, ConfigError> {
    let named = value.distinct(false, |element| Ok(element.text()?.to_owned()))?;
    for (name, element) in &named {
        if party.peer(name).is_none() {
            let known = party.peers.iter().map(|peer| peer.name.as_str());
            return Err(element.error(
                format_args!("names '{}', and no [[peer]] has that name", names::shown(name)),
                names::advice(name, "peers", known),
            ));
        }
    }
    Ok(named)
}

/// Whether the server could tell that it is this peer who asks: by its certificate under TLS, by its word in
/// plain text, and never by its word where others need a certificate.
fn recognised(name: &str, element: &Value<'_, '_>, party: &Party) -> Result<(), ConfigError> {
    let (Some(server), Some(peer)) = (&party.server, party.peer(name)) else { return Ok(()) };
    match (server.tls.is_none(), peer.plaintext) {
        (false, true) => Err(element.error(
            format_args!("names '{name}', a peer in plain text, and [server] answers by TLS alone"),
            format!("give the [[peer]] of line {} a certificate, or [server] plaintext = true", peer.line),
        )),
        (true, false) => Err(element.error(
            format_args!("names '{name}', a peer by certificate, and [server] speaks plain text, where anybody could claim its name"),
            format!("give [server] a certificate and a key, or the [[peer]] of line {} plaintext = true", peer.line),
        )),
        _ => Ok(()),
    }
}

pub(super) fn one_of<'a, T>(value: &Value<'_, '_>, choices: &'a [(&'static str, T)]) -> Result<&'a T, ConfigError> {
    let text = value.text()?;
    choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| choice).ok_or_else(|| {
        value.error(
            format_args!("is '{}'", names::shown(text)),
            names::advice(text, "possible values", choices.iter().map(|(name, _)| *name)),
        )
    })
}

fn identifiers(value: &Value<'_, '_>) -> Result<Vec<Identifier>, ConfigError> {
    let mut identifiers: Vec<Identifier> = Vec::new();
    let example = "email = \"email/1\", or person = { columns = [\"surname\", \"born\"], as = \"exact/1\" }";
    for entry in value.names()? {
        let entry = entry.example(example);
        let name = entry.name().to_owned();
        if !is_column(&name) {
            return Err(entry
                .key_error("is no identifier's name", "a name has 1 to 256 bytes that show as they are on one line"));
        }
        let (columns, normaliser) = if entry.is_text() {
            (vec![name.clone()], normaliser(&entry)?)
        } else if !entry.is_table() {
            return Err(entry.another_type("a normaliser's name or a table"));
        } else {
            let section = entry.section(entry.title(), IDENTIFIER)?;
            let columns = section.required("columns")?;
            let named = columns.distinct(false, Value::column_name)?;
            if named.len() > COMPOSITE_MAX {
                return Err(columns.error(
                    format_args!("names {} columns", named.len()),
                    format!("at most {COMPOSITE_MAX} are possible"),
                ));
            }
            (named.into_iter().map(|(column, _)| column).collect(), normaliser(section.required("as")?)?)
        };
        let sorted = |columns: &[String]| {
            let mut columns = columns.to_vec();
            columns.sort();
            columns
        };
        if let Some(other) = identifiers.iter().find(|other| sorted(&other.columns) == sorted(&columns)) {
            return Err(entry.key_error(
                format_args!("is made of the same columns as '{}'", names::shown(&other.name)),
                "a query could not tell them apart: keep one",
            ));
        }
        identifiers.push(Identifier { name, columns, normaliser, line: entry.line() });
    }
    if identifiers.is_empty() || identifiers.len() > SHARED_MAX {
        return Err(value.error(
            format_args!("names {} identifiers", identifiers.len()),
            format!("name 1 to {SHARED_MAX}, for example: {example}"),
        ));
    }
    Ok(identifiers)
}

/// A normaliser's name, which the matching itself has to know.
fn normaliser(value: &Value<'_, '_>) -> Result<Normaliser, ConfigError> {
    let text = value.text()?;
    text.parse().map_err(|reason: NormaliserNameError| match reason {
        NormaliserNameError::Region { .. } => value.error(
            format_args!("is '{}', whose region is none", names::shown(text)),
            "write two capital letters of ISO 3166, such as phone/1:US",
        ),
        reason => value.error(format_args!("is '{}'", names::shown(text)), reason.to_string()),
    })
}

fn aggregates(value: &Value<'_, '_>) -> Result<Vec<AggregateRule>, ConfigError> {
    let mut rules = Vec::new();
    for entry in value.names()? {
        let entry = entry.example("amount = { min = 0, max = 500, max_rows = 20 }");
        let column = entry.name().to_owned();
        if !is_column(&column) {
            return Err(entry.key_error(
                "is no column's name",
                "a column's name has 1 to 256 bytes that show as they are on one line",
            ));
        }
        let section = entry.section(entry.title(), AGGREGATE)?;
        let clip = clip(&section)?;
        let decimals = section.optional("decimals").map(|value| value.whole(0..=DECIMALS_MAX)).transpose()?;
        if let (None, Some(value)) = (clip, section.optional("decimals")) {
            return Err(value
                .error("has no bounds beside it", "give min and max too, or leave it out: a count has no decimals"));
        }
        let max_rows = section.required("max_rows")?.whole(1..=MAX_ROWS_MAX)?;
        let decimals = decimals.map(|decimals| decimals as u8);
        if let (Some(clip), Some(decimals)) = (clip, decimals) {
            for (key, bound) in [("min", clip.min), ("max", clip.max)] {
                if bound.decimals() > decimals {
                    return Err(section.required(key)?.error(
                        format_args!("is {bound}, which has more decimals than the {decimals} of the sum"),
                        "give the bound no more decimals than `decimals` says",
                    ));
                }
            }
        }
        let squares = squares(&section, clip, decimals)?;
        rules.push(AggregateRule { column, clip, max_rows, decimals, squares, line: entry.line() });
    }
    if rules.len() > SHARED_MAX {
        return Err(
            value.error(format_args!("names {} columns", rules.len()), format!("at most {SHARED_MAX} are possible"))
        );
    }
    Ok(rules)
}

/// `squares_max`: the bound of one person's sum of squares, in the square of the column's unit.
fn squares(
    section: &Section<'_, '_>,
    clip: Option<Clip>,
    decimals: Option<u8>,
) -> Result<Option<Decimal>, ConfigError> {
    let Some(value) = section.optional("squares_max") else { return Ok(None) };
    if clip.is_none() {
        return Err(value.error(
            "has no bounds beside it",
            "give min and max too, or leave it out: a column that is only counted has no squares",
        ));
    }
    let bound = value.decimal()?;
    if bound < Decimal::ZERO {
        return Err(
            value.error(format_args!("is {bound}, and no sum of squares is below 0"), "write a bound of 0 or more")
        );
    }
    if let Some(decimals) = decimals.filter(|decimals| bound.decimals() > 2 * decimals) {
        return Err(value.error(
            format_args!("is {bound}, which has more decimals than the {} of the squares", 2 * decimals),
            "give the bound at most twice the decimals that `decimals` says",
        ));
    }
    Ok(Some(bound))
}

/// `group_by`: columns with their labels.
fn groups(value: &Value<'_, '_>) -> Result<Vec<GroupBy>, ConfigError> {
    let mut groups = Vec::new();
    for entry in value.names()? {
        let entry = entry.example("category = [\"toys\", \"books\", \"garden\"]");
        let column = entry.name().to_owned();
        if !is_column(&column) {
            return Err(entry.key_error(
                "is no column's name",
                "a column's name has 1 to 256 bytes that show as they are on one line",
            ));
        }
        let labels = entry.distinct(false, |label| {
            let text = label.label()?;
            if text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control) {
                return Ok(text);
            }
            Err(label.error(
                format_args!("has the label '{}'", names::shown(&text)),
                format!("a label has 1 to {LABEL_BYTES_MAX} bytes and no control characters"),
            ))
        })?;
        if labels.len() > LABELS_MAX {
            return Err(
                entry.error(format_args!("has {} labels", labels.len()), format!("at most {LABELS_MAX} are possible"))
            );
        }
        let labels = labels.into_iter().map(|(label, _)| label).collect();
        groups.push(GroupBy { column, labels, line: entry.line() });
    }
    if groups.is_empty() || groups.len() > SHARED_MAX {
        return Err(value.error(
            format_args!("names {} columns", groups.len()),
            format!(
                "name 1 to {SHARED_MAX}, for example: group_by = {{ category = [\"toys\", \"books\", \"garden\"] }}"
            ),
        ));
    }
    Ok(groups)
}

/// `min` and `max`, which stand together or not at all.
fn clip(section: &Section<'_, '_>) -> Result<Option<Clip>, ConfigError> {
    let clip = match (section.optional("min"), section.optional("max")) {
        (None, None) => return Ok(None),
        (Some(_), None) => section.required("max").map(|_| None)?,
        (None, Some(_)) => section.required("min").map(|_| None)?,
        (Some(min), Some(max)) => {
            let clip = Clip { min: min.decimal()?, max: max.decimal()? };
            if clip.min > clip.max {
                return Err(min
                    .error(format_args!("is {}, above max = {}", clip.min, clip.max), "write the smaller one as min"));
            }
            Some(clip)
        }
    };
    Ok(clip)
}

fn requester_values(value: &Value<'_, '_>) -> Result<Option<RequesterValues>, ConfigError> {
    if value.is_boolean() {
        return match value.boolean()? {
            false => Ok(None),
            true => Err(value
                .error("is true", "write the bounds of one person's total: requester_values = { min = 0, max = 100 }")),
        };
    }
    let section = value.section("requester_values", REQUESTER_VALUES)?;
    section.required("min")?;
    section.required("max")?;
    let max_rows = section.optional("max_rows").map(|value| value.whole(1..=MAX_ROWS_MAX)).transpose()?;
    Ok(clip(&section)?.map(|clip| RequesterValues { clip, max_rows }))
}

/// Names of peers, or `"*"` alone.
fn asked_peers<'s, 'd>(value: &Value<'s, 'd>, party: &Party) -> Result<Vec<(String, Value<'s, 'd>)>, ConfigError> {
    let named = value.distinct(false, |element| Ok(element.text()?.to_owned()))?;
    match named.iter().find(|(name, _)| name == ANYBODY) {
        None => known_peers(value, party),
        Some(_) if named.len() == 1 => Ok(named),
        Some((_, element)) => Err(element.error(
            "names '*' beside other peers",
            "'*' stands alone, for the peers that no [[peer]] names; write an [[ask]] of its own for it",
        )),
    }
}

/// Reads all `[[ask]]`; peers are those of `party`.
pub(super) fn asks(top: &Section<'_, '_>, party: &Party) -> Result<Vec<Ask>, ConfigError> {
    let mut asks: Vec<Ask> = Vec::new();
    for value in super::each(top, "ask")? {
        let section = value.section("[[ask]]", ASK)?;
        let of = asked_peers(section.required("of")?, party)?;
        for (peer, element) in &of {
            if let Some(other) = asks.iter().find(|ask| ask.of.contains(peer)) {
                return Err(element.error(
                    format_args!("names '{peer}', as does the [[ask]] of line {}", other.line),
                    "a peer is asked on one account: join the two, or take the peer out of one",
                ));
            }
        }
        let population = section.required("population")?.sql_name()?;
        let budget_value = section.required("budget")?;
        let budget = ask_budget(budget_value, population)?;
        let rows = match section.optional("rows") {
            None => AskedRows::Pad,
            Some(value) => *one_of(value, &[("pad", AskedRows::Pad), ("reveal", AskedRows::Reveal)])?,
        };
        if (rows, budget.sizes) == (AskedRows::Pad, Sizes::Exact) {
            let (what, advice) = (
                "[[ask]] pads its rows, and the budget's sizes are exact",
                "padding needs sizes = { epsilon = … }; write rows = \"reveal\", or give an epsilon",
            );
            return Err(section.error(what, advice));
        }
        let identifiers = section
            .optional("identifiers")
            .map_or(Ok(u64::from(ASKED_IDENTIFIERS)), |value| value.whole(1..=COLUMNS_MAX as u64))?;
        asks.push(Ask {
            of: of.into_iter().map(|(peer, _)| peer).collect(),
            rows,
            identifiers: identifiers as u8,
            budget,
            persons_max: party.limits.persons_max,
            line: section.line(),
        });
    }
    Ok(asks)
}
