//! A policy in sentences, for the person who answers for it: who may ask what, what that tells, and what this
//! party tells when it asks.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::dp;
use crate::psi::{Aggregate, AskedWord, FilteredRows};

use super::books::Period;
use super::decimal::Decimal;
use super::names;
use super::party::{AggregateRule, Ask, AskedRows, BudgetTerms, Identifier, Party, Peer, Share, Sizes};
use super::sizes::{SizesAccount, SizesPlan};
use super::words::{Groups, sensitivity};

/// How many persons a table is taken to have where nobody knows.
const PERSONS_GUESSED: u64 = 1_000_000;
/// From here on an epsilon hides little: a warning.
const EPSILON_LARGE: i64 = 10;
/// The confidence of every interval.
const CONFIDENCE: f64 = 0.95;

/// What a policy means, in plain sentences, one a line; those about something dangerous begin with `Warning:`.
///
/// `persons`: how many persons tables have, by the table's name, as far as that is known; others are taken to
/// have a million. May take a second or two: the dummies of each account are computed.
pub fn explain(party: &Party, persons: &BTreeMap<String, u64>) -> Vec<String> {
    let mut said = Vec::new();
    whereabouts(party, &mut said);
    for share in &party.shares {
        let known = persons.get(&share.table).copied();
        ShareInWords { share, party, persons: known.unwrap_or(PERSONS_GUESSED), known: known.is_some() }.say(&mut said);
    }
    for ask in &party.asks {
        say_ask(ask, persons, &mut said);
    }
    for peer in &party.peers {
        let asks = party.shares_with(&peer.name).next().is_some();
        let asked = party.asks.iter().any(|ask| ask.of.contains(&peer.name));
        match (asks, asked) {
            (false, false) => {
                said.push(format!("{} is known, may ask nothing and is asked nothing.", quoted(&peer.name)))
            }
            (false, true) => said.push(format!("{} may ask this party nothing.", quoted(&peer.name))),
            _ => {}
        }
    }
    for table in &party.tables {
        if !party.shares.iter().any(|share| share.table == table.name) {
            said.push(format!("{} is shared with nobody.", quoted(&table.name)));
        }
    }
    said
}

/// Where this party answers, and by what it knows its peers.
fn whereabouts(party: &Party, said: &mut Vec<String>) {
    match &party.server {
        None => said.push(format!("{} answers nobody: it has no [server].", quoted(&party.name))),
        Some(server) => {
            let how = match &server.tls {
                Some(tls) => format!("by TLS, as {}", tls.certificate.display()),
                None => "in plain text".to_owned(),
            };
            said.push(format!("{} answers at {} {how}.", quoted(&party.name), server.listen));
            if server.tls.is_none() {
                said.push(
                    "Warning: whoever runs a program on this machine can ask in the name of any peer: [server] speaks plain text."
                        .to_owned(),
                );
            }
            let mut known: Vec<String> =
                server.clients.iter().map(|file| format!("a certificate of {}", file.display())).collect();
            known.extend(server.tokens.iter().map(|file| format!("a token of {}", file.display())));
            said.push(if known.is_empty() {
                "Nobody may run SQL there: [server] has neither `clients` nor `tokens`.".to_owned()
            } else {
                format!("Whoever has {} may run SQL there as {}.", listed(&known, "or"), quoted(&party.name))
            });
        }
    }
    for Peer { name, address, certificates, plaintext, .. } in &party.peers {
        let name = quoted(name);
        if *plaintext {
            said.push(format!(
                "Warning: {name} is reached at {address} in plain text, and known by nothing but its word."
            ));
            continue;
        }
        let files: Vec<String> = certificates.iter().map(|file| file.display().to_string()).collect();
        said.push(format!("{name} is reached at {address}, and known by the certificate in {}.", listed(&files, "or")));
    }
}

/// One share, and how many persons it is taken to be about.
struct ShareInWords<'p> {
    share: &'p Share,
    party: &'p Party,
    persons: u64,
    known: bool,
}

