//! Texts that somebody else wrote, on their way into a log, an error, a table or a terminal: one rule for all of them.
//!
//! They may not begin a line of their own, steer a terminal, or reorder or hide what stands beside them, and they are
//! bounded. Rows of a user's own tables are no such texts: they are shown as they are.

/// The most bytes of a column's name, in a policy and from a peer.
const COLUMN_BYTES_MAX: usize = 256;

/// Whether a character does more than stand in its place: controls, and the marks that reorder or hide what follows.
fn steers(c: char) -> bool {
    let hides = matches!(
        c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    c.is_control() || hides
}

/// Whether a text can be shown on one line as it is.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.chars().any(steers)
}

/// Whether a text can be a column's name. Columns are named by files, so anything goes that can be shown on one line as
/// it is; SQL quotes what needs it.
pub(crate) fn is_column(text: &str) -> bool {
    !text.is_empty() && text.len() <= COLUMN_BYTES_MAX && is_plain(text)
}

/// The text on one line, of at most `chars_max` characters and `…`: a space stands for whatever steers. For messages.
pub(crate) fn one_line(text: &str, chars_max: usize) -> String {
    cut(text, chars_max, |c, line| line.push(if steers(c) { ' ' } else { c }))
}

/// The same with whatever steers as its escape (`\u{1b}`): for questions, of which nothing may be lost.
pub(crate) fn escaped(text: &str, chars_max: usize) -> String {
    cut(text, chars_max, |c, line| if steers(c) { line.extend(c.escape_default()) } else { line.push(c) })
}

fn cut(text: &str, chars_max: usize, push: impl Fn(char, &mut String)) -> String {
    let mut chars = text.chars();
    let mut line = String::with_capacity(text.len().min(chars_max));
    chars.by_ref().take(chars_max).for_each(|c| push(c, &mut line));
    if chars.next().is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_cannot_forge_lines_steer_terminals_or_flood_a_log() {
        assert_eq!(one_line("a\nb\u{1b}[31m\u{202e}c", 600), "a b [31m c");
        assert_eq!(escaped("a\nb\u{1b}[31m\u{202e}ä\\", 600), "a\\nb\\u{1b}[31m\\u{202e}ä\\");
        for shown in [one_line, escaped] {
            assert_eq!(shown("ääää", 4), "ääää");
            assert_eq!(shown("äääää", 4), "ääää…");
            assert_eq!(shown("ä", 0), "…");
            assert_eq!(shown("", 0), "");
            for c in (0..=0x2100).chain([0xfeff]).filter_map(char::from_u32).filter(|c| steers(*c)) {
                assert!(is_plain(&shown(&format!("a{c}b"), 10)), "{c:?}");
            }
        }
    }

    #[test]
    fn columns_are_named_by_files_in_any_script_but_on_one_line() {
        for name in ["id", "E-Mail address", "Straße", "名前", "a\"b", &"x".repeat(256)] {
            assert!(is_column(name), "{name}");
        }
        for name in ["", "a\nb", "a\u{1b}[2J", "a\u{202e}b", "\u{feff}id", &"x".repeat(257)] {
            assert!(!is_column(name), "{name:?}");
        }
    }
}
