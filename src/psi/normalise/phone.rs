//! `phone/1:REGION`: E.164, by the metadata and the validity rules of the `phonenumber` crate.
//!
//! The steps, for a text that is trimmed and at most [`TEXT_BYTES_MAX`] long:
//! 1. *Digits*: from the first `+` or digit on, separators (white space, `-./()`) dropped. Text
//!    with anything else goes through the crate's parser, which must find a number in it; a marked
//!    extension and RFC 3966 parameters are dropped, letters stand for their keys, and a
//!    `phone-context` is null.
//! 2. *Country*: behind a `+`, or behind the region's international prefix, the first known country
//!    code of one to three digits; else the region's. If the number is then invalid and starts with
//!    the region's own code, once more without it.
//! 3. *National number*: as written if that is valid in that country, else without the national
//!    prefix of that country (or rewritten by its rule: Argentina's 15) if *that* is valid, else
//!    null.
//!
//! Discussion: the crate's `parse` is not used for 2 and 3, for it strips the *default region's*
//! national prefix from numbers of all countries (tested below), and strips prefixes from numbers
//! that are valid with them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use phonenumber::Metadata;
use phonenumber::metadata::{DATABASE, Descriptor};
use regex::{Regex, RegexBuilder};

use super::Region;

/// Longest text, in bytes, that is looked at; libphonenumber's own limit.
const TEXT_BYTES_MAX: usize = 250;
/// Most digits of a national number: 15 by E.164, 17 in the plans of some countries.
const NATIONAL_DIGITS_MAX: usize = 17;
/// Most digits of a country code.
const COUNTRY_DIGITS_MAX: usize = 3;

/// Appends `+`, country code and national number; false where the text is no valid number.
pub(super) fn write(region: Region, text: &str, out: &mut Vec<u8>) -> bool {
    let Some(number) = dialled(region, text.trim()).and_then(|number| resolve(region, &number)) else {
        return false;
    };
    out.extend_from_slice(number.as_bytes());
    true
}

/// What one would dial: the digits, and whether a plus came first.
struct Dialled {
    plus: bool,
    digits: String,
}

fn dialled(region: Region, text: &str) -> Option<Dialled> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let plain = |character: char| character.is_ascii_digit() || matches!(character, ' ' | '-' | '.' | '/' | '(' | ')');
    let is_plus = |character: char| matches!(character, '+' | '\u{ff0b}');
    let start = text.find(|character: char| character.is_ascii_digit() || is_plus(character))?;
    let (before, number) = text.split_at(start);
    let body = number.trim_start_matches(is_plus);
    let plus = body.len() < number.len();

    let digits = if before.chars().all(plain) && body.chars().all(plain) {
        body.chars().filter(char::is_ascii_digit).collect()
    } else {
        if text.to_ascii_lowercase().contains("phone-context") {
            return None;
        }
        let parsed = phonenumber::parse(Some(region.id()), text).ok()?;
        let body = body.split(';').next().unwrap_or_default();
        let end = match parsed.extension() {
            Some(_) => body.find(|character| !plain(character)).unwrap_or(body.len()),
            None => body.len(),
        };
        body[..end].chars().filter_map(key).collect()
    };
    Some(Dialled { plus, digits })
}

/// The key that a digit or a letter is on.
fn key(character: char) -> Option<char> {
    Some(match character.to_ascii_lowercase() {
        digit @ '0'..='9' => digit,
        'a'..='c' => '2',
        'd'..='f' => '3',
        'g'..='i' => '4',
        'j'..='l' => '5',
        'm'..='o' => '6',
        'p'..='s' => '7',
        't'..='v' => '8',
        'w'..='z' => '9',
        _ => return None,
    })
}

fn resolve(region: Region, number: &Dialled) -> Option<String> {
    let home = DATABASE.by_id(region.id().as_ref())?;
    let dialled = number.digits.as_str();
    let abroad = home
        .international_prefix()
        .and_then(|prefix| prefix.find(dialled))
        .filter(|prefix| prefix.start() == 0)
        .map(|prefix| &dialled[prefix.end()..])
        .filter(|rest| !rest.starts_with('0'));
    match (number.plus, abroad) {
        // "+0049": a plus before the prefix that it stands for.
        (true, Some(rest)) if dialled.starts_with('0') => international(rest),
        (true, _) => international(dialled),
        (false, Some(rest)) => international(rest),
        (false, None) => {
            let code = home.country_code();
            let without_code = || dialled.strip_prefix(&code.to_string());
            e164(home, dialled).or_else(|| e164(home, without_code()?))
        }
    }
}

/// A number that starts with its country code.
fn international(digits: &str) -> Option<String> {
    (1..=COUNTRY_DIGITS_MAX)
        .find_map(|length| {
            let (code, national) = digits.split_at_checked(length)?;
            // No country code starts with 0, and "01" would parse as one that does exist.
            let code = code.parse::<u16>().ok().filter(|_| !code.starts_with('0'))?;
            Some((*DATABASE.by_code(&code)?.first()?, national))
        })
        .and_then(|(country, national)| e164(country, national))
}

