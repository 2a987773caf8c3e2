//! What the demo prints: plain text, at most [`WIDTH`] columns wide, readable without anything beside it.

use std::fmt::Write;
use std::path::Path;

use super::Told;
use super::ask::{Asked, Run};
use super::examples::{Example, Measure, Question};
use super::stories::{Setting, Story, WrittenTable};
use crate::dp;
use crate::psi::{Aggregate, AskedWord};

/// Columns of the widest line.
const WIDTH: usize = 100;
/// Columns of a heading in the left margin.
const MARGIN: usize = 22;
/// A space at which no line ends.
const TIE: char = '\u{a0}';

/// What this is about.
pub(super) fn opening(folder: &Path, rows: u64) -> String {
    let mut text = String::new();
    paragraph(
        &mut text,
        "",
        &format!(
            "Three stories, in each of which two parties answer questions about people that they have in common. No row, \
             no list and no single identifier of one party reaches the other. All data are invented, {} rows in the \
             largest tables; the parties' folders are in {}. Each party is a server of its own on this machine, with keys, \
             budgets and a ledger of its own, and they talk over Arrow Flight, by TLS with each other's certificates.",
            count(rows),
            folder.display()
        ),
    );
    text.push('\n');
    paragraph(
        &mut text,
        "",
        "Beside each answer stands the truth, plain SQL over both parties' tables in one place, where only a demo would put \
         them. The answers are noisy, so that nobody can tell from one whether some person was among those counted: the \
         truth is within ± of them 19 times out of 20.",
    );
    text.push('\n');
    paragraph(
        &mut text,
        "",
        "Below each answer stands what each side learned. The numbers of matches are noisy, since both sides add \
         invented entries (dummies): the true ones are within ± of them 19 times out of 20. Beside the numbers, each \
         side saw which positions of the other's table had a match, in an order that was shuffled for that one run.",
    );
    text
}

/// A story's heading: parties, tables, addresses.
pub(super) fn story(story: &Story, tables: &[WrittenTable], setting: &Setting) -> String {
    let mut text = format!("\n{}\n{}\n", story.title.to_uppercase(), "=".repeat(WIDTH));
    paragraph(&mut text, "", story.about);
    text.push('\n');
    for (party, port) in story.parties.iter().zip(setting.ports) {
        let of_party = tables.iter().filter(|table| table.party == party.name);
        let listed: Vec<_> = of_party.map(|table| format!("{} ({} rows)", table.table, count(table.rows))).collect();
        margin(&mut text, party.name, &format!("{}; answers at 127.0.0.1:{port}", listed.join(", ")));
    }
    text
}

/// An example before it runs.
pub(super) fn question(example: &Example, question: &Question, peer: &str) -> String {
    let number = example.name.split('_').next().unwrap_or_default();
    let heading = format!("{number}  {} ", question.title);
    let asks = format!(" {} asks {peer}", question.asks);
    let rule = "-".repeat(WIDTH.saturating_sub(width(&heading) + width(&asks)).max(3));
    let mut text = format!("\n{heading}{rule}{asks}\n\n");
    paragraph(&mut text, "", &question.words);
    text.push('\n');
    sql(&mut text, question.sql);
    text
}

/// An example after it ran.
pub(super) fn outcome(asks: &str, asked: &Asked, measures: &[Measure]) -> String {
    let mut text = String::from("\n");
    table(&mut text, measures, asked);
    text.push('\n');
    for (number, run) in asked.runs.iter().enumerate() {
        if asked.runs.len() > 1 {
            let _ = writeln!(text, "  Run {} of {}", number + 1, asked.runs.len());
        }
        learned(&mut text, asks, run);
    }
    let bytes = |pick: fn(&(u64, u64)) -> u64| {
        bytes(asked.runs.iter().flat_map(|run| &run.report.phases).map(|phase| pick(&phase.bytes)).sum())
    };
    let peer = asked.runs.first().map_or("the peer", |run| run.peer.as_str());
    let dummies = asked.runs.iter().filter_map(|run| Some(run.report.outcome.as_ref()?.dummies)).max().unwrap_or(0);
    margin(
        &mut text,
        "it took",
        &format!(
            "{:.1} s, {} to {peer}, {} back; {} dummies on each side for each identifier",
            asked.seconds,
            bytes(|(up, _)| *up),
            bytes(|(_, down)| *down),
            count(dummies)
        ),
    );
    text
}