impl ShareInWords<'_> {
    fn say(&self, said: &mut Vec<String>) {
        let Share { with, budget, minimum_matched, approval, .. } = self.share;
        let table = quoted(&self.share.table);
        let identifiers: Vec<String> = self.share.identifiers.iter().map(in_words).collect();
        said.push(format!(
            "{} may ask {} about {table}, matched by {}.",
            each(with),
            questions(budget),
            listed(&identifiers, "or"),
        ));
        self.account(said);
        self.answers(said);
        self.filters(said);
        self.groups(said);
        match minimum_matched {
            0 => said.push(format!("Warning: questions about {table} are answered however few persons match.")),
            minimum => said.push(format!("With fewer than {minimum} matches, by their noisy number, there is no answer, and the question is spent.")),
        }
        if *approval {
            said.push(format!(
                "Each new question waits until its exact text has been approved: datafusion-psi approve --config {} ID.",
                self.party.file.display()
            ));
        }
        said.push(format!(
            "With each question the asker sees {}, and for each identifier how many persons matched.",
            match (self.share.filtered_rows, self.known) {
                (FilteredRows::Hide, true) => format!("that {table} has {} persons", self.persons),
                (FilteredRows::Hide, false) => format!("how many persons {table} has"),
                (FilteredRows::Pad, _) => format!("about how many persons of {table} pass its filter"),
                (FilteredRows::Reveal, _) => format!("how many persons of {table} pass its filter"),
            }
        ));
        sizes(&self.share.sizes(), self.persons, self.known, said);
        if budget.sizes == Sizes::Exact {
            said.push(format!(
                "Warning: the numbers of matches with {table} are exact: a question about one person more tells whether that person is in it."
            ));
        }
        self.outputs(said);
        self.together(said);
    }

    /// Which other tables the account pays for.
    fn account(&self, said: &mut Vec<String>) {
        let Share { with, budget, table, .. } = self.share;
        let others: Vec<String> = self
            .party
            .shares
            .iter()
            .filter(|other| other.table != *table && other.budget.population == budget.population)
            .filter(|other| other.with.iter().any(|peer| with.contains(peer)))
            .map(|other| quoted(&other.table))
            .collect();
        if !others.is_empty() {
            said.push(format!(
                "Questions about {} count on the same account, {}.",
                listed(&others, "and"),
                quoted(&budget.population)
            ));
        }
        if with.len() > 1 {
            said.push("Each of them has an account of its own; what they tell each other adds up.".to_owned());
        }
    }

    /// Which numbers an answer may have.
    fn answers(&self, said: &mut Vec<String>) {
        let Share { aggregates, requester_values, with, .. } = self.share;
        let mut numbers = vec!["how many persons match".to_owned()];
        for rule in aggregates {
            let column = names::shown(&rule.column);
            if let Some(clip) = rule.clip {
                numbers.push(format!("the sum of {column}, a person's total taken as {} to {}", clip.min, clip.max));
            }
            if let Some(most) = rule.squares_max() {
                numbers.push(format!("the sum of its squares, as variances need it, a person's up to {most}"));
            }
            numbers.push(format!("how many values of {column} there are, at most {} of one person", rule.max_rows));
        }
        said.push(format!("An answer may tell: {}.", numbers.join("; ")));
        match requester_values {
            None => said.push("Values of the asker's own are never summed over the matches.".to_owned()),
            Some(values) => {
                let counted = match values.max_rows {
                    None => String::new(),
                    Some(rows) => format!(", and count them, {rows} at most of one person"),
                };
                said.push(format!(
                    "Warning: {} may sum values of its own over the matches, a person's total from {} to {}{counted}: it chooses the values, \
                     and may weigh single persons with them; output noise and the number of questions are what bounds that.",
                    each(with),
                    values.clip.min,
                    values.clip.max
                ));
            }
        }
    }

    fn filters(&self, said: &mut Vec<String>) {
        let Share { filter_on, filtered_rows, table, .. } = self.share;
        if filter_on.is_empty() {
            said.push("There are no filters.".to_owned());
        } else {
            let columns: Vec<String> = filter_on.iter().map(|column| names::shown(column)).collect();
            let shows = match filtered_rows {
                FilteredRows::Hide => "they do not change what the asker sees of the table's length",
                FilteredRows::Pad => "the asker sees about how many persons pass them",
                FilteredRows::Reveal => "the asker sees how many persons pass them",
            };
            said.push(format!("Filters may name {}; {shows}.", listed(&columns, "and")));
            if *filtered_rows == FilteredRows::Reveal {
                said.push(format!(
                    "Warning: each filter on {} tells exactly how many of all its persons pass, whomever the asker knows.",
                    quoted(table)
                ));
            }
        }
    }

    fn groups(&self, said: &mut Vec<String>) {
        let Share { group_by, max_labels, max_parts, .. } = self.share;
        let mut ways: Vec<String> = group_by
            .iter()
            .map(|group| {
                let labels: Vec<String> = group.labels.iter().map(|label| names::shown(label)).collect();
                format!("by {} ({})", names::shown(&group.column), labels.join(", "))
            })
            .collect();
        if !group_by.is_empty() {
            ways = vec![format!("{}, one person counting in at most {max_labels} of them", listed(&ways, "or"))];
        }
        if *max_parts > 1 {
            ways.push(format!("into at most {max_parts} groups of the asker's own"));
        }
        if ways.is_empty() {
            said.push("There are no groups.".to_owned());
            return;
        }
        let both = if ways.len() > 1 { "; both at once too" } else { "" };
        let columns = u32::from(self.share.columns);
        let more = match (!group_by.is_empty(), *max_parts > 1) {
            (true, true) => columns * max_labels,
            (true, false) => columns.min(2) * max_labels,
            _ => columns.div_ceil(2),
        };
        said.push(format!(
            "An answer may be in groups: {}{both}. One person then moves several of its numbers, together by up to {more} times what one \
             moves, and each has the noise for that.",
            ways.join("; ")
        ));
        if *max_parts > 1 {
            said.push(format!(
                "An asker that breaks the protocol may put one person into each of its groups: up to {max_parts} noisy sums for one."
            ));
        }
    }

    /// The noise on answers, and what one person moves.
    fn outputs(&self, said: &mut Vec<String>) {
        let (share, table) = (self.share, quoted(&self.share.table));
        let words = self.words();
        let moved: Vec<String> = words.iter().map(|word| format!("{} by {}", word.name, word.moved)).collect();
        said.push(format!("If one person is removed, an answer moves by at most: {}.", moved.join(", ")));
        let Some(written) = share.budget.written else {
            said.push(format!(
                "Warning: answers about {table} are exact: two questions that differ by one person tell that person's values, \
                 and dummies then hide only by which identifier it matched."
            ));
            return;
        };
        let (law, more) = match share.budget.outputs {
            dp::OutputBudget::Gaussian { .. } => ("Gaussian", "the square root of that number times as much"),
            _ => ("Laplace", "that number times as much"),
        };
        let delta = match written.delta {
            None => String::new(),
            Some(delta) => format!(" and delta = {delta}"),
        };
        said.push(format!(
            "Answers carry {law} noise, epsilon = {}{delta} over {}; a question's part of it is split equally over its numbers, \
             and an average is two, a variance three.",
            written.epsilon,
            all_questions(&share.budget)
        ));
        let off: Vec<String> = words.iter().map(|word| format!("{} ± {}", word.name, word.off)).collect();
        said.push(format!(
            "In a question for one number, with 95 % confidence: {}; in one for several, {more}.",
            off.join(", ")
        ));
        large(written.epsilon, &format!("answers about {table}"), said);
    }

    /// Each number that an answer may have.
    fn words(&self) -> Vec<Word> {
        let word = |name: String, aggregate: Aggregate, clip: dp::Clip, decimals: u8| {
            let moved = sensitivity(&AskedWord::from(aggregate), clip, &Groups::NONE);
            let noise = self.share.budget.outputs_per_query().word_noise(moved, 1);
            Word { name, moved: in_units(moved, decimals), off: in_units(noise.interval(CONFIDENCE), decimals) }
        };
        let count = |rows: u64| dp::Clip::new(0, i128::from(rows)).ok();
        let mut words: Vec<Word> =
            count(1).map(|clip| word("COUNT(*)".to_owned(), Aggregate::Persons, clip, 0)).into_iter().collect();
        for rule in &self.share.aggregates {
            let column = names::shown(&rule.column);
            words.extend(scaled(rule).map(|(clip, decimals)| {
                word(format!("SUM({column})"), Aggregate::Sum { column: rule.column.clone() }, clip, decimals)
            }));
            words.extend(squares(rule).map(|(clip, decimals)| {
                word(format!("squares of {column}"), Aggregate::Squares { column: rule.column.clone() }, clip, decimals)
            }));
            words.extend(count(rule.max_rows).map(|clip| {
                word(format!("COUNT({column})"), Aggregate::Rows { column: rule.column.clone() }, clip, 0)
            }));
        }
        words
    }

    /// Sizes and answers together.
    fn together(&self, said: &mut Vec<String>) {
        let BudgetTerms { sizes: Sizes::Private { epsilon, .. }, written: Some(outputs), period, .. } =
            &self.share.budget
        else {
            return;
        };
        let all = epsilon.to_f64() + outputs.epsilon.to_f64();
        let renewed = match period {
            Period::Forever => String::new(),
            _ => format!("; it renews with each {0}, and what {0}s tell adds up", period.name()),
        };
        said.push(format!("Sizes and answers together: epsilon = {all}{renewed}."));
    }
}