/// The first valid reading of a number of this country.
fn e164(country: &Metadata, national: &str) -> Option<String> {
    let code = country.country_code();
    [Some(Cow::Borrowed(national)), without_national_prefix(country, national)]
        .into_iter()
        .flatten()
        .find(|national| is_valid(code, national))
        .map(|national| format!("+{code}{national}"))
}

/// The number behind what is dialled first inside the country.
fn without_national_prefix<'a>(country: &Metadata, national: &'a str) -> Option<Cow<'a, str>> {
    let Some(pattern) = country.national_prefix_for_parsing() else {
        return national.strip_prefix(country.national_prefix()?).map(Cow::Borrowed);
    };
    let found = pattern.captures(national)?;
    let prefix = found.get(0).filter(|prefix| prefix.start() == 0)?;
    let last_group = found.get(found.len() - 1).filter(|_| found.len() > 1);
    match country.national_prefix_transform_rule() {
        Some(rule) if last_group.is_some() => Some(pattern.replace(national, rule)),
        _ => Some(Cow::Borrowed(&national[prefix.end()..])),
    }
}

/// As the crate's `is_valid` decides, without its detour over a parsed number.
fn is_valid(code: u16, national: &str) -> bool {
    if national.len() > NATIONAL_DIGITS_MAX {
        return false;
    }
    let regions = DATABASE.by_code(&code).unwrap_or_default();
    if let [only] = regions.as_slice() {
        return has_type(only, national);
    }
    for region in regions {
        let claims = match region.leading_digits() {
            Some(leading) => leading.find(national).is_some_and(|found| found.start() == 0),
            None => has_type(region, national),
        };
        if claims {
            return has_type(region, national);
        }
    }
    false
}

/// Whether the number is of any type that can be called from abroad.
fn has_type(region: &'static Metadata, national: &str) -> bool {
    let descriptors = region.descriptors();
    // The frequent ones first: each miss is a regular expression.
    let types = [
        descriptors.mobile(),
        descriptors.fixed_line(),
        descriptors.toll_free(),
        descriptors.voip(),
        descriptors.premium_rate(),
        descriptors.shared_cost(),
        descriptors.personal_number(),
        descriptors.pager(),
        descriptors.uan(),
        descriptors.voicemail(),
    ];
    is_match(descriptors.general(), national)
        && types.into_iter().flatten().any(|descriptor| is_match(descriptor, national))
}

thread_local! {
    /// The metadata's expressions that this thread has met, compiled, by their place in the metadata.
    static COMPILED: RefCell<HashMap<*const Descriptor, Option<Regex>>> = RefCell::default();
}

