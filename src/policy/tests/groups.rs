//! Questions in groups, with filters per word, and about squares: what is allowed, and what one person moves.

use super::columns::purchases;
use crate::dp;
use crate::policy::{Party, check_question, labels_of, testing};
use crate::psi::{Aggregate, AskedWord, Question, ShareTerms, WORDS_PER_ROW_MAX, WordTerms};

fn party(changes: &[(&str, &str)]) -> Party {
    let text = changes.iter().fold(testing::SAMPLE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    Party::parse(&text, "party.toml").unwrap()
}

fn terms(changes: &[(&str, &str)]) -> ShareTerms {
    party(changes).shares[0].terms()
}

/// Bounds of both signs, and values of one's own: what all kinds of words need.
const WIDE: [(&str, &str); 2] = [
    ("amount = { min = 0, max = 500", "amount = { min = -100, max = 500"),
    ("requester_values = false", "requester_values = { min = -3, max = 2, max_rows = 5 }"),
];

fn sum() -> Aggregate {
    Aggregate::Sum { column: "amount".to_owned() }
}

fn rows() -> Aggregate {
    Aggregate::Rows { column: "amount".to_owned() }
}

fn squares() -> Aggregate {
    Aggregate::Squares { column: "amount".to_owned() }
}

fn when(aggregate: Aggregate, filter: &str) -> AskedWord {
    AskedWord { aggregate, when: Some(filter.to_owned()) }
}

fn question(words: &[AskedWord]) -> Question {
    Question {
        table: "purchases".to_owned(),
        identifiers: vec!["email".to_owned()],
        filter: None,
        aggregates: words.to_vec(),
        group_by: None,
        own_groups: false,
    }
}

fn plain(aggregates: &[Aggregate]) -> Vec<AskedWord> {
    aggregates.iter().cloned().map(AskedWord::from).collect()
}

/// The same question by labels, by own groups, or by both.
fn grouped(words: &[AskedWord], labels: bool, own_groups: bool) -> Question {
    Question { group_by: labels.then(|| "category".to_owned()), own_groups, ..question(words) }
}

fn refusal(terms: &ShareTerms, question: &Question) -> String {
    check_question(terms, question, &purchases()).unwrap_err().to_string()
}

/// How far one person moves each word, by the noise of a question in which an epsilon of 2/5 is split.
fn moved(terms: &ShareTerms, question: &Question) -> Vec<String> {
    let words = check_question(terms, question, &purchases()).unwrap();
    words.iter().map(|word| word.noise.to_string()).collect()
}

/// The noise of a word that one person moves so far, in a question of so many words.
fn noise(sensitivity: u128, words: u32) -> String {
    let outputs: dp::QueryOutputs = "epsilon 2/5".parse().unwrap();
    outputs.word_noise(sensitivity, words).to_string()
}

#[test]
fn what_one_person_moves_follows_from_the_groups_and_the_number_of_identifiers() {
    // max_labels = 2; totals from −100 to 500 in cents, up to 20 rows.
    let terms = terms(&WIDE);
    let words = plain(&[Aggregate::Persons, sum(), rows(), squares()]);
    let squares_max = 500 * 500 * 10_000;
    // By identifiers: 1, 2, 3.
    let expected: [(bool, bool, [[u128; 4]; 3]); 4] = [
        (false, false, [[1, 60_000, 20, squares_max]; 3]),
        // Labels: the own entry's go, another's come (with more than one identifier), each in two labels.
        (
            true,
            false,
            [[2, 100_000, 40, 2 * squares_max], [4, 200_000, 80, 4 * squares_max], [4, 200_000, 80, 4 * squares_max]],
        ),
        // Own groups: each of the asker's entries that changes its partner, and the one that loses it.
        (false, true, [[1, 50_000, 20, squares_max], [1, 60_000, 20, squares_max], [1, 110_000, 40, 2 * squares_max]]),
        // Both: every pair that is lost or gained, in two labels.
        (
            true,
            true,
            [[2, 100_000, 40, 2 * squares_max], [4, 200_000, 80, 4 * squares_max], [6, 300_000, 120, 6 * squares_max]],
        ),
    ];
    for (labels, own_groups, by_identifiers) in expected {
        for (columns, moves) in (1..).zip(by_identifiers) {
            let question =
                Question { identifiers: vec!["email".to_owned(); columns], ..grouped(&words, labels, own_groups) };
            let expected: Vec<String> = moves.iter().map(|moves| noise(*moves, 4)).collect();
            assert_eq!(moved(&terms, &question), expected, "labels {labels}, parts {own_groups}, K = {columns}");
        }
    }
}

#[test]
fn a_person_moves_own_values_alike_in_groups_of_one_s_own_and_without() {
    let terms = terms(&WIDE);
    let words =
        plain(&[Aggregate::Persons, Aggregate::OwnSum { value: 0, decimals: 1 }, Aggregate::OwnRows { value: 0 }]);
    let expected = [noise(1, 3), noise(30, 3), noise(5, 3)];
    for columns in 1..=3 {
        let identifiers = vec!["email".to_owned(); columns];
        let own = Question { identifiers: identifiers.clone(), ..grouped(&words, false, true) };
        assert_eq!(moved(&terms, &own), expected);
        assert_eq!(moved(&terms, &Question { identifiers, ..question(&words) }), expected);
    }
}

#[test]
fn persons_with_a_filter_are_no_longer_one_for_every_match() {
    let terms = terms(&[]);
    let filtered = [Aggregate::Persons.into(), when(Aggregate::Persons, "category = 'toys'")];
    let question =
        |columns| Question { identifiers: vec!["email".to_owned(); columns], ..grouped(&filtered, false, true) };
    assert_eq!(moved(&terms, &question(1)), [noise(1, 2), noise(1, 2)]);
    assert_eq!(moved(&terms, &question(3)), [noise(1, 2), noise(2, 2)]);
}

#[test]
fn more_labels_than_a_column_has_cost_no_more_than_it_has() {
    let terms = terms(&[("[\"toys\", \"books\", \"garden\"]", "[\"toys\"], born = [\"2000-01-01\", \"2000-01-02\"]")]);
    assert_eq!(terms.max_labels, 2);
    assert_eq!(moved(&terms, &grouped(&plain(&[Aggregate::Persons]), true, false)), [noise(1, 1)]);
}

#[test]
fn a_column_of_labels_has_to_be_shared_and_gives_its_labels_in_the_policy_s_order() {
    let terms = terms(&[]);
    let by = |column: &str| Question { group_by: Some(column.to_owned()), ..question(&plain(&[Aggregate::Persons])) };
    assert_eq!(labels_of(&terms, &by("category")), ["toys", "books", "garden"]);
    assert!(labels_of(&terms, &question(&plain(&[Aggregate::Persons]))).is_empty());
    assert!(refusal(&terms, &by("ssn")).starts_with("'purchases' may not be grouped by 'ssn'"));
    // The permit carries them.
    let normalisers = ["email/1".to_owned()];
    let permit = party(&[]).permit("publisher", &by("category"), &purchases(), &normalisers, 1).unwrap();
    assert_eq!(permit.labels, ["toys", "books", "garden"]);
}

#[test]
fn own_groups_need_max_parts_and_an_offer_may_not_have_more() {
    let none = terms(&[("max_parts = 20", "max_parts = 1")]);
    let asked = grouped(&plain(&[Aggregate::Persons]), false, true);
    assert_eq!(
        refusal(&none, &asked),
        "matches with 'purchases' may not be grouped by columns of the asker's own; to allow it, the table's owner would have to \
         have in max_parts of that [[share]] in party.toml: max_parts = 20"
    );
    let party = party(&[]);
    let permit = |parts| party.permit("publisher", &asked, &purchases(), &["email/1".to_owned()], parts);
    assert!(permit(1).is_ok() && permit(20).is_ok());
    let refused = permit(21).unwrap_err();
    assert!(refused.peer.to_string().contains("at most 20 groups of the asker's own, and this query has 21"));
    assert!(refused.owner.ends_with("write at party.toml:29: max_parts = 21"), "{}", refused.owner);
    assert!(permit(usize::MAX).is_err());
}

#[test]
fn groups_ask_for_the_persons_that_hide_the_small_ones_unless_none_are_hidden() {
    let terms = terms(&[]);
    for (labels, own_groups) in [(true, false), (false, true), (true, true)] {
        for words in [plain(&[sum()]), vec![sum().into(), when(Aggregate::Persons, "category = 'toys'")]] {
            let text = refusal(&terms, &grouped(&words, labels, own_groups));
            assert!(
                text.contains("COUNT(*) without a filter of its own") && text.contains("minimum_matched = 50"),
                "{text}"
            );
        }
        let fine = grouped(&plain(&[sum(), Aggregate::Persons]), labels, own_groups);
        assert!(check_question(&terms, &fine, &purchases()).is_ok());
    }
    let off = self::terms(&[("minimum_matched = 50", "minimum_matched = 0")]);
    assert!(check_question(&off, &grouped(&plain(&[sum()]), true, true), &purchases()).is_ok());
    assert!(check_question(&terms, &question(&plain(&[sum()])), &purchases()).is_ok());
}

#[test]
fn own_values_by_the_peer_s_labels_and_own_values_with_a_filter_are_refused_in_words() {
    let terms = terms(&WIDE);
    let words = plain(&[Aggregate::Persons, Aggregate::OwnRows { value: 0 }]);
    for own_groups in [false, true] {
        let text = refusal(&terms, &grouped(&words, true, own_groups));
        assert!(
            text.contains("the count of value 1 of one's own")
                && text.contains("the label stands at the peer's end of a pair"),
            "{text}"
        );
        assert!(!text.contains("to allow it"), "{text}");
    }
    let text = refusal(&terms, &question(&[when(Aggregate::OwnRows { value: 0 }, "category = 'toys'")]));
    assert!(text.contains("by a CASE over one's own columns"), "{text}");
}

#[test]
fn a_filter_of_a_word_needs_columns_for_filters_and_makes_it_another_word() {
    let bare = terms(&[("filter_on = [\"bought_at\", \"category\"]", "")]);
    let toys = when(sum(), "category = 'toys'");
    assert_eq!(
        refusal(&bare, &question(std::slice::from_ref(&toys))),
        "'purchases' may not be filtered; to allow it, the table's owner would have to have in filter_on of that [[share]] in \
         party.toml: filter_on = [ the columns of the query's FILTER on that table ]"
    );
    let terms = terms(&[]);
    let one = moved(&terms, &question(&[sum().into()]));
    let three = [sum().into(), toys, when(sum(), "category = 'books'")];
    assert_eq!(one, [noise(50_000, 1)]);
    assert_eq!(moved(&terms, &question(&three)), vec![noise(50_000, 3); 3]);
}

#[test]
fn squares_count_up_to_the_policy_s_bound_in_the_square_of_the_unit() {
    let word = |changes: &[(&str, &str)]| -> WordTerms {
        check_question(&terms(changes), &question(&plain(&[squares()])), &purchases()).unwrap().remove(0)
    };
    let default = word(&[]);
    assert_eq!((default.min, default.max, default.decimals), (0, 250_000 * 10_000, 4));
    assert_eq!(word(&WIDE).max, 250_000 * 10_000, "the larger bound squared");
    let negative = word(&[("min = 0, max = 500", "min = -600.5, max = 500")]);
    assert_eq!(negative.max, 6005 * 6005 * 100);
    let said = word(&[("max_rows = 20 }", "max_rows = 20, squares_max = 1234.5678 }")]);
    assert_eq!((said.max, said.decimals), (12_345_678, 4));
    assert_eq!(said.noise.to_string(), noise(12_345_678, 1));
    // A bound of nothing leaves nothing to hide.
    assert_eq!(word(&[("max_rows = 20 }", "max_rows = 20, squares_max = 0 }")]).max, 0);
}

#[test]
fn squares_are_refused_where_there_are_none_or_no_number_holds_them() {
    let counted = terms(&[("{ min = 0, max = 500, max_rows = 20 }", "{ max_rows = 20 }")]);
    let asked = question(&plain(&[squares()]));
    assert_eq!(
        refusal(&counted, &asked),
        "squares of column 'amount' of 'purchases' may not be summed; to allow it, the table's owner would have to have in \
         aggregates of that [[share]] in party.toml: amount = { min = 0, max = 100, squares_max = 10000, max_rows = 20 }"
    );
    let unknown = question(&plain(&[Aggregate::Squares { column: "ssn".to_owned() }]));
    assert!(refusal(&terms(&[]), &unknown).contains("column 'ssn' of 'purchases' may not be summed"));
    // Terms come from a peer: nonsense in them is refused, and never a panic.
    for (bound, what) in [
        ("1e999", "its bounds are no decimal numbers"),
        ("-1", "its bounds are no decimal numbers"),
        ("0.00001", "does not fit a sum of 4 decimals"),
        ("100000000000000000000000000000000000000", "no decimal numbers"),
        ("99999999999999999999999999999999999999", "does not fit a sum of 4 decimals"),
    ] {
        let mut odd = terms(&[]);
        odd.aggregates[0].squares_max = Some(bound.to_owned());
        assert!(refusal(&odd, &asked).contains(what), "{bound}: {}", refusal(&odd, &asked));
    }
    // A default that has more digits than a number is none.
    let wide = terms(&[("max = 500", "max = 10000000000000000000")]);
    assert_eq!(wide.aggregates[0].squares_max, None);
    assert!(refusal(&wide, &asked).contains("squares of column 'amount' of 'purchases' may not be summed"));
}

#[test]
fn a_row_holds_so_many_words_by_labels_and_no_more() {
    // 64 labels: 16 words are 1024, 17 are one row too wide.
    let labels: Vec<String> = (0..64).map(|label| format!("\"c{label}\"")).collect();
    let terms = terms(&[("\"toys\", \"books\", \"garden\"", &labels.join(", "))]);
    let words = |count: usize| -> Vec<AskedWord> {
        let filtered = (1..count).map(|n| when(Aggregate::Persons, &format!("category = 'c{n}'")));
        std::iter::once(Aggregate::Persons.into()).chain(filtered).collect()
    };
    assert_eq!(16 * 64, WORDS_PER_ROW_MAX);
    assert!(check_question(&terms, &grouped(&words(16), true, true), &purchases()).is_ok());
    let text = refusal(&terms, &grouped(&words(17), true, false));
    assert!(text.contains("17 different aggregates by the 64 labels of 'category' are 1088 numbers"), "{text}");
    // Own groups do not widen a row.
    assert!(check_question(&terms, &grouped(&words(64), false, true), &purchases()).is_ok());
}
