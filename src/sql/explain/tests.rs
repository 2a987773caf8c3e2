use super::*;
use crate::psi::{AskedWord, CurveMicros, FilteredRows, GroupTerms, IdentifierTerms, Phase};

fn outline() -> Outline {
    Outline {
        peer: "advertiser".to_owned(),
        question: Question {
            table: "purchases".to_owned(),
            identifiers: vec!["email".to_owned(), "phone".to_owned()],
            filter: Some("category = 'toys'".to_owned()),
            aggregates: vec![
                Aggregate::Persons.into(),
                Aggregate::Sum { column: "amount".to_owned() }.into(),
                Aggregate::Rows { column: "amount".to_owned() }.into(),
            ],
            group_by: None,
            own_groups: false,
        },
        columns: vec![
            (vec!["i.email".to_owned()], "email/1".to_owned()),
            (vec!["i.phone".to_owned()], "phone/1:US".to_owned()),
        ],
        terms: ShareTerms {
            table: "purchases".to_owned(),
            identifiers: ["email", "phone"]
                .map(|name| IdentifierTerms {
                    name: name.to_owned(),
                    columns: vec![name.to_owned()],
                    normaliser: "exact/1".to_owned(),
                })
                .to_vec(),
            aggregates: vec![AggregateTerms {
                column: "amount".to_owned(),
                clip: Some(ClipTerms { min: "0".to_owned(), max: "500".to_owned() }),
                max_rows: 20,
                decimals: 2,
                squares_max: Some("250000".to_owned()),
            }],
            filter_on: vec!["category".to_owned()],
            requester_values: None,
            minimum_matched: 50,
            filtered_rows: FilteredRows::Hide,
            sizes: SizesTerms::Private { epsilon: 2.0, delta: None, queries: 10, columns: 2 },
            outputs: OutputsTerms::Exact,
            group_by: Vec::new(),
            max_labels: 1,
            max_parts: 1,
            period: "forever".to_owned(),
            approval: false,
        },
        own_groups: Vec::new(),
        adds_persons: false,
        words: Vec::new(),
        own: Ok(OwnOutline {
            dummies: 900,
            sizes: SizesTerms::Private { epsilon: 1.0, delta: Some(1e-8), queries: 100, columns: 2 },
            rows: "pad".to_owned(),
            queries_left: Some(99),
        }),
        dummies_there: Ok(1200),
        persons_here: Some(1_000_000),
        persons_there: None,
        ot_width: 2,
        cores: 2,
        curve: CurveMicros { hash_and_blind: 20.0, evaluate: 18.0 },
    }
}

/// The text without its margin, which every line has.
fn lines(text: &impl fmt::Display) -> String {
    let text = text.to_string();
    assert_eq!(text.lines().count(), text.matches(MARGIN).count() + 1, "every line is indented: {text}");
    text.replace(MARGIN, "\n").trim_start().to_owned()
}