/// A question that will be refused, and why; the first of a story below a heading.
pub(super) fn refused(first: bool, asks: &str, peer: &str, why: &str, statement: &str) -> String {
    let mut text = String::new();
    if first {
        let asks = format!(" {asks} asks {peer}");
        let _ = writeln!(text, "\nRefused {}{asks}", "-".repeat(WIDTH.saturating_sub(8 + width(&asks)).max(3)));
    }
    text.push('\n');
    paragraph(&mut text, "", why);
    text.push('\n');
    sql(&mut text, statement);
    text
}

/// Its error.
pub(super) fn refusal(error: &str) -> String {
    let mut text = String::from("\n");
    margin(&mut text, "error", error);
    text
}

/// A question that was held, and has been approved since.
pub(super) fn held(asks: &str, owner: &str, error: &str, id: &str, policy: &Path) -> String {
    let mut text = String::from("\n");
    margin(&mut text, "error", error);
    text.push('\n');
    paragraph(
        &mut text,
        "",
        &format!(
            "{owner} wants to see each new question first. Its operator reads it, approves it, and {asks} asks again:"
        ),
    );
    let _ = writeln!(text, "\n  datafusion-psi approve --config {} {id}", policy.display());
    text
}

/// How it went, and how to go on.
pub(super) fn closing(folder: &Path, told: &Told, seconds: f64) -> String {
    let mut text = format!("\n{}\n", "=".repeat(WIDTH));
    let right = told.questions - told.wrong;
    paragraph(
        &mut text,
        "",
        &format!(
            "{right} of {} answers are the truth and their noise; {} of the {} numbers with a known ± have the truth \
             within it. All of it took {seconds:.0} s; the servers are stopped.",
            told.questions, told.within, told.numbers
        ),
    );
    text.push('\n');
    paragraph(&mut text, "", "To play on, with the files as they are: start the party that answers in one terminal,");
    let folder = folder.display();
    let _ = writeln!(text, "\n  datafusion-psi serve --config {folder}/advertising/advertiser/party.toml\n");
    paragraph(&mut text, "", "and ask as the other in a second one, a question or, without -c, as many as you like:");
    let _ = writeln!(
        text,
        "\n  datafusion-psi sql --config {folder}/advertising/publisher/party.toml -c \\\n    \"SELECT PRIVATE_INTERSECT_COUNT(*) \
         FROM impressions i\n     JOIN advertiser.purchases p ON i.email = p.email\"\n"
    );
    paragraph(
        &mut text,
        "",
        "EXPLAIN before a question says what it will cost and show, before anything is asked. Each party's party.toml \
         says what it shares, with whom, and how much of it: change a line and see what is refused. From a checkout, \
         `cargo run --release --` stands for `datafusion-psi`.",
    );
    text
}

/// Every measure: answer, truth, difference, and the noise's ±, where it is known and not zero.
fn table(text: &mut String, measures: &[Measure], asked: &Asked) {
    let noisy = measures.iter().any(|measure| asked.error(measure).is_some_and(|error| error > 0.0));
    let columns = if noisy { 5 } else { 4 };
    let rows: Vec<[String; 5]> = measures
        .iter()
        .map(|measure| {
            let difference =
                if measure.is_equal() { "0".to_owned() } else { grouped(&measure.difference().to_string()) };
            let error = asked.error(measure).map_or_else(|| "-".to_owned(), |error| grouped(&error.to_string()));
            [measure.name.clone(), grouped(&measure.answer_text), grouped(&measure.truth_text), difference, error]
        })
        .collect();
    let heads = ["measure", "private answer", "truth in the clear", "difference", "± at 95 %"];
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| width(&row[column])).chain([width(heads[column])]).max().unwrap_or(0))
        .collect();
    let mut line = |cells: [&str; 5]| {
        let pad = |cell: &str, column: usize| " ".repeat(widths[column] - width(cell));
        let _ = write!(text, "  {}{}", cells[0], pad(cells[0], 0));
        for (column, cell) in cells.iter().enumerate().take(columns).skip(1) {
            let _ = write!(text, "   {}{cell}", pad(cell, column));
        }
        text.push('\n');
    };
    line(heads);
    for row in &rows {
        line([&row[0], &row[1], &row[2], &row[3], &row[4]]);
    }
}

