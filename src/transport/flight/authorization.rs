//! The header `authorization` of a request: `Bearer TOKEN`, or `Basic` with a name and a token.

use tonic::metadata::MetadataMap;
use zeroize::Zeroizing;

/// The header's name.
const HEADER: &str = "authorization";

/// The most bytes of its value: a token has 68.
const VALUE_BYTES_MAX: usize = 1024;

/// What a request shows. Wiped when dropped.
#[derive(PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    /// A token, and, where `Basic` gave one, the name that it should be of.
    Token {
        name: Option<String>,
        token: Zeroizing<Vec<u8>>,
    },
    /// Something else.
    Unreadable,
}

impl Shown {
    /// Reads a request's header.
    pub(super) fn in_header(metadata: &MetadataMap) -> Shown {
        let mut values = metadata.get_all(HEADER).iter();
        let (Some(value), more) = (values.next(), values.next()) else { return Shown::Nothing };
        let text = value.as_encoded_bytes();
        if more.is_some() || text.len() > VALUE_BYTES_MAX {
            return Shown::Unreadable;
        }
        if let Some(token) = after(text, b"bearer ") {
            return Shown::Token { name: None, token: Zeroizing::new(token.trim_ascii().to_vec()) };
        }
        match after(text, b"basic ").map(|encoded| decode(encoded.trim_ascii())) {
            Some(Some(pair)) => Shown::pair(&pair),
            _ => Shown::Unreadable,
        }
    }

    /// Reads `NAME:TOKEN`.
    fn pair(pair: &[u8]) -> Shown {
        let Some(colon) = pair.iter().position(|byte| *byte == b':') else { return Shown::Unreadable };
        let Ok(name) = std::str::from_utf8(&pair[..colon]) else { return Shown::Unreadable };
        Shown::named(name, &pair[colon + 1..])
    }

    /// A name and a token.
    pub(super) fn named(name: &str, token: &[u8]) -> Shown {
        Shown::Token { name: Some(name.to_owned()), token: Zeroizing::new(token.to_vec()) }
    }
}

/// What follows a word, whose case does not matter (RFC 9110, 11.1).
fn after<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let head = text.get(..word.len())?;
    head.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
}

/// Base64 (RFC 4648, section 4), its padding there or not.
fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let (digits, padding) = text.split_at(end);
    if padding.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len() * 3 / 4));
    for group in digits.chunks(4) {
        let mut bits: u32 = 0;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        for at in 0..group.len().saturating_sub(1) {
            bytes.push((bits >> (16 - 8 * at)) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[&str]) -> Shown {
        let mut metadata = MetadataMap::new();
        for value in values {
            metadata.append(HEADER, value.parse().unwrap());
        }
        Shown::in_header(&metadata)
    }

    #[test]
    fn both_schemes_are_read_whatever_their_case_and_others_are_unreadable() {
        let token = |name: Option<&str>, token: &str| Shown::Token {
            name: name.map(str::to_owned),
            token: Zeroizing::new(token.as_bytes().to_vec()),
        };
        assert!(shown(&[]) == Shown::Nothing);
        for value in ["Bearer psi-1", "bearer psi-1", "BEARER  psi-1 "] {
            assert!(shown(&[value]) == token(None, "psi-1"), "{value}");
        }
        // ana:psi-1, ana:a:b, and ana with an empty token.
        assert!(shown(&["Basic YW5hOnBzaS0x"]) == token(Some("ana"), "psi-1"));
        assert!(shown(&["basic YW5hOmE6Yg=="]) == token(Some("ana"), "a:b"));
        assert!(shown(&["basic YW5hOmE6Yg"]) == token(Some("ana"), "a:b"));
        assert!(shown(&["Basic YW5hOg=="]) == token(Some("ana"), ""));
        for value in ["Digest x", "Basic", "Basic YW5h", "Basic Y!", "Basic Y", "Basic /w==", "psi-1"] {
            assert!(shown(&[value]) == Shown::Unreadable, "{value}");
        }
        assert!(shown(&["Bearer a", "Bearer b"]) == Shown::Unreadable, "two tokens");
        assert!(shown(&[&format!("Bearer {}", "x".repeat(VALUE_BYTES_MAX))]) == Shown::Unreadable);
    }

    #[test]
    fn base64_is_decoded_as_the_rfc_gives_it() {
        let table =
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmFy", "foobar")];
        for (text, bytes) in table {
            assert_eq!(decode(text.as_bytes()).unwrap().as_slice(), bytes.as_bytes());
        }
        assert_eq!(decode(b"+/+/").unwrap().as_slice(), [0xfb, 0xff, 0xbf]);
        for text in ["Zg===", "Z", "Zm9vY", "Zm 9v", "Zm=v"] {
            assert!(decode(text.as_bytes()).is_none(), "{text}");
        }
    }
}
