//! What the prompt knows of SQL: when a statement is whole, which names could follow, and its own commands.
//!
//! A statement ends with a semicolon that stands in no text, name or comment. Names are completed from what the session
//! knows without asking anybody: pressing a key never connects to a peer.

use std::sync::{Arc, PoisonError, RwLock};

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

/// Words of SQL that are worth completing beside names.
const WORDS: [&str; 31] = [
    "AND",
    "AS",
    "BETWEEN",
    "BY",
    "CASE",
    "COPY",
    "CREATE",
    "DATE",
    "DESCRIBE",
    "END",
    "EXPLAIN ANALYZE",
    "FILTER",
    "FROM",
    "GROUP BY",
    "HAVING",
    "INTERVAL",
    "IS NOT NULL",
    "JOIN",
    "LIKE",
    "LIMIT",
    "ORDER BY",
    "SELECT",
    "SET",
    "SHOW TABLES",
    "TABLE",
    "THEN",
    "UNION ALL",
    "VIEW",
    "WHEN",
    "WHERE",
    "WITH",
];

/// The names of a session, renewed after each statement.
pub(super) type Names = Arc<RwLock<Vec<String>>>;

/// The editor's knowledge of SQL.
pub(super) struct SqlHelper(pub(super) Names);

impl Completer for SqlHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        // A list of names is whole after every single operation.
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (start, found) = complete(&names, &line[..at]);
        Ok((start, found.into_iter().map(|name| Pair { display: name.clone(), replacement: name }).collect()))
    }
}

impl Validator for SqlHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        Ok(if is_command(text) || is_whole(text) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Hinter for SqlHelper {
    type Hint = String;
}

impl Highlighter for SqlHelper {}

impl Helper for SqlHelper {}

/// What begins with a backslash, or ends the prompt: no SQL.
pub(super) fn is_command(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('\\') || matches!(text.trim_end_matches(';'), "exit" | "quit")
}

/// A command of the prompt's own.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PromptCommand {
    /// `\q`, `exit`, `quit`
    Quit,
    /// `\timing`
    Timing,
    /// `\?`
    Help,
    /// SQL that stands for `\d` or `\d NAME`.
    Run(String),
}

/// What the prompt's help says.
pub(super) const HELP: &str = "\\d           tables that are known here (a peer's once they have been asked about)
\\d NAME      columns of one, such as \\d advertiser.purchases
\\timing      print how long each statement takes, or stop it
\\q           leave
Statements end with ';' and may take several lines. EXPLAIN shows what a private query will cost, before it runs.";

/// Reads a command; `Err` says what is possible.
pub(super) fn command(text: &str) -> Result<PromptCommand, String> {
    let mut words = text.trim().trim_end_matches(';').split_whitespace();
    let (first, second, more) = (words.next().unwrap_or_default(), words.next(), words.next());
    match (first, second, more) {
        ("exit" | "quit" | "\\q", None, None) => Ok(PromptCommand::Quit),
        ("\\timing", None, None) => Ok(PromptCommand::Timing),
        ("\\?" | "\\h" | "\\help", None, None) => Ok(PromptCommand::Help),
        ("\\d" | "\\dt", None, None) => Ok(PromptCommand::Run(
            "SELECT table_schema AS schema, table_name AS name, table_type AS kind FROM information_schema.tables \
             WHERE table_schema <> 'information_schema' ORDER BY 1, 2;"
                .to_owned(),
        )),
        ("\\d", Some(name), None) => Ok(PromptCommand::Run(format!("DESCRIBE {name};"))),
        _ => Err(format!("'{}' is no command of the prompt; \\? lists them", text.trim())),
    }
}

/// Where the word that is being written begins, and how it could go on.
fn complete(names: &[String], line: &str) -> (usize, Vec<String>) {
    let start = line
        .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
        .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    let written = line[start..].to_lowercase();
    if written.is_empty() {
        return (start, Vec::new());
    }
    let mut found: Vec<String> = names
        .iter()
        .map(String::as_str)
        .chain(WORDS)
        .filter(|name| name.len() > written.len() && name.to_lowercase().starts_with(&written))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    (start, found)
}

/// Whether the last thing of a text is a semicolon that ends a statement.
pub(super) fn is_whole(text: &str) -> bool {
    let mut rest = text;
    let mut ended = false;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '\'' | '"' => match rest[1..].find(c) {
                Some(end) => end + 2,
                None => return false,
            },
            '-' if rest.starts_with("--") => match rest.find('\n') {
                Some(end) => {
                    rest = &rest[end..];
                    continue;
                }
                None => return ended,
            },
            '/' if rest.starts_with("/*") => match rest.find("*/") {
                Some(end) => {
                    rest = &rest[end + 2..];
                    continue;
                }
                None => return false,
            },
            c => c.len_utf8(),
        };
        if !c.is_whitespace() {
            ended = c == ';';
        }
        rest = &rest[skipped..];
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_at_a_semicolon_outside_of_texts_names_and_comments() {
        for whole in [
            "SELECT 1;",
            "SELECT 1; -- done",
            "SELECT ';';",
            "SELECT 'it''s';\n",
            "SELECT \";\" FROM t; /* ; */",
            "SELECT 1 -- a ; b\n;",
        ] {
            assert!(is_whole(whole), "{whole}");
        }
        for more in [
            "",
            "SELECT 1",
            "SELECT ';",
            "SELECT 'a;'",
            "SELECT 1 -- a;",
            "SELECT 1 /* ;",
            "SELECT 1; SELECT 2",
            "SELECT \"a;\"",
            "SELECT 'ü",
        ] {
            assert!(!is_whole(more), "{more}");
        }
    }

    #[test]
    fn names_are_completed_where_they_are_written_and_in_any_case() {
        let names: Vec<String> =
            ["purchases", "advertiser.purchases", "psi.budget", "private_intersect_sum"].map(str::to_owned).to_vec();
        let of = |line: &str| complete(&names, line);
        assert_eq!(of("SELECT * FROM ADV"), (14, vec!["advertiser.purchases".to_owned()]));
        assert_eq!(of("SELECT Private_"), (7, vec!["private_intersect_sum".to_owned()]));
        assert_eq!(of("sel"), (0, vec!["SELECT".to_owned()]));
        assert_eq!(of("é psi.b"), (3, vec!["psi.budget".to_owned()]));
        assert_eq!(of("SELECT ").1, Vec::<String>::new(), "nothing written, nothing to go on from");
        assert_eq!(of("SELECT purchases").1, Vec::<String>::new(), "what is whole needs no more");
    }

    #[test]
    fn commands_of_the_prompt_are_read_and_others_are_refused_in_words() {
        assert_eq!(command("\\q"), Ok(PromptCommand::Quit));
        assert_eq!(command(" quit;\n"), Ok(PromptCommand::Quit));
        assert_eq!(command("\\timing"), Ok(PromptCommand::Timing));
        assert_eq!(command("\\d bank.accounts"), Ok(PromptCommand::Run("DESCRIBE bank.accounts;".to_owned())));
        assert!(matches!(command("\\d"), Ok(PromptCommand::Run(text)) if text.contains("information_schema")));
        for wrong in ["\\x", "\\d a b", "\\timing on off", "\\"] {
            assert!(command(wrong).is_err_and(|text| text.contains("\\?")), "{wrong}");
        }
        assert!(is_command("\\d x") && is_command("exit") && is_command(" ") && !is_command("SELECT '\\d'"));
    }
}
