//! What an operator reads: one table, and a sentence on each line of it. Plain text, at most [`WIDTH`] columns.

use std::fmt::Write;

use super::setbias::{CANDIDATES, Candidates, GROUP, sizes_of};
use super::simulate::{Attack, Finding, Privacy, Rate, Seen, Setting, UNCOUNTED};

/// Columns of the widest line.
const WIDTH: usize = 100;
/// Columns of an attack's name.
const NAME: usize = 46;
/// A space at which no line ends.
const TIE: char = '\u{a0}';

/// Whom and what a report is about.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) table: String,
    /// Those who may ask.
    pub(super) peers: Vec<String>,
    /// `for good`, `a month`, …
    pub(super) period: &'static str,
    /// Whether the number of persons is only a bound: the table's rows.
    pub(super) persons_at_most: bool,
}

/// The report on one table.
pub(super) fn report(subject: &Subject, setting: &Setting, findings: &[Finding]) -> String {
    let mut text = String::new();
    head(&mut text, subject, setting);
    table(&mut text, findings);
    text.push('\n');
    for finding in findings {
        paragraph(&mut text, "- ", &sentence(setting, finding));
    }
    paragraph(&mut text, "- ", &minimum(setting));
    text.push('\n');
    paragraph(&mut text, "", &verdict(setting, findings));
    text
}

fn head(text: &mut String, subject: &Subject, setting: &Setting) {
    let _ = writeln!(text, "What {} could find out about people in '{}'", subject.peers.join(" or "), subject.table);
    let at_most = if subject.persons_at_most { "at most " } else { "" };
    let sizes = match setting.sizes {
        None => "sizes are exact".to_owned(),
        Some(privacy) => format!("sizes: {}, {} dummies per identifier and party", shown(privacy), count(setting.tau)),
    };
    let outputs = match setting.outputs {
        None => "answers are exact".to_owned(),
        Some(privacy) => {
            format!("answers: {}, a COUNT(*) is off by ±{} at 95{TIE}%", shown(privacy), setting.noise.interval(0.95))
        }
    };
    let line = format!(
        "{at_most}{} persons; {} by {}, {}; {sizes}; {outputs}.",
        count(setting.persons),
        plural(setting.queries, "query", "queries"),
        plural(u64::from(setting.columns), "identifier", "identifiers"),
        subject.period,
    );
    paragraph(text, "", &line);
    text.push('\n');
}

fn table(text: &mut String, findings: &[Finding]) {
    let _ = writeln!(
        text,
        "{:<NAME$}{:<15}{:>11} {:>15} {:>9}",
        "right guesses by", "sees", "unprotected", "protected", "at most"
    );
    let _ = writeln!(text, "{}", "-".repeat(WIDTH - 2));
    for finding in findings {
        let bound = finding.bound.map_or_else(|| "-".to_owned(), percent_up);
        let over = if finding.breaks_bound() { " !" } else { "" };
        let _ = writeln!(
            text,
            "{:<NAME$}{:<15}{:>11} {:>15} {:>9}{over}",
            name(finding),
            match finding.seen {
                Seen::Sizes => "sizes",
                Seen::Counts => "answers",
                Seen::Both => "sizes, answers",
            },
            percent(finding.unprotected.mean),
            with_error(&finding.protected),
            bound,
        );
    }
    let trials = |pick: fn(u64, u64) -> u64| findings.iter().map(|finding| finding.protected.trials).reduce(pick);
    if let (Some(fewest), Some(most)) = (trials(u64::min), trials(u64::max)) {
        let each = if fewest == most { count(most) } else { format!("{} to {}", count(fewest), count(most)) };
        let _ = writeln!(text, "± is one standard error, of {each} periods each; 50 % is a coin.");
    }
}

fn name(finding: &Finding) -> String {
    match finding.attack {
        Attack::Strongest { moved } if moved > 1 => format!("who knows all but one, {moved} sizes a query"),
        Attack::Strongest { .. } => "who knows all but one".to_owned(),
        Attack::Differencing => "filters that differ in one".to_owned(),
        Attack::Repetition { times: 1 } => "the same question repeated".to_owned(),
        Attack::Repetition { times } => format!("the same, {times} times the queries"),
        Attack::SetBias(Candidates::Independent) => format!("halving {CANDIDATES} candidates"),
        Attack::SetBias(Candidates::Alike) => format!("halving {CANDIDATES}, alike in groups of {GROUP}"),
    }
}

