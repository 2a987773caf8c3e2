//! `email/1`: one spelling of an e-mail address. The steps are in the room's doc.

use std::borrow::Cow;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Characters that RFC 5322 keeps for other purposes than an unquoted local part ("specials",
/// without the dot and the at sign).
const SPECIALS: &str = "()<>[]:;,\\\"";

/// Appends the address in its one spelling; false where the text is no address.
pub(super) fn write(text: &str, out: &mut Vec<u8>) -> bool {
    let text = nfc(Cow::Borrowed(text.trim()));
    let Some((local, domain)) = split(&text) else {
        return false;
    };
    if !is_local_part(local) {
        return false;
    }
    let Ok(domain) =
        Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
    else {
        return false;
    };
    let local = if local.is_ascii() {
        Cow::Owned(local.to_ascii_lowercase())
    } else {
        // Lower case can decompose, so NFC once more: the result is its own normal form.
        nfc(Cow::Owned(local.to_lowercase()))
    };
    out.extend_from_slice(local.as_bytes());
    out.push(b'@');
    out.extend_from_slice(domain.as_bytes());
    true
}

fn nfc(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(&text) {
        return text;
    }
    Cow::Owned(text.nfc().collect())
}

/// The parts around the one `@` outside double quotes.
fn split(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let mut escaped = false;
    let mut at = None;
    for (position, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            // The second one.
            '@' if !quoted && at.is_some() => return None,
            '@' if !quoted => at = Some(position),
            _ => {}
        }
    }
    let at = at.filter(|_| !quoted)?;
    Some((&text[..at], &text[at + 1..]))
}

fn is_local_part(local: &str) -> bool {
    if local.is_empty() || local.chars().any(char::is_control) {
        return false;
    }
    match local.strip_prefix('"') {
        None => !local.chars().any(|character| character.is_whitespace() || SPECIALS.contains(character)),
        Some(rest) => {
            // One quoted string, not empty: the only unescaped quote is the last character.
            let mut escaped = false;
            let closing = rest.char_indices().find(|(_, character)| {
                let closes = *character == '"' && !escaped;
                escaped = *character == '\\' && !escaped;
                closes
            });
            closing.is_some_and(|(position, _)| position > 0 && position + 1 == rest.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Normaliser;
    use proptest::prelude::*;

    fn email(text: &str) -> Option<String> {
        Normaliser::Email.normalise_str(text).map(|identifier| String::from_utf8(identifier).unwrap())
    }

    #[test]
    fn one_address_has_one_spelling() {
        for (text, expected) in [
            ("ann@example.org", "ann@example.org"),
            ("  Ann@Example.ORG\t\n", "ann@example.org"),
            ("\u{a0}ann@example.org\u{3000}", "ann@example.org"),
            ("a.b+tag@Example.org", "a.b+tag@example.org"),
            ("o'brien@example.org", "o'brien@example.org"),
            ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
            ("ann@xn--BCHER-KVA.example", "ann@xn--bcher-kva.example"),
            ("ann@faß.de", "ann@xn--fa-hia.de"),
            ("ann@例え。jp", "ann@xn--r8jz45g.jp"),
            ("ZO\u{cb}@example.org", "zo\u{eb}@example.org"),
            ("ZOE\u{308}@example.org", "zo\u{eb}@example.org"),
            ("root@localhost", "root@localhost"),
            ("\"A @ B\"@Example.org", "\"a @ b\"@example.org"),
            ("\"a\\\"b\"@example.org", "\"a\\\"b\"@example.org"),
        ] {
            assert_eq!(email(text).as_deref(), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_address_identifies_nobody() {
        for text in [
            "",
            " ",
            "ann",
            "@",
            "@example.org",
            "ann@",
            "ann@@example.org",
            "a@b@example.org",
            "ann lee@example.org",
            "Ann <ann@example.org>",
            "ann@example.org, bob@example.org",
            "ann@example.org;bob",
            "an\u{7}n@example.org",
            "\"an\u{7}n\"@example.org",
            "ann@example..org",
            "ann@example.org.",
            "ann@.org",
            "ann@-example.org",
            "ann@exa mple.org",
            "ann@exa_mple.org",
            "ann@[192.0.2.1]",
            "ann@xn--a.example",
            "\"ann@example.org",
            "\"\"@example.org",
            "\"a\"b@example.org",
            "a\"b\"@example.org",
            "(comment)ann@example.org",
        ] {
            assert_eq!(email(text), None, "{text:?}");
        }
        let label = "a".repeat(64);
        assert_eq!(email(&format!("ann@{label}.org")), None);
        assert!(email(&format!("ann@{}.org", &label[1..])).is_some());
    }

    proptest! {
        /// Otherwise a table that was normalised once already would match less.
        #[test]
        fn a_normalised_address_normalises_to_itself(
            local in "[A-Za-zÀ-žΑ-ωŁİẞ.+\u{300}-\u{308}]{1,8}",
            domain in "[A-Za-zÀ-žΑ-ωßİ0-9\u{300}-\u{304}-]{1,6}(\\.[A-Za-zé]{1,4})?",
        ) {
            if let Some(once) = email(&format!("{local}@{domain}")) {
                prop_assert_eq!(email(&once), Some(once));
            }
        }

        #[test]
        fn any_text_is_an_address_or_nobody(text in "\\PC{0,12}|[@\"\\\\a. ]{0,10}") {
            if let Some(address) = email(&text) {
                prop_assert_eq!(email(&address), Some(address));
            }
        }
    }
}