/// As the crate's own [`Descriptor::is_match`] decides, by an expression of this thread's own: the crate keeps a hundred
/// compiled ones for all threads behind one lock, for which two threads wait longer than one alone computes.
fn is_match(descriptor: &'static Descriptor, national: &str) -> bool {
    let lengths = descriptor.possible_length();
    if !lengths.is_empty() && !lengths.iter().any(|length| usize::from(*length) == national.len()) {
        return false;
    }
    COMPILED.with_borrow_mut(|compiled| {
        let expression = compiled.entry(descriptor).or_insert_with(|| {
            // Compiled as the crate does. What does not compile, which none of them is, matches by the crate.
            RegexBuilder::new(descriptor.national_number().as_str()).ignore_whitespace(true).build().ok()
        });
        match expression {
            Some(expression) => expression.find(national).is_some_and(|found| found.start() == 0),
            None => descriptor.is_match(national),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::Normaliser;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn expressions_of_our_own_decide_as_the_crates_do_in_every_region() {
        let mut compared = 0;
        for region in (1..=999u16).flat_map(|code| DATABASE.by_code(&code).unwrap_or_default()) {
            let descriptors = region.descriptors();
            let some = [Some(descriptors.general()), descriptors.mobile(), descriptors.fixed_line()];
            for descriptor in some.into_iter().flatten() {
                let example = descriptor.example().unwrap_or("5551234").to_owned();
                let changed = example.replace(['1', '2'], "9");
                for text in [&example, &changed, &format!("{example}0"), "", "5", "2125551234", "1512 3456789"] {
                    assert_eq!(is_match(descriptor, text), descriptor.is_match(text), "{text}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 4000, "{compared}");
    }

    fn phone(region: &str, text: &str) -> Option<String> {
        let normaliser: Normaliser = format!("phone/1:{region}").parse().unwrap();
        normaliser.normalise_str(text).map(|identifier| String::from_utf8(identifier).unwrap())
    }

    #[test]
    fn one_number_has_one_spelling() {
        for (region, text, expected) in [
            ("US", "2125551234", "+12125551234"),
            ("US", "12125551234", "+12125551234"),
            ("US", "(212) 555-1234", "+12125551234"),
            ("US", " +1 212.555.1234 ", "+12125551234"),
            ("US", "\u{202a}+1 212 555 1234\u{202c}", "+12125551234"),
            ("US", "Tel: 212-555-1234", "+12125551234"),
            ("US", "212 555 1234 ext. 56", "+12125551234"),
            ("US", "212.555.1234x7", "+12125551234"),
            ("US", "tel:+1-212-555-1234;ext=4", "+12125551234"),
            ("US", "1-800-FLOWERS", "+18003569377"),
            ("US", "011 49 1512 3456789", "+4915123456789"),
            ("DE", "0151 23456789", "+4915123456789"),
            ("DE", "0049 151 23456789", "+4915123456789"),
            ("DE", "+0049 151 23456789", "+4915123456789"),
            ("DE", "+49 (0)151 23456789", "+4915123456789"),
            ("DE", "+1 212 555 1234", "+12125551234"),
            ("IT", "02 3661 8300", "+390236618300"),
            ("US", "+39 02 3661 8300", "+390236618300"),
            ("GB", "07912 345678", "+447912345678"),
            ("RU", "8 800 555-35-35", "+78005553535"),
            ("RU", "+7 800 555-35-35", "+78005553535"),
            ("AR", "011 15 2345-6789", "+5491123456789"),
        ] {
            assert_eq!(phone(region, text).as_deref(), Some(expected), "{region} {text:?}");
        }
    }

    #[test]
    fn what_is_no_valid_number_identifies_nobody() {
        for text in [
            "",
            " ",
            "-",
            "+",
            "0",
            "12",
            "555-1234",
            "1234567890",
            "+1 212 555 12345",
            "+999 123456789",
            "+0",
            "+01 212 555 1234",
            "someletters1110@gmail.com",
            "not a number",
            "+49123",
            "tel:03-331-6005;phone-context=+64",
            "212 555 1234 or 212 555 4321",
        ] {
            assert_eq!(phone("US", text), None, "{text:?}");
        }
        assert_eq!(phone("US", &format!("2125551234{}", " ".repeat(500))), phone("US", "2125551234"));
        assert_eq!(phone("US", &format!("212{}5551234", " ".repeat(500))), None);
    }

    /// Why `phonenumber::parse` alone does not do: were this to fail, it could be used after all.
    #[test]
    fn the_crate_s_parser_strips_the_default_region_s_prefix_from_foreign_numbers() {
        let parsed = phonenumber::parse("US".parse().ok(), "+49 1512 3456789").unwrap();
        assert!(phonenumber::is_valid(&parsed));
        assert_eq!(parsed.national().value(), 5_123_456_789);
        assert_eq!(phone("US", "+49 1512 3456789").as_deref(), Some("+4915123456789"));
    }

    /// All examples of the metadata, whose regions are the crate's own tests' subjects.
    #[test]
    fn every_region_s_example_numbers_keep_their_digits() {
        let mut examples = 0;
        for country in DATABASE.iter() {
            let home = country.id().parse::<Region>().ok();
            let types = country.descriptors();
            let examples_of = [types.mobile(), types.fixed_line(), types.toll_free()];
            for example in examples_of.into_iter().flatten().filter_map(|d| d.example()) {
                let expected = format!("+{}{example}", country.country_code());
                assert_eq!(phone("US", &expected), Some(expected.clone()));
                assert_eq!(phone("DE", &expected), Some(expected.clone()));
                if let Some(home) = home {
                    let national = phone(&home.to_string(), example);
                    assert_eq!(national, Some(expected), "{home} {example}");
                }
                examples += 1;
            }
        }
        assert!(examples > 500, "{examples}");
    }

    fn regions() -> impl Strategy<Value = String> {
        proptest::sample::select(Region::all().collect::<Vec<_>>())
    }

    proptest! {
        /// Otherwise a table that was normalised once already would match less.
        #[test]
        fn a_normalised_number_normalises_to_itself_in_every_region(
            text in "\\+?[0-9]{6,14}|(\\+1|\\+49|\\+7|\\+44|\\+52|\\+54|\\+55)[0-9]{8,11}",
            home in regions(),
            other in regions(),
        ) {
            if let Some(number) = phone(&home, &text) {
                prop_assert_eq!(phone(&other, &number), Some(number.clone()));
                prop_assert_eq!(phone(&home, &number), Some(number));
            }
        }

        #[test]
        fn no_text_panics(
            text in "[-+0-9xX#;,.()/ ~*:=@a-fA-F１２٣é\u{200e}]{0,24}|(tel:)?[+]?[0-9]{0,20}(;ext=|;phone-context=|x|#)?[+0-9]{0,8}|\\PC{0,20}",
            region in regions(),
        ) {
            if let Some(number) = phone(&region, &text) {
                prop_assert!(number.starts_with('+') && number.len() > 5, "{}", number);
            }
        }
    }
}