/// What each side learned in one run.
fn learned(text: &mut String, asks: &str, run: &Run) {
    let peer = &run.peer;
    let Some(outcome) = &run.report.outcome else { return };
    let noise = dp::size_noise_95(outcome.dummies);
    let sizes: Vec<String> = outcome
        .sizes
        .iter()
        .map(|(identifier, sizes)| {
            // Half of the dummies of one side are, on average, among those of the other.
            let estimate = |size: &u64| {
                let estimate = *size as i64 - (outcome.dummies / 2) as i64;
                format!("{}{}", if estimate < 0 { "-" } else { "" }, count(estimate.unsigned_abs()))
            };
            // Of several groups, one number each.
            let listed: Vec<String> = sizes.iter().map(estimate).collect();
            let listed = listed.join("/");
            match outcome.dummies {
                0 => format!("by{TIE}{identifier}{TIE}{listed}"),
                _ => format!("by{TIE}{identifier}{TIE}{listed}{TIE}±{TIE}{noise:.0}"),
            }
        })
        .collect();
    margin(
        text,
        &format!("{asks} learned"),
        &format!(
            "the answer; {} entries in {peer}'s table; matches {}",
            count(outcome.persons_there),
            sizes.join(", ")
        ),
    );
    let asked: Vec<String> = run.question.aggregates.iter().map(in_words).collect();
    let filter = run.question.filter.as_deref().map(|filter| format!(" where {filter}")).unwrap_or_default();
    let mut groups = run.question.group_by.as_ref().map(|column| format!(", by {column}")).unwrap_or_default();
    if run.question.own_groups {
        let _ = write!(groups, ", in {} groups of {asks}'s own", count(run.report.parts as u64));
    }
    margin(
        text,
        &format!("{peer} learned"),
        &format!(
            "the question: from {}{filter}, {}{groups}, matched by {}; the number of {asks}'s persons{}, {} and random \
             padding; the same noisy matches",
            run.question.table,
            asked.join(", "),
            run.question.identifiers.join(", then "),
            if run.question.own_groups { " in each" } else { "" },
            count(run.report.persons)
        ),
    );
}

fn in_words(word: &AskedWord) -> String {
    let words = match &word.aggregate {
        Aggregate::Persons => "the number of persons".to_owned(),
        Aggregate::Rows { column } => format!("the number of rows with {column}"),
        Aggregate::Sum { column } => format!("the sum of {column}"),
        Aggregate::Squares { column } => format!("the sum of the squares of {column}"),
        Aggregate::OwnRows { .. } => "the number of the asker's own rows".to_owned(),
        Aggregate::OwnSum { .. } => "the sum of a value of the asker's own".to_owned(),
    };
    match &word.when {
        None => words,
        Some(filter) => format!("{words} where {filter}"),
    }
}

/// Lines of words, as long as they may be, each behind `indent`.
fn paragraph(text: &mut String, indent: &str, words: &str) {
    for line in wrapped(words, WIDTH - width(indent)) {
        let _ = writeln!(text, "{indent}{line}");
    }
}

/// A heading in the margin, and lines of words beside it.
fn margin(text: &mut String, heading: &str, words: &str) {
    let mut heading = heading;
    for line in wrapped(words, WIDTH - MARGIN - 2) {
        let _ = writeln!(text, "  {heading}{}{line}", " ".repeat(MARGIN.saturating_sub(width(heading)).max(1)));
        heading = "";
    }
}

fn sql(text: &mut String, statements: &str) {
    for line in statements.lines() {
        let _ = writeln!(text, "{}", format!("  {line}").trim_end());
    }
}

/// Lines of at most `columns`, if no word is longer; a [`TIE`] between two words keeps them together.
fn wrapped(words: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split([' ', '\n']).filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| line.replace(TIE, " ")).collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// A number's text with commas between thousands, and two to four decimals where it has more than two.
fn grouped(number: &str) -> String {
    let mut rounded = match (number.split_once('.'), number.parse::<f64>()) {
        (Some((_, decimals)), Ok(value)) if decimals.len() > 2 => format!("{value:.4}"),
        _ => number.to_owned(),
    };
    while rounded.ends_with('0') && rounded.split_once('.').is_some_and(|(_, decimals)| decimals.len() > 2) {
        rounded.pop();
    }
    let (sign, digits) = rounded.strip_prefix('-').map_or(("", rounded.as_str()), |digits| ("-", digits));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return rounded;
    }
    let mut text = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if !decimals.is_empty() {
        text.push('.');
        text.push_str(decimals);
    }
    text
}