fn sentence(setting: &Setting, finding: &Finding) -> String {
    let guesses = format!("{} of cases", tied(&percent(finding.protected.mean)));
    let queries = plural(finding.queries, "query", "queries");
    let by = match finding.seen {
        Seen::Sizes => "the noisy sizes",
        Seen::Counts => "the answers",
        Seen::Both => "sizes and answers together",
    };
    let said = match finding.attack {
        Attack::Strongest { moved } => {
            let how = if moved > 1 && finding.seen == Seen::Sizes {
                format!(" (with entries of its own that make {moved} sizes of each query depend on it)")
            } else {
                String::new()
            };
            format!(
                "An asker who knows everything but whether one person is in the table{how}, and spends {queries} on it, guesses \
                 right in {guesses} by {by}"
            )
        }
        Attack::Differencing => format!(
            "An asker who does not know the rest and asks {} of questions whose filters differ in one person (and whose \
             announced lengths do not, where filtered_rows is 'hide') guesses right in {guesses} by {by}",
            plural(finding.queries / 2, "pair", "pairs")
        ),
        Attack::Repetition { times: 1 } => {
            format!(
                "Asking the same question {} times and averaging is right in {guesses} by {by}",
                count(finding.queries)
            )
        }
        Attack::Repetition { .. } => format!(
            "If nobody counted queries, {} of them would be right in {guesses} by {by}: the ledger stops this, the noise alone \
             does not",
            count(finding.queries)
        ),
        Attack::SetBias(Candidates::Independent) => format!(
            "Of {CANDIDATES} candidates that are in the table by a coin each, halving the list by {} decides {:.1} rightly, \
             without dummies {:.1}",
            plural(sizes_of(setting), "size", "sizes"),
            finding.protected.mean * CANDIDATES as f64,
            finding.unprotected.mean * CANDIDATES as f64,
        ),
        Attack::SetBias(Candidates::Alike) => format!(
            "Where candidates come in {} groups of {GROUP} of which 90{TIE}% or 10{TIE}% are in, one list of {CANDIDATES} gives {:.1} \
             right decisions, without dummies {:.1}. What a group has in common is a fact about the group: a budget for \
             one person does not hide it, and no bound is claimed",
            CANDIDATES / GROUP,
            finding.protected.mean * CANDIDATES as f64,
            finding.unprotected.mean * CANDIDATES as f64,
        ),
    };
    format!("{said}{}.", limits(finding))
}

/// What stands in brackets behind a rate.
fn limits(finding: &Finding) -> String {
    let mut parts = Vec::new();
    if let Some(best) = finding.best {
        parts.push(format!("no test on these numbers reaches more than {}", tied(&percent_up(best))));
    }
    if let Some(bound) = finding.bound {
        parts.push(format!("the budget allows at most {}", tied(&percent_up(bound))));
    }
    if let Some((seen, budget)) = finding.delta.filter(|(_, budget)| budget.delta > 0.0) {
        parts.push(format!("measured delta {:.1e}, allowed {:.1e}", seen.mean, budget.delta));
    }
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join("; ")) }
}

fn minimum(setting: &Setting) -> String {
    match setting.minimum_matched {
        0 => "minimum_matched is 0: questions about single persons are answered. The figures above do not rest on it."
            .to_owned(),
        least => format!(
            "minimum_matched = {least} stops none of this: an asker who knows {least} people in the table adds them to each \
             question, and the sizes are seen before an answer is refused."
        ),
    }
}

fn verdict(setting: &Setting, findings: &[Finding]) -> String {
    let broken = findings.iter().filter(|finding| finding.breaks_bound()).count();
    if broken > 0 {
        return format!(
            "{} better than the budget allows (marked !): do not share this table, and report it as a defect of this \
             program.",
            if broken == 1 { "One attack does".to_owned() } else { format!("{broken} attacks do") }
        );
    }
    let exact = match (setting.sizes, setting.outputs) {
        (None, None) => Some("Sizes and answers are"),
        (None, Some(_)) => Some("Sizes are"),
        (Some(_), None) => Some("Answers are"),
        (Some(_), Some(_)) => None,
    };
    let counted =
        format!("Rows with {UNCOUNTED} times the queries, and groups, are outside what a budget can promise.");
    match exact {
        Some(what) => format!(
            "{what} exact by policy: whoever asks about one person by them is sure. All that has a bound stays within it. {counted}"
        ),
        None => format!("No attack does better than the budget allows. {counted}"),
    }
}

