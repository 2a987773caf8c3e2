//! Invented people, and how they spell what identifies them.

use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::crypto::ChaCha20Rng;

const GIVEN: [&str; 24] = [
    "Ada", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Hugo", "Ida", "Jonas", "Klara", "Leo", "Mia", "Noah",
    "Olga", "Paul", "Quinn", "Rosa", "Samuel", "Tess", "Uma", "Victor", "Wanda", "Yusuf",
];
const SURNAMES: [&str; 32] = [
    "Adler",
    "Baker",
    "Castro",
    "Dupont",
    "Eriksen",
    "Fischer",
    "Garcia",
    "Huber",
    "Ivanova",
    "Jensen",
    "Keller",
    "Lopez",
    "Müller",
    "Novak",
    "Okafor",
    "Pérez",
    "Quist",
    "Rossi",
    "Schneider",
    "Tanaka",
    "Ueda",
    "Varga",
    "Weber",
    "Xu",
    "Yilmaz",
    "Zimmer",
    "Ångström",
    "Brandt",
    "Collins",
    "Dvořák",
    "Evans",
    "Fontaine",
];
/// Area codes of the United States in which 555-01XX is a valid number that nobody has.
const AREAS: [u16; 200] = [
    201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218, 219, 220, 223, 224, 225, 227, 228,
    229, 231, 234, 239, 240, 248, 251, 252, 253, 254, 256, 260, 262, 267, 269, 270, 272, 276, 279, 281, 301, 302, 303,
    304, 305, 307, 308, 309, 310, 312, 313, 314, 315, 316, 317, 318, 319, 320, 321, 323, 325, 326, 330, 331, 332, 334,
    336, 337, 339, 341, 346, 347, 351, 352, 360, 361, 364, 380, 385, 386, 401, 402, 404, 405, 406, 407, 408, 409, 410,
    412, 413, 414, 415, 417, 419, 423, 424, 425, 430, 432, 434, 435, 440, 442, 443, 445, 447, 448, 458, 463, 464, 469,
    470, 475, 478, 479, 480, 484, 501, 502, 503, 504, 505, 507, 508, 509, 510, 512, 513, 515, 516, 517, 518, 520, 530,
    531, 534, 539, 540, 541, 551, 559, 561, 562, 563, 564, 567, 570, 571, 572, 573, 574, 575, 580, 582, 585, 586, 601,
    602, 603, 605, 606, 607, 608, 609, 610, 612, 614, 615, 616, 617, 618, 619, 620, 623, 626, 628, 629, 630, 631, 636,
    640, 641, 646, 650, 651, 656, 657, 659, 660, 661, 662, 667, 669, 678, 680, 681,
];
/// Days of birth: from 1930-01-01, over 70 years.
const BORN_FIRST: i32 = -14_610;
const BORN_DAYS: u64 = 25_567;

/// Deterministic chance. The modulo's bias is far below what anybody could see in invented data.
pub(in super::super) struct Draw(ChaCha20Rng);

impl Draw {
    pub(in super::super) fn new(seed: u64) -> Self {
        Draw(ChaCha20Rng::seed_from_u64(seed))
    }

    /// A number of `range`, its end excluded; the range is not empty.
    pub(super) fn within(&mut self, range: std::ops::Range<i64>) -> i64 {
        range.start + (self.0.next_u64() % (range.end - range.start).unsigned_abs()) as i64
    }

    /// True this many times in a hundred.
    pub(super) fn percent(&mut self, hundredths: i64) -> bool {
        self.within(0..100) < hundredths
    }