#[test]
fn the_outline_names_everything_that_a_reader_must_know_before_the_run() {
    insta::assert_snapshot!(lines(&outline()), @r"
    travels:  table purchases; match by email, phone; ask persons, sum(amount), rows(amount); filter category = 'toys'
    match 1:  email = i.email as email/1
    match 2:  phone = i.phone as phone/1:US
    here:     at most 1,000,000 persons (rows, by statistics), announced by 'pad'
    there:    entries unknown before it runs; the estimate takes as many as here (filtered_rows 'hide')
    sizes:    advertiser: ε 2, δ 1/(10 N) over 10 queries of 2 identifiers (τ 1,200); here: ε 1, δ 1e-8 over 100 queries of 2 identifiers (τ 900), 99 queries left; the run uses 1,200 dummies per identifier and side, so that each number of matches is off by ±24 (95 %)
    outputs:  exact, by advertiser's policy: the dummies protect the numbers of matches, not the answer itself
              sum(amount): one person's total counts from 0 to 500
              rows(amount): at most 20 rows of one person count
    minimum:  under 50 matched persons (a noisy number) there is no answer
    you will learn: the number of advertiser's entries, per identifier a noisy number of matches, the answer
    advertiser will learn: the line 'travels', the announced number of your persons, per identifier a noisy number of matches and which lines of your shuffled table they are; no identifier, no answer
    costs:    about 47.7 s on 2 cores, 128.3 MB up, 122.3 MB down
    ");
}

#[test]
fn what_is_not_known_is_said_and_not_guessed() {
    let unknown = Outline {
        own: Err("there is no [[ask]] for advertiser".to_owned()),
        persons_here: None,
        dummies_there: Err("no length".to_owned()),
        ..outline()
    };
    let text = unknown.to_string();
    assert!(text.contains("refused:  there is no [[ask]]"), "{text}");
    assert!(text.contains("τ unknown: no length") && !text.contains("costs:"), "{text}");
    assert!(unknown.cost().is_none());
    let rows_unknown = Outline { persons_here: None, ..outline() }.to_string();
    assert!(rows_unknown.contains("the run uses at least 1,200 dummies"), "{rows_unknown}");
    let exact = Outline {
        dummies_there: Ok(0),
        own: Ok(OwnOutline {
            dummies: 0,
            sizes: SizesTerms::Exact { queries: 1 },
            rows: "reveal".to_owned(),
            queries_left: None,
        }),
        ..outline()
    };
    assert!(exact.to_string().contains("no dummies: the numbers of matches are exact"), "{exact}");
}

#[test]
fn one_identifier_and_one_sum_at_a_million_rows_stay_within_the_bytes_of_the_plan() {
    // 120 MB in total is the goal for 1e6 x 1e6 with one identifier and one sum.
    let one = Outline {
        question: Question {
            identifiers: vec!["email".to_owned()],
            aggregates: vec![Aggregate::Sum { column: "amount".to_owned() }.into()],
            ..outline().question
        },
        ..outline()
    };
    let cost = one.cost().unwrap();
    assert!(cost.bytes_up + cost.bytes_down < 120_000_000, "{cost:?}");
    // Nine at most takes four bits, a transfer each: 16 / k bytes of corrections up, an additive share of 8 down.
    let own = Outline {
        question: Question { aggregates: vec![Aggregate::OwnRows { value: 0 }.into()], ..one.question.clone() },
        words: vec![WordTerms { min: 0, max: 9, decimals: 0, noise: crate::dp::Noise::None }],
        ..one.clone()
    };
    let (rows, bits) = (1_000_000 + one.dummies().unwrap(), own.cost().unwrap());
    assert_eq!(bits.bytes_up - cost.bytes_up, 3 * rows * u64::from(16 / one.ot_width));
    assert_eq!(bits.bytes_down - cost.bytes_down, 3 * rows * 8);
}

fn errors(name: &str, rows: &[Option<f64>]) -> ColumnErrors {
    ColumnErrors { name: name.to_owned(), rows: rows.to_vec() }
}

/// By a column of the peer's and groups of one's own.
fn grouped() -> Outline {
    let base = outline();
    let mut terms = base.terms.clone();
    let labels = ["toys", "books", "garden"].map(str::to_owned).to_vec();
    terms.group_by = vec![GroupTerms { column: "category".to_owned(), labels }];
    (terms.max_labels, terms.max_parts) = (2, 20);
    terms.outputs =
        OutputsTerms::Private { per_query: "epsilon 2/5".to_owned(), epsilon: 4.0, delta: None, queries: 10 };
    let noisy = |noise: &str, decimals| WordTerms { min: 0, max: 9, decimals, noise: noise.parse().unwrap() };
    Outline {
        question: Question {
            aggregates: vec![
                Aggregate::Sum { column: "amount".to_owned() }.into(),
                AskedWord {
                    when: Some("bought = 1".to_owned()),
                    ..Aggregate::Squares { column: "amount".to_owned() }.into()
                },
                Aggregate::Persons.into(),
            ],
            group_by: Some("category".to_owned()),
            own_groups: true,
            ..base.question.clone()
        },
        terms,
        own_groups: vec!["i.campaign".to_owned(), "i.segment".to_owned()],
        adds_persons: true,
        words: vec![noisy("laplace 100/1", 2), noisy("laplace 1000/1", 4), noisy("laplace 2/1", 0)],
        ..base
    }
}

#[test]
fn the_outline_of_a_grouped_query_says_what_its_rows_are_and_what_the_groups_cost() {
    insta::assert_snapshot!(lines(&grouped()), @r"
    travels:  table purchases; match by email, phone; ask sum(amount), squares(amount) when (bought = 1), persons; filter category = 'toys'; group by category; in groups of your own, whose number and sizes are told, and not what they are
    match 1:  email = i.email as email/1
    match 2:  phone = i.phone as phone/1:US
    here:     at most 1,000,000 persons (rows, by statistics), announced by 'pad'
    there:    entries unknown before it runs; the estimate takes as many as here (filtered_rows 'hide')
    groups:   by category of advertiser: a row for each of its 3 public labels, whatever was matched; one person counts in at most 2; and by i.campaign, i.segment here: a row for each of your groups, at most 20; one person is in one
              the answer has at most 60 rows; one oblivious transfer per entry of advertiser's and group of yours, of 9 numbers
    sizes:    advertiser: ε 2, δ 1/(10 N) over 10 queries of 2 identifiers (τ 1,200); here: ε 1, δ 1e-8 over 100 queries of 2 identifiers (τ 900), 99 queries left; the run uses 1,200 dummies per identifier, group of yours and side, so that each number of matches is off by ±24 (95 %)
    outputs:  noisy: ε 4 over 10 queries, split over this one's sums and counts
              sum(amount): one person's total counts from 0 to 500; ± 3 (95 %) in each row
              squares(amount) when (bought = 1): one person's total of squares counts from 0 to 250000; ± 0.300 (95 %) in each row
              persons: ± 6 (95 %) in each row
    minimum:  under 50 matched persons (a noisy number) there is no answer; a group of fewer than 50 by its own noisy count, persons, shows NULL
              persons was added to the question for this, and takes its share of ε
    you will learn: the number of advertiser's entries, per identifier and group of yours a noisy number of matches, the answer
    advertiser will learn: the line 'travels', the announced number of your persons in each of your groups, per identifier and group of yours a noisy number of matches and which lines of your shuffled table they are; no identifier, no answer
    costs:    about 50.3 s on 2 cores, 293.4 MB up, 1.6 GB down
    ");
    let labels = Outline { question: Question { own_groups: false, ..grouped().question }, ..grouped() };
    let labels = labels.to_string();
    for line in [
        "groups:   by category of advertiser: a row for each of its 3 public labels, whatever was matched; one person counts in at most 2\n",
        "the answer has 3 rows; one oblivious transfer per entry of advertiser's, of 9 numbers\n",
    ] {
        assert!(labels.contains(line), "{labels}");
    }
    // One transfer per entry and group, of every label's numbers: 20 groups and 3 labels of 3 words.
    let one = |own_groups| {
        let question = Question { group_by: None, own_groups, ..grouped().question };
        Outline {
            question,
            dummies_there: Ok(0),
            own: Ok(OwnOutline { dummies: 0, ..outline().own.unwrap() }),
            ..grouped()
        }
    };
    let (without, with) = (one(false).cost().unwrap(), one(true).cost().unwrap());
    assert_eq!(with.bytes_down - without.bytes_down, 19 * 3 * 8 * 1_000_000);
    assert_eq!(with.bytes_up - without.bytes_up, 19 * 8 * 1_000_000);
}

#[test]
fn the_sizes_of_several_groups_are_listed_and_of_many_cut_short() {
    let outcome = |sizes: Vec<u64>, dummies| RunReport {
        parts: sizes.len(),
        outcome: Some(Outcome { sizes: vec![("email".to_owned(), sizes)], dummies, persons_there: 9 }),
        ..RunReport::default()
    };
    let line = |report: &RunReport| lines(report).lines().last().unwrap().to_owned();
    assert_eq!(
        line(&outcome(vec![600, 650, 10], 1200)),
        "matched by email, group by group: 0, 50, 0, each ± 24 persons (95 %)"
    );
    let many = line(&outcome((0..30).collect(), 0));
    assert!(many.ends_with("18, 19 and 10 more persons"), "{many}");
}

#[test]
fn the_report_shows_every_phase_and_the_noisy_sizes_with_their_error() {
    let report = RunReport {
        local_seconds: 0.25,
        rows: 1200,
        persons: 1000,
        unnormalised: 3,
        dropped_identifiers: 2,
        phases: vec![
            PhaseLine { phase: Phase::Hello, seconds: 0.004, rows: 29, bytes: (1800, 1900) },
            PhaseLine { phase: Phase::Elements(2), seconds: 123.0, rows: 3100, bytes: (70_400, 28_800) },
        ],
        outcome: Some(Outcome {
            sizes: vec![("email".to_owned(), vec![700]), ("phone".to_owned(), vec![610])],
            dummies: 1200,
            persons_there: 2200,
        }),
        errors: vec![
            errors("buyers", &[Some(0.0)]),
            errors("revenue", &[Some(1234.5)]),
            errors("mean", &[Some(0.0625), None, Some(2.0)]),
            errors("other", &[None]),
        ],
        parts: 1,
        hidden: 2,
    };
    insta::assert_snapshot!(lines(&report), @r"
    local:    0.250 s, 1,200 rows, 1,000 persons, 3 identifiers not normalised, 2 dropped as repeated
    hello             0.004 s,           29 rows,    1.8 KB up,    1.9 KB down
    elements-2      2 min 3 s,        3,100 rows,   70.4 KB up,   28.8 KB down
    all:      2 min 3 s, 72.2 KB up, 30.7 KB down
    there:    2,200 entries
    matched by email: 700 lines, some 600 of them dummies: 100 ± 24 persons (95 %)
    matched by phone: 610 lines, some 600 of them dummies: 10 ± 24 persons (95 %)
    answer:   buyers is exact
    answer:   revenue ± 1,235 (95 %)
    answer:   mean ± 0.062 to 2 (95 %); none for 1 row
    answer:   other has no bound: its count may be too small
    hidden:   2 groups show NULL, by a noisy count under the share's minimum
    ");
}

#[test]
fn numbers_are_written_for_reading() {
    assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(
        [0, 999, 1000, 999_949, 999_950, 34_500_000].map(bytes),
        ["0 B", "999 B", "1.0 KB", "999.9 KB", "1.0 MB", "34.5 MB"]
    );
    assert_eq!([0.0123, 3.44, 99.9, 425.0].map(seconds), ["0.012 s", "3.4 s", "99.9 s", "7 min 5 s"]);
}
