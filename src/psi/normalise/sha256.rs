//! `sha256/1`: identifiers that come hashed.

/// Bytes of a SHA-256 hash.
const HASH_BYTES: usize = 32;

/// Appends the 32 bytes that 64 hex digits of either case spell.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) -> bool {
    let digits = text.as_bytes();
    if digits.len() != 2 * HASH_BYTES {
        return false;
    }
    for pair in digits.chunks_exact(2) {
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
            return false;
        };
        out.push((high << 4 | low) as u8);
    }
    true
}

/// Appends a binary value of exactly 32 bytes.
pub(super) fn write_bytes(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    value.len() == HASH_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psi::hex_of as hex;
    use sha2::{Digest, Sha256};

    #[test]
    fn hex_of_either_case_is_the_hash_itself() {
        let hash = Sha256::digest(b"ann@example.org");
        for text in [hex(&hash), hex(&hash).to_uppercase()] {
            let mut out = Vec::new();
            assert!(write_text(&text, &mut out));
            assert_eq!(out, hash.as_slice());
        }
    }

    #[test]
    fn what_is_not_64_hex_digits_is_nobody() {
        let good = hex(&[0x5a; 32]);
        let mut out = Vec::new();
        for text in [
            good[1..].to_owned(),
            format!("{good}0"),
            format!(" {}", &good[1..]),
            format!("0x{}", &good[2..]),
            format!("{}g", &good[1..]),
            format!("+{}", &good[1..]),
            format!("{}é", &good[2..]),
        ] {
            assert!(!write_text(&text, &mut out), "{text}");
        }
    }
}