/// One number of an answer.
struct Word {
    name: String,
    /// How far one person moves it, in the column's unit.
    moved: String,
    /// How far off its noise is, at [`CONFIDENCE`], alone in its question.
    off: String,
}

/// The bounds of a sum of squares in units of its decimals.
fn squares(rule: &AggregateRule) -> Option<(dp::Clip, u8)> {
    let most = rule.squares_max()?;
    let decimals = rule.decimals.map_or(most.decimals(), |decimals| 2 * decimals);
    dp::Clip::new(0, most.units(decimals)?).ok().map(|clip| (clip, decimals))
}

/// The bounds of a sum in units of its decimals. A decimal column's own are not known here: those that its bounds
/// are written with do, as the noise grows with them.
fn scaled(rule: &AggregateRule) -> Option<(dp::Clip, u8)> {
    let clip = rule.clip?;
    let decimals = rule.decimals.unwrap_or(clip.min.decimals().max(clip.max.decimals()));
    let (min, max) = clip.min.units(decimals).zip(clip.max.units(decimals))?;
    dp::Clip::new(min, max).ok().map(|clip| (clip, decimals))
}

/// What this party tells when it asks.
fn say_ask(ask: &Ask, persons: &BTreeMap<String, u64>, said: &mut Vec<String>) {
    let peers = if ask.is_for_anybody() { "any peer that an analyst names".to_owned() } else { each(&ask.of) };
    let known = persons.values().max().copied();
    said.push(format!(
        "This party may ask {peers} {}, each by at most {}.",
        questions(&ask.budget),
        counted(u64::from(ask.identifiers), "identifier"),
    ));
    said.push(format!(
        "With each question {peers} sees which of its columns it matches, filters, groups by and aggregates, how many groups of its own \
         this party forms, and for each of them and each identifier how many persons it has and how many matched."
    ));
    match (ask.rows, ask.pad_plan()) {
        (AskedRows::Pad, Some(plan)) => said.push(format!(
            "How many persons of this party's the question is about is blurred by 0 to {} fillers, {} on average.",
            2 * plan.bound,
            plan.bound
        )),
        _ => {
            said.push(format!("Warning: {peers} sees exactly how many persons of this party's each question is about."))
        }
    }
    sizes(&ask.sizes(), known.unwrap_or(PERSONS_GUESSED), known.is_some(), said);
    if ask.budget.sizes == Sizes::Exact {
        said.push(format!("Warning: {peers} sees exactly how many persons of this party's are in its tables."));
    }
}