    /// The value, this many times in a hundred.
    pub(super) fn sometimes<T>(&mut self, hundredths: i64, value: T) -> Option<T> {
        self.percent(hundredths).then_some(value)
    }

    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.within(0..choices.len() as i64) as usize]
    }

    /// How many rows somebody has: one often, `most` seldom.
    pub(super) fn few(&mut self, most: i64) -> i64 {
        let reach = self.within(1..most + 1);
        self.within(1..reach + 1)
    }

    /// An address as people type it: mostly as it is, else in capitals, in mixed case, or with blanks around.
    pub(super) fn spell_email(&mut self, email: &str) -> String {
        match self.within(0..10) {
            0 => email.to_uppercase(),
            1 => email.split('.').map(capitalised).collect::<Vec<_>>().join("."),
            2 => format!(" {email} "),
            3 => format!("{email} "),
            _ => email.to_owned(),
        }
    }

    /// A number as people type it, from its ten digits.
    pub(super) fn spell_phone(&mut self, digits: &str) -> String {
        let (area, exchange, line) = (&digits[..3], &digits[3..6], &digits[6..]);
        match self.within(0..6) {
            0 => format!("({area}) {exchange}-{line}"),
            1 => format!("{area}-{exchange}-{line}"),
            2 => format!("1 {area} {exchange} {line}"),
            3 => format!("{area}.{exchange}.{line}"),
            _ => format!("+1{digits}"),
        }
    }

    /// An insurance number as people type it: in groups, or with a small letter.
    pub(super) fn spell_number(&mut self, number: &str) -> String {
        match self.within(0..4) {
            0 => format!("{} {} {} {}", &number[..1], &number[1..4], &number[4..7], &number[7..]),
            1 => number.to_lowercase(),
            _ => number.to_owned(),
        }
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Somebody who does not exist. The numbers of a story count from 0; no two of the first 800,000 people share an
/// identifier.
pub(super) struct Person {
    pub(super) surname: &'static str,
    /// Days since 1970-01-01. No two people share it together with the surname.
    pub(super) born: i32,
    /// At example.com, .net or .org, which nobody can have.
    pub(super) email: String,
    /// Ten digits. The first 20,000 people have numbers from 555-0100 to 555-0199 of some area, which are kept for
    /// fiction; further ones have others of the exchange 555, which has no subscribers but a few services.
    pub(super) phone: String,
    /// SHA-256 of a name for a device, in hexadecimal digits.
    pub(super) device: String,
    /// A letter and nine digits.
    pub(super) insurance_number: String,
    /// A prefix that no country uses, and nine digits.
    pub(super) tax_number: String,
}

impl Person {
    pub(super) fn new(number: u64) -> Self {
        let given = GIVEN[(number % GIVEN.len() as u64) as usize];
        let surname = SURNAMES[(number / 7 % SURNAMES.len() as u64) as usize];
        let area = AREAS[(number % AREAS.len() as u64) as usize];
        let line = 100 + number / AREAS.len() as u64;
        let domain = ["com", "net", "org"][(number % 3) as usize];
        // Seven people in turn have one surname, and `turn` counts those who have the same. A step that has no divisor
        // in common with the number of days meets each day once: enough for 32 x 25,567 people.
        let turn = number / (7 * SURNAMES.len() as u64) * 7 + number % 7;
        let born = BORN_FIRST + (turn * 7_919 % BORN_DAYS) as i32;
        let ascii: String = surname.to_lowercase().chars().filter(char::is_ascii).collect();
        Person {
            surname,
            born,
            email: format!("{}.{ascii}{number}@example.{domain}", given.to_lowercase()),
            phone: format!("{area}555{line:04}"),
            device: Sha256::digest(format!("device {number}")).iter().map(|byte| format!("{byte:02x}")).collect(),
            insurance_number: format!("X{:09}", 100_000_000 + number * 37),
            tax_number: format!("ZZ{:09}", 200_000_000 + number * 41),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::psi::normalise::Normaliser;

    #[test]
    fn nobody_shares_an_identifier_with_anybody() {
        let people = 60_000;
        let mut seen = HashSet::new();
        for person in (0..people).map(Person::new) {
            for identifier in [
                person.email,
                person.phone,
                person.device,
                person.insurance_number,
                person.tax_number,
                format!("{} {}", person.surname, person.born),
            ] {
                assert!(seen.insert(identifier.clone()), "{identifier} occurs twice");
            }
        }
    }

    #[test]
    fn every_area_gives_valid_numbers_and_every_spelling_the_same_identifier() {
        let (phone, email): (Normaliser, Normaliser) = ("phone/1:US".parse().unwrap(), "email/1".parse().unwrap());
        let mut draw = Draw::new(1);
        for number in (0..400).chain([19_999, 20_000, 800_000]) {
            let person = Person::new(number);
            for _ in 0..20 {
                let spelt = draw.spell_phone(&person.phone);
                assert_eq!(phone.normalise_str(&spelt), Some(format!("+1{}", person.phone).into_bytes()), "{spelt}");
                let spelt = draw.spell_email(&person.email);
                assert_eq!(email.normalise_str(&spelt), Some(person.email.clone().into_bytes()), "{spelt}");
                let spelt = draw.spell_number(&person.insurance_number);
                assert_eq!(spelt.replace(' ', "").to_uppercase(), person.insurance_number);
            }
        }
    }

    #[test]
    fn the_first_people_have_numbers_that_are_kept_for_fiction() {
        for number in [0, 1, 199, 200, 19_999] {
            let phone = Person::new(number).phone;
            assert!(phone[3..].starts_with("55501"), "{phone}");
        }
    }
}