fn shown(privacy: Privacy) -> String {
    match privacy.delta {
        0.0 => format!("epsilon {}", privacy.epsilon),
        delta => format!("epsilon {}, delta {delta:.1e}", privacy.epsilon),
    }
}

fn with_error(rate: &Rate) -> String {
    format!("{} ± {:.1}", percent(rate.mean), 100.0 * rate.standard_error)
}

fn percent(rate: f64) -> String {
    format!("{:.1} %", 100.0 * rate)
}

/// A bound is never rounded down.
fn percent_up(rate: f64) -> String {
    // 1e-9 of a percent above is the floats' own, not the bound's.
    format!("{:.1} %", (1000.0 * rate - 1e-9).ceil() / 10.0)
}

/// For running text: no line ends inside.
fn tied(text: &str) -> String {
    text.replace(' ', &TIE.to_string())
}

fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// With commas.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Words into lines; the first begins with `mark`, the others below its end.
fn paragraph(text: &mut String, mark: &str, words: &str) {
    let indent = " ".repeat(mark.chars().count());
    let mut line = mark.to_owned();
    let mut empty = true;
    for word in words.split(' ') {
        let width = line.chars().count() + word.chars().count() + usize::from(!empty);
        if width > WIDTH && !empty {
            text.push_str(&line.replace(TIE, " "));
            text.push('\n');
            line.clone_from(&indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    text.push_str(&line.replace(TIE, " "));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::simulate::attack_all;
    use super::*;
    use crate::crypto::ChaCha20Rng;
    use crate::dp::{Noise, OutputBudget, Ratio, default_delta, dummies};
    use rand_core::SeedableRng;

    fn subject() -> Subject {
        Subject {
            table: "purchases".to_owned(),
            peers: vec!["publisher".to_owned()],
            period: "for good",
            persons_at_most: false,
        }
    }

    fn setting(columns: u32) -> Setting {
        let delta = default_delta(100_000);
        let outputs = OutputBudget::Laplace { epsilon: Ratio::from_decimal("4").unwrap() };
        Setting {
            persons: 100_000,
            columns,
            queries: 10,
            tau: dummies(10 * u64::from(columns), 2.0, delta).unwrap(),
            noise: outputs.per_query(10).unwrap().word_noise(1, 1),
            minimum_matched: 50,
            sizes: Some(Privacy { epsilon: 2.0, delta }),
            outputs: Some(Privacy { epsilon: 4.0, delta: 0.0 }),
        }
    }

    #[test]
    fn every_line_fits_and_says_what_it_measures() {
        for setting in [
            setting(1),
            setting(3),
            Setting { sizes: None, tau: 0, outputs: None, noise: Noise::None, minimum_matched: 0, ..setting(2) },
        ] {
            let findings = attack_all(&setting, 60, &mut ChaCha20Rng::seed_from_u64(1));
            let text = report(&subject(), &setting, &findings);
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
            assert!(text.contains("knows everything but whether one person"), "{text}");
            assert_eq!(text.contains("exact by policy"), setting.sizes.is_none(), "{text}");
            assert!(!text.contains(" !\n"), "{text}");
        }
    }

    #[test]
    fn a_rate_above_its_bound_is_marked_and_said() {
        let setting = setting(1);
        let mut findings = attack_all(&setting, 60, &mut ChaCha20Rng::seed_from_u64(1));
        findings[0].bound = Some(0.1);
        let text = report(&subject(), &setting, &findings);
        assert!(text.contains(" !\n") && text.contains("do not share"), "{text}");
    }

    #[test]
    fn bounds_are_rounded_up_and_rates_to_the_nearest() {
        assert_eq!(
            (percent_up(0.88081), percent_up(0.881), percent(0.53149)),
            ("88.1 %".into(), "88.1 %".into(), "53.1 %".into())
        );
        assert_eq!(percent_up(0.88101), "88.2 %");
        assert_eq!((count(1), count(1000), count(1_234_567)), ("1".into(), "1,000".into(), "1,234,567".into()));
    }

    /// The figures of docs/security.md: `cargo test --release --lib figures_of_the_documents -- --ignored --nocapture`.
    #[test]
    #[ignore = "prints figures: takes a minute in a release build"]
    fn figures_of_the_documents() {
        for columns in [1, 3] {
            let setting = setting(columns);
            let findings = attack_all(&setting, 100_000, &mut ChaCha20Rng::seed_from_u64(1));
            assert!(findings.iter().all(|finding| !finding.breaks_bound()));
            let text = report(&subject(), &setting, &findings);
            std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).unwrap();
        }
    }
}