/// Bytes for reading, in powers of ten.
fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        few if few < 1e6 => format!("{:.0} kB", few / 1e3),
        many => format!("{:.1} MB", many / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{EXAMPLES, STORIES};
    use super::*;
    use crate::psi;
    use crate::sql::{Outcome, PhaseLine, RunReport};

    fn asked() -> Asked {
        let question = psi::Question {
            table: "purchases".to_owned(),
            identifiers: vec!["email".to_owned(), "phone".to_owned()],
            filter: Some("category = 'toys'".to_owned()),
            aggregates: vec![Aggregate::Persons.into(), Aggregate::Sum { column: "amount".to_owned() }.into()],
            group_by: None,
            own_groups: false,
        };
        let report = RunReport {
            persons: 1200,
            phases: vec![PhaseLine { phase: psi::Phase::Columns, seconds: 1.0, rows: 9, bytes: (1_500_000, 20_000) }],
            outcome: Some(Outcome {
                sizes: vec![("email".to_owned(), vec![1500]), ("phone".to_owned(), vec![990])],
                dummies: 2000,
                persons_there: 4021,
            }),
            ..RunReport::default()
        };
        Asked {
            batches: Vec::new(),
            seconds: 1.94,
            errors: vec![vec![Some(0.0), Some(31.5)]],
            runs: vec![Run { peer: "advertiser".to_owned(), question, report }],
        }
    }

    fn measures() -> Vec<Measure> {
        let measure = |column: usize, name: &str, answer: f64, truth: f64, text: [&str; 2]| Measure {
            name: name.to_owned(),
            cell: (0, column),
            answer: Some(answer),
            truth: Some(truth),
            answer_text: text[0].to_owned(),
            truth_text: text[1].to_owned(),
        };
        vec![
            measure(0, "buyers", 1480.0, 1480.0, ["1480", "1480"]),
            measure(1, "revenue", 61.5, 60.25, ["61.50", "60.25"]),
        ]
    }

    #[test]
    fn an_outcome_shows_the_answer_the_truth_and_what_each_side_learned() {
        insta::assert_snapshot!(outcome("publisher", &asked(), &measures()).trim_start_matches('\n'), @r"
        measure   private answer   truth in the clear   difference   ± at 95 %
        buyers             1,480                1,480            0           0
        revenue            61.50                60.25         1.25        31.5

        publisher learned     the answer; 4,021 entries in advertiser's table; matches by email 500 ± 31,
                              by phone -10 ± 31
        advertiser learned    the question: from purchases where category = 'toys', the number of persons,
                              the sum of amount, matched by email, then phone; the number of publisher's
                              persons, 1,200 and random padding; the same noisy matches
        it took               1.9 s, 1.5 MB to advertiser, 20 kB back; 2,000 dummies on each side for each
                              identifier
        ");
    }

    #[test]
    fn no_line_is_wider_than_a_page() {
        let mut all = opening(Path::new("demo"), 10_000)
            + &closing(Path::new("demo"), &Told { questions: 12, wrong: 0, numbers: 21, within: 20 }, 31.0);
        let setting = Setting {
            rows: 10_000,
            seed: 1,
            ports: [50_051, 50_052],
            epsilon: 2.0,
            outputs: "",
            approval: "none",
            minimum_matched: 50,
        };
        for found in STORIES {
            all += &story(found, &[], &setting);
        }
        for example in EXAMPLES {
            let asked = example.question().unwrap();
            all += &question(example, &asked, example.story().unwrap().other(asked.asks));
        }
        all += &outcome("publisher", &asked(), &measures());
        all += &refused(true, "publisher", "advertiser", &"a rule of many words ".repeat(20), "SELECT 1");
        all += &refusal(&"a reason of many words ".repeat(20));
        all += &held("publisher", "advertiser", &"a reason of many words ".repeat(20), "0abc", Path::new("party.toml"));
        for line in all.lines() {
            assert!(width(line) <= WIDTH, "{line}");
            assert!(!line.ends_with(' '), "{line:?}");
        }
    }

    #[test]
    fn numbers_are_written_for_reading() {
        let texts = ["0", "999", "1000", "-1234567.5", "61.1234567", "NULL", "0.1000", "12345.67", "0.30000001"];
        let read = ["0", "999", "1,000", "-1,234,567.5", "61.1235", "NULL", "0.10", "12,345.67", "0.30"];
        assert_eq!(texts.map(grouped), read);
        assert_eq!([0, 999, 1_500, 999_999, 1_250_000].map(bytes), ["0 kB", "1 kB", "2 kB", "1000 kB", "1.2 MB"]);
    }
}
