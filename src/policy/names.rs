//! Which names a policy may give, and which known name a misspelt one probably meant.

use crate::psi::one_line;

/// The most bytes of a name that a policy gives (a party, peer, table or population).
const NAME_BYTES_MAX: usize = 63;
/// The longest text that is compared with known names, in bytes.
const PROBABLY_BYTES_MAX: usize = 256;

/// Names that SQL needs for itself: schemas of the default catalog.
const RESERVED: [&str; 3] = ["information_schema", "psi", "public"];

/// The rule in words, for errors.
pub(super) const NAME_RULE: &str = "a name starts with a lower-case letter and goes on with at most 62 lower-case letters, digits or '_', so that SQL needs no quotes around it";

/// Whether a name may stand for a party, peer, table or population: usable in SQL without quotes,
/// where unquoted names are lower case.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Whether SQL keeps the name for a schema of its own.
pub(super) fn is_reserved(text: &str) -> bool {
    RESERVED.contains(&text)
}

/// The known name that `text` probably meant: equal but for case, or at most two edits away (one for
/// names of up to four letters).
pub(super) fn probably<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > PROBABLY_BYTES_MAX {
        return None;
    }
    let lower = text.to_lowercase();
    known
        .into_iter()
        .filter(|name| name.len() <= PROBABLY_BYTES_MAX)
        .map(|name| (edits(&lower, &name.to_lowercase()), name))
        .filter(|(edits, name)| *edits <= if name.chars().count() <= 4 { 1 } else { 2 })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// `did you mean 'x'?` where something is near, else `CHOICES: a, b, c` (or `none` where there are none).
pub(super) fn advice<'a>(text: &str, choices: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match probably(text, known.clone()) {
        Some(name) => format!("did you mean '{name}'?"),
        None => format!("{choices}: {}", listed(known)),
    }
}

/// The names with commas between them, or `none`.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A text from outside as it may stand in a message: one line, at most 64 characters.
pub(super) fn shown(text: &str) -> String {
    one_line(text, 64)
}

/// A key or text as TOML writes it: bare where it may be, else quoted.
pub(super) fn toml_key(text: &str) -> String {
    let bare = |byte: u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-');
    if !text.is_empty() && text.bytes().all(bare) { text.to_owned() } else { toml_text(text) }
}

/// A text as a quoted TOML string.
pub(super) fn toml_text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Levenshtein distance in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (above + 1).min(row[j] + 1).min(diagonal + usize::from(from != *to));
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_sql_reads_without_quotes() {
        for name in ["a", "advertiser", "bank_2", &"x".repeat(63)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "A", "2x", "_x", "a-b", "a b", "ä", "a.b", &"x".repeat(64)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(probably("identifer", ["identifiers", "with"]), Some("identifiers"));
        assert_eq!(probably("Email", ["email", "phone"]), Some("email"));
        assert_eq!(probably("wth", ["with", "of"]), Some("with"));
        assert_eq!(probably("of", ["with", "by"]), None);
        assert_eq!(probably("colour", ["with", "table"]), None);
    }

    #[test]
    fn texts_from_outside_stay_on_one_line_and_short() {
        assert_eq!(shown("a\nb"), "a b");
        assert_eq!(shown(&"x".repeat(70)).chars().count(), 65);
        assert_eq!(toml_key("E-Mail"), "E-Mail");
        assert_eq!(toml_key("my \"col\""), r#""my \"col\"""#);
    }
}
