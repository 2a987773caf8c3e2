use std::sync::Arc;

use arrow::array::{LargeStringArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::fields::to_batch;
use super::*;
use crate::psi::{Aggregate, AskedWord, Error, FilteredRows, Question, SessionId, SizesTerms};

fn link(seq: u64) -> ChainLink {
    ChainLink { seq, hash: [seq as u8; 32] }
}

fn word(min: i128, max: i128, decimals: u8, noise: &str) -> WordTerms {
    WordTerms { min, max, decimals, noise: noise.parse().unwrap() }
}

fn offer() -> Offer {
    Offer {
        session: SessionId([7; 16]),
        requester: "publisher".to_owned(),
        responder: "advertiser".to_owned(),
        nonce: [3; 32],
        question: Question {
            table: "purchases".to_owned(),
            identifiers: vec!["email".to_owned(), "phone".to_owned()],
            filter: Some("category = 'toys'".to_owned()),
            aggregates: vec![
                Aggregate::Persons.into(),
                Aggregate::Sum { column: "amount (net)".to_owned() }.into(),
                Aggregate::OwnSum { value: 0, decimals: 2 }.into(),
            ],
            group_by: None,
            own_groups: false,
        },
        normalisers: vec!["email/1".to_owned(), "phone/1:US".to_owned()],
        persons: vec![1000],
        dummies: 25,
        sizes: SizesTerms::Private { epsilon: 0.1, delta: Some(1e-7), queries: 100, columns: 2 },
        chain: vec![link(12), link(11), link(7)],
        receipts: Receipts::X509,
        ot_width: 2,
    }
}

/// The same in three parts, by labels, with filters of two words' own.
fn grouped() -> Offer {
    let plain = offer();
    let when = |filter: &str, aggregate| AskedWord { aggregate, when: Some(filter.to_owned()) };
    let sum = || Aggregate::Sum { column: "amount".to_owned() };
    let aggregates = vec![
        Aggregate::Persons.into(),
        when("category = 'toys'", sum()),
        sum().into(),
        when(" 1", Aggregate::Squares { column: "amount".to_owned() }),
    ];
    let question = Question { aggregates, group_by: Some("category".to_owned()), own_groups: true, ..plain.question };
    Offer { question, persons: vec![10, 0, 990], ..plain }
}

fn answer() -> Answer {
    Answer {
        session: SessionId([7; 16]),
        nonce: [4; 32],
        persons: 900,
        dummies: 30,
        tag_bytes: 10,
        normalisers: vec!["email/1".to_owned(), "phone/1:US".to_owned()],
        words: vec![
            (word(0, 1, 0, "laplace 15/2"), 64),
            (word(-5, i128::from(u64::MAX), 2, "gaussian 12345/7"), 128),
            (word(0, 100, 2, "none"), 64),
        ],
        labels: Vec::new(),
        minimum_matched: 50,
        filtered_rows: FilteredRows::Hide,
        sizes: SizesTerms::Private { epsilon: 2.0, delta: None, queries: 10, columns: 3 },
        outputs: "epsilon 2/5".parse().unwrap(),
        chain: vec![link(3)],
        receipts: Receipts::X509,
        ot_width: 2,
    }
}

#[test]
fn both_messages_are_read_back_as_written() {
    assert_eq!(Offer::from_batch(&offer().to_batch()).unwrap(), offer());
    assert_eq!(Answer::from_batch(&answer().to_batch()).unwrap(), answer());
    assert_eq!(Offer::from_batch(&grouped().to_batch()).unwrap(), grouped());
    assert_eq!((grouped().persons_total(), offer().persons_total()), (1000, 1000));
    let labelled = Answer { labels: vec!["toys".to_owned(), "a, b\n".to_owned()], ..answer() };
    assert_eq!(Answer::from_batch(&labelled.to_batch()).unwrap(), labelled);
    let bare = Offer { question: Question { filter: None, ..offer().question }, ..offer() };
    assert_eq!(Offer::from_batch(&bare.to_batch()).unwrap(), bare);
}

#[test]
fn a_missing_repeated_unknown_or_misspelt_field_is_refused_by_name() {
    let pairs = offer().pairs();
    for drop in 0..pairs.len() {
        let name = pairs[drop].0;
        let mut fewer = pairs.clone();
        fewer.remove(drop);
        if !matches!(name, "filter" | "aggregate" | "chain") {
            assert!(Offer::from_batch(&to_batch(&fewer)).is_err(), "without {name}");
        }
        let mut twice = pairs.clone();
        twice.insert(drop, pairs[drop].clone());
        assert!(Offer::from_batch(&to_batch(&twice)).is_err(), "{name} twice");
    }
    let mut more = pairs.clone();
    more.push(("colour", "red".to_owned()));
    let error = Offer::from_batch(&to_batch(&more)).unwrap_err().to_string();
    assert!(error.contains("colour"), "{error}");
    for (name, value) in [
        ("persons", "+1"),
        ("persons", "01"),
        ("ot-width", "3"),
        ("nonce", "xy"),
        ("aggregate", "max(x)"),
        ("sizes", "private 2.0 default 10 2"),
        ("sizes", "exact"),
        ("chain", "12"),
        ("chain", "012 0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c"),
        ("chain", "12 0c"),
        ("receipts", "yes"),
    ] {
        let mut changed = pairs.clone();
        let field = changed.iter_mut().find(|(found, _)| *found == name).unwrap();
        field.1 = value.to_owned();
        let error = Offer::from_batch(&to_batch(&changed)).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

/// The pairs with one value changed, and those of a name replaced.
fn changed(pairs: &Pairs, name: &'static str, values: &[&str]) -> Pairs {
    let at = pairs.iter().position(|(found, _)| *found == name).unwrap();
    let mut changed: Pairs = pairs.iter().filter(|(found, _)| *found != name).cloned().collect();
    let values = values.iter().map(|value| (name, (*value).to_owned()));
    changed.splice(at..at, values);
    changed
}

#[test]
fn filters_of_words_and_groups_are_refused_unless_written_as_they_would_be() {
    let pairs = grouped().pairs();
    assert_eq!(changed(&pairs, "when", &["1 category = 'toys'", "3  1"]), pairs);
    let cases: [(&'static str, &[&str]); 20] = [
        ("when", &["3  1", "1 x"]),
        ("when", &["1 x", "1 y"]),
        ("when", &["1x"]),
        ("when", &["x y"]),
        ("when", &["01 x"]),
        ("when", &["+1 x"]),
        ("when", &["4 x"]),
        ("when", &["-1 x"]),
        ("when", &[""]),
        ("own-groups", &["Yes"]),
        ("own-groups", &["true"]),
        ("own-groups", &[]),
        ("own-groups", &["yes", "yes"]),
        ("group-by", &["category", "category"]),
        ("persons", &[]),
        ("persons", &["10", "00", "990"]),
        ("persons", &["10", "-1"]),
        ("persons", &["10", "18446744073709551616"]),
        // Without own groups there is one part.
        ("own-groups", &["no"]),
        // Two words that are one.
        ("when", &["3 x"]),
    ];
    for (name, values) in cases {
        let error = Offer::from_batch(&to_batch(&changed(&pairs, name, values))).unwrap_err().to_string();
        let named = match (name, values) {
            ("own-groups", ["no"] | ["yes", "yes"]) => "persons",
            ("when", ["3 x"]) => "aggregate",
            _ => name,
        };
        assert!(error.contains(named), "{name} {values:?}: {error}");
    }
    // A filter on a value that the responder does not see is none that it could evaluate.
    let own = Aggregate::OwnSum { value: 0, decimals: 2 };
    let filtered = AskedWord { aggregate: own, when: Some("x".to_owned()) };
    let offer = Offer { question: Question { aggregates: vec![filtered], ..offer().question }, ..offer() };
    let error = Offer::from_batch(&offer.to_batch()).unwrap_err().to_string();
    assert!(error.contains("when") && error.contains("requester's own"), "{error}");
}

#[test]
fn the_most_parts_words_and_labels_are_read_and_one_more_is_refused() {
    let parts = |parts: usize| Offer { persons: vec![3; parts], ..grouped() };
    assert_eq!(Offer::from_batch(&parts(PARTS_MAX).to_batch()).unwrap(), parts(PARTS_MAX));
    let error = Offer::from_batch(&parts(PARTS_MAX + 1).to_batch()).unwrap_err().to_string();
    assert!(error.contains("1001 parts where 1 to 1000 are possible"), "{error}");

    let words = |words: usize| {
        let word = |n: usize| AskedWord { aggregate: Aggregate::Persons, when: Some(format!("x = {n}")) };
        let question = Question { aggregates: (0..words).map(word).collect(), ..grouped().question };
        Offer { question, chain: (0..CHAIN_LINKS_MAX as u64).rev().map(link).collect(), ..parts(PARTS_MAX) }
    };
    // All at their most at once: a hello has the rows for it.
    assert_eq!(Offer::from_batch(&words(AGGREGATES_MAX).to_batch()).unwrap(), words(AGGREGATES_MAX));
    let error = Offer::from_batch(&words(AGGREGATES_MAX + 1).to_batch()).unwrap_err().to_string();
    assert!(error.contains("65 where 1 to 64 are possible"), "{error}");

    let labels = |labels: usize| Answer { labels: (0..labels).map(|n| n.to_string()).collect(), ..answer() };
    assert_eq!(Answer::from_batch(&labels(LABELS_MAX).to_batch()).unwrap(), labels(LABELS_MAX));
    let error = Answer::from_batch(&labels(LABELS_MAX + 1).to_batch()).unwrap_err().to_string();
    assert!(error.contains("label") && error.contains("at most 1024"), "{error}");
}

#[test]
fn another_version_is_incompatible_and_not_misbehaviour() {
    let mut pairs = offer().pairs();
    pairs[0].1 = "datafusion-psi/2".to_owned();
    assert!(matches!(Offer::from_batch(&to_batch(&pairs)), Err(Error::Incompatible(_))));
}

fn with_when(word: usize) -> Offer {
    let mut offer = offer();
    offer.question.aggregates[word].when = Some("x".to_owned());
    offer
}

#[test]
fn every_field_of_both_messages_moves_the_transcript_hash() {
    let plain = transcript_hash(&offer(), &answer());
    let offers = [
        Offer { session: SessionId([8; 16]), ..offer() },
        Offer { requester: "x".to_owned(), ..offer() },
        Offer { responder: "x".to_owned(), ..offer() },
        Offer { nonce: [9; 32], ..offer() },
        Offer { question: Question { table: "x".to_owned(), ..offer().question }, ..offer() },
        Offer {
            question: Question { identifiers: vec!["phone".to_owned(), "email".to_owned()], ..offer().question },
            ..offer()
        },
        Offer { question: Question { filter: None, ..offer().question }, ..offer() },
        Offer { question: Question { aggregates: vec![Aggregate::Persons.into()], ..offer().question }, ..offer() },
        Offer { normalisers: vec!["email/2".to_owned(), "phone/1:US".to_owned()], ..offer() },
        Offer { persons: vec![1001], ..offer() },
        Offer { dummies: 26, ..offer() },
        Offer { question: Question { own_groups: true, ..offer().question }, ..offer() },
        Offer { question: Question { group_by: Some("c".to_owned()), ..offer().question }, ..offer() },
        Offer { persons: vec![400, 600], ..offer() },
        Offer { persons: vec![600, 400], ..offer() },
        with_when(0),
        with_when(1),
        Offer { sizes: SizesTerms::Exact { queries: 100 }, ..offer() },
        Offer { chain: vec![link(12), link(11)], ..offer() },
        Offer { chain: vec![link(13), link(11), link(7)], ..offer() },
        Offer { receipts: Receipts::None, ..offer() },
        Offer { ot_width: 4, ..offer() },
    ];
    let answers = [
        Answer { session: SessionId([8; 16]), ..answer() },
        Answer { nonce: [9; 32], ..answer() },
        Answer { persons: 901, ..answer() },
        Answer { dummies: 31, ..answer() },
        Answer { tag_bytes: 11, ..answer() },
        Answer { normalisers: Vec::new(), ..answer() },
        Answer { words: answer().words[..2].to_vec(), ..answer() },
        Answer { words: [&[(word(0, 1, 0, "none"), 64)], &answer().words[1..]].concat(), ..answer() },
        Answer { labels: vec!["a".to_owned()], ..answer() },
        Answer { labels: vec!["a".to_owned(), "b".to_owned()], ..answer() },
        Answer { labels: vec!["ab".to_owned()], ..answer() },
        Answer { minimum_matched: 0, ..answer() },
        Answer { sizes: SizesTerms::Exact { queries: 10 }, ..answer() },
        Answer { outputs: "epsilon 1/5".parse().unwrap(), ..answer() },
        Answer { chain: vec![link(4)], ..answer() },
        Answer { receipts: Receipts::None, ..answer() },
        Answer { filtered_rows: FilteredRows::Reveal, ..answer() },
        Answer { ot_width: 4, ..answer() },
    ];
    let mut seen = vec![plain];
    seen.extend(offers.iter().map(|offer| transcript_hash(offer, &answer())));
    seen.extend(answers.iter().map(|answer| transcript_hash(&offer(), answer)));
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all, "two hellos have one hash");
    assert_eq!(transcript_hash(&offer(), &answer()), plain);
}

#[test]
fn an_answer_with_a_misspelt_term_is_refused_by_name() {
    let pairs = answer().pairs();
    for (name, value) in [
        ("word", "64 0 1 0"),
        ("word", "64 0 1 0 laplace 30/4"),
        ("word", "64 0 1 0 laplace 15/2 "),
        ("word", "64 0 1 0 sometimes"),
        ("word", "32 0 1 0 none"),
        ("filtered-rows", "Hide"),
        ("sizes", "private 2 none 10 3"),
        ("outputs", "epsilon 4/10"),
        ("outputs", "none"),
        ("chain", "3"),
        ("receipts", "pgp"),
    ] {
        let mut changed = pairs.clone();
        changed.iter_mut().find(|(found, _)| *found == name).unwrap().1 = value.to_owned();
        let error = Answer::from_batch(&to_batch(&changed)).unwrap_err().to_string();
        assert!(error.contains(name), "{name} = {value}: {error}");
    }
}

#[test]
fn a_chain_of_no_link_of_too_many_or_not_newest_first_is_refused() {
    let links = |numbers: &[u64]| Offer { chain: numbers.iter().map(|seq| link(*seq)).collect(), ..offer() };
    let most: Vec<u64> = (0..CHAIN_LINKS_MAX as u64).rev().collect();
    for fine in [links(&[0]), links(&[u64::MAX, 0]), links(&most)] {
        assert_eq!(Offer::from_batch(&fine.to_batch()).unwrap(), fine);
    }
    for flawed in [links(&[]), links(&[3, 3]), links(&[3, 4]), links(&[&[u64::MAX], &most[..]].concat())] {
        let error = Offer::from_batch(&flawed.to_batch()).unwrap_err().to_string();
        assert!(error.contains("chain"), "{error}");
    }
}

#[test]
fn a_hello_of_too_many_rows_too_long_a_value_or_other_columns_is_refused() {
    let table = "t".repeat(64 * 1024);
    let long = |table| Offer { question: Question { table, ..offer().question }, ..offer() }.to_batch();
    assert!(Offer::from_batch(&long(table.clone())).is_ok());
    assert!(Offer::from_batch(&long(table + "t")).is_err());
    let rows = |rows: usize| to_batch(&vec![("version", VERSION.to_owned()); rows]);
    let text = |batch: &RecordBatch| Offer::from_batch(batch).unwrap_err().to_string();
    assert!(text(&rows(2049)).contains("2048"), "{}", text(&rows(2049)));
    assert!(!text(&rows(2048)).contains("2048"));
    let field = |name, data_type| Field::new(name, data_type, false);
    let schema = Schema::new(vec![field("name", DataType::LargeUtf8), field("value", DataType::Utf8)]);
    let names = Arc::new(LargeStringArray::from(vec!["version"]));
    let values = Arc::new(StringArray::from(vec![VERSION]));
    assert!(text(&RecordBatch::try_new(Arc::new(schema), vec![names, values]).unwrap()).contains("schema"));
}