/// The privacy of sizes, and the dummies that it takes.
fn sizes(account: &SizesAccount, persons: u64, known: bool, said: &mut Vec<String>) {
    let Sizes::Private { epsilon, delta } = account.budget.sizes else { return };
    let Some(plan) = account.plan(persons) else { return };
    let of = if known { format!("{persons} persons") } else { format!("a table of {persons} persons") };
    let stated = delta.map_or_else(|| dp::default_delta(persons), |delta| delta.to_f64());
    let default = if delta.is_none() { " (the default, 1/(10 N))" } else { "" };
    let half = if account.padded { ", half of it for the padded lengths" } else { "" };
    let SizesPlan { compositions, .. } = plan;
    match plan.dummies() {
        Ok(tau) => said.push(format!(
            "The numbers of matches are blurred: epsilon = {epsilon} and delta = {}{default} over {}{half}; for {of} that takes at least {} for \
             each identifier and party, and a number is off by ± {} with 95 % confidence.",
            short(stated),
            all_questions(&account.budget),
            counted(tau, "dummy"),
            dp::size_noise_95(tau)
        )),
        Err(reason) => said.push(format!("Warning: for {of} no question can be answered: {reason} ({compositions} sizes in all).")),
    }
    large(epsilon, "sizes", said);
}

fn large(epsilon: Decimal, what: &str, said: &mut Vec<String>) {
    if epsilon > Decimal::from(EPSILON_LARGE) {
        said.push(format!("Warning: an epsilon of {epsilon} for {what} hides little; up to {EPSILON_LARGE} is usual."));
    }
}

fn in_words(identifier: &Identifier) -> String {
    let Identifier { name, columns, normaliser, .. } = identifier;
    let name = names::shown(name);
    let columns: Vec<String> = columns.iter().map(|column| names::shown(column)).collect();
    if columns.len() == 1 && columns[0] == name {
        format!("{name} ({normaliser})")
    } else {
        format!("{name} ({}, {normaliser})", listed(&columns, "with"))
    }
}

/// `10 questions a month on the account 'shoppers'`.
fn questions(budget: &BudgetTerms) -> String {
    let when = match budget.period {
        Period::Forever => "in all".to_owned(),
        period => format!("a {}", period.name()),
    };
    format!("{} {when} on the account {}", counted(budget.queries, "question"), quoted(&budget.population))
}

/// `all 10 questions of a month`.
fn all_questions(budget: &BudgetTerms) -> String {
    match (budget.queries, budget.period) {
        (1, _) => "the one question".to_owned(),
        (queries, Period::Forever) => format!("all {queries} questions"),
        (queries, period) => format!("all {queries} questions of a {}", period.name()),
    }
}

fn counted(number: u64, what: &str) -> String {
    match (number, what) {
        (1, what) => format!("1 {what}"),
        (number, "dummy") => format!("{number} dummies"),
        (number, what) => format!("{number} {what}s"),
    }
}

fn quoted(name: &str) -> String {
    format!("'{}'", names::shown(name))
}

/// `'a'`, or `each of 'a' and 'b'`.
fn each(peers: &[String]) -> String {
    let peers: Vec<String> = peers.iter().map(|peer| quoted(peer)).collect();
    if peers.len() == 1 { peers.join("") } else { format!("each of {}", listed(&peers, "and")) }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(items: &[impl Display], last: &str) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    match items.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}

/// A number of units of 10^-decimals, without trailing zeros.
fn in_units(units: u128, decimals: u8) -> String {
    let decimals = usize::from(decimals);
    let digits = format!("{units:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// A small number to two digits.
fn short(number: f64) -> String {
    format!("{number:.1e}").replace(".0e", "e")
}
