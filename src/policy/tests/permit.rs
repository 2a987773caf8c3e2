use arrow::datatypes::Schema;

use super::columns::purchases;
use crate::dp;
use crate::policy::{
    Account, NotAllowed, Party, Permit, Refusal, check_filter_column, check_group_column, check_parts, check_question,
    testing,
};
use crate::psi::{
    Aggregate, AskedWord, Error, FilteredRows, OutputsTerms, Question, ShareTerms, SizesTerms, WordTerms,
};

fn party(from: &str, to: &str) -> Party {
    assert!(from.is_empty() || testing::SAMPLE.contains(from), "{from}");
    let mut text = testing::SAMPLE.replacen(from, to, 1);
    text += "\n[[peer]]\nname = \"bank\"\naddress = \"grpc+tls://127.0.0.1:50053\"\ncertificate = \"tls/bank.pem\"\n[[table]]\nname = \"salaries\"\nlocation = \"s.csv\"\n";
    Party::parse(&text, "party.toml").unwrap()
}

fn sample() -> Party {
    party("", "")
}

fn question(identifiers: &[&str], aggregates: &[Aggregate]) -> Question {
    Question {
        table: "purchases".to_owned(),
        identifiers: identifiers.iter().map(|name| (*name).to_owned()).collect(),
        filter: None,
        aggregates: aggregates.iter().cloned().map(AskedWord::from).collect(),
        group_by: None,
        own_groups: false,
    }
}

fn word(min: i128, max: i128, decimals: u8, noise: &str) -> WordTerms {
    WordTerms { min, max, decimals, noise: noise.parse().unwrap() }
}

fn sum(column: &str) -> Aggregate {
    Aggregate::Sum { column: column.to_owned() }
}

fn rows(column: &str) -> Aggregate {
    Aggregate::Rows { column: column.to_owned() }
}

fn ask(party: &Party, question: &Question, normalisers: &[&str]) -> Result<Permit, Refusal> {
    let normalisers: Vec<String> = normalisers.iter().map(|name| (*name).to_owned()).collect();
    party.permit("publisher", question, &purchases(), &normalisers, 1)
}

/// Both texts of a refusal: the peer's, then the owner's.
fn refused(party: &Party, question: &Question) -> (String, String) {
    let normalisers = vec!["email/1"; question.identifiers.len()];
    let refusal = ask(party, question, &normalisers).unwrap_err();
    assert!(matches!(refusal.peer, Error::Refused(_)), "{refusal:?}");
    (refusal.peer.to_string(), refusal.owner)
}

#[test]
fn a_question_within_the_terms_is_permitted_with_every_rule_for_its_answer() {
    let question = Question {
        filter: Some("category = 'toys'".to_owned()),
        ..question(&["phone", "email", "person"], &[Aggregate::Persons, sum("amount"), rows("amount")])
    };
    let permit = ask(&sample(), &question, &["phone/1:DE", "email/1", "exact/1"]).unwrap();
    assert_eq!(
        permit.words,
        [
            // An epsilon of 4 over 10 queries, and this one's 2/5 over three words: scales of 15/2 times the sensitivity.
            word(0, 1, 0, "laplace 15/2"),
            word(0, 50_000, 2, "laplace 375000/1"),
            word(0, 20, 0, "laplace 150/1"),
        ]
    );
    assert_eq!(permit.normalisers(), ["phone/1:US", "email/1", "exact/1"]);
    let columns: Vec<_> = permit.identifiers.iter().map(|identifier| identifier.columns.clone()).collect();
    assert_eq!(columns, [vec!["phone"], vec!["email"], vec!["surname", "born"]]);
    assert_eq!(permit.filter_on(), ["bought_at", "category"]);
    assert_eq!((permit.minimum_matched(), permit.filtered_rows()), (50, FilteredRows::Hide));
    assert_eq!(permit.account, Account::answering("publisher", "shoppers"));
}

/// The sample, without noise on anything.
fn exact() -> Party {
    party(
        "sizes = { epsilon = 2.0 }                                # delta defaults to 1/(10 N); or { exact = true }\noutputs = { epsilon = 4.0 }",
        "sizes = { exact = true }\noutputs = { noise = \"none\" }",
    )
}

#[test]
fn terms_say_what_the_policy_says_and_travel_as_json() {
    let party = party("requester_values = false", "requester_values = { min = -1.5, max = \"2.50\" }");
    let terms = party.shares_with("publisher").next().unwrap().terms();
    let json = serde_json::to_string(&terms).unwrap();
    assert_eq!(
        json,
        r#"{"table":"purchases","identifiers":[{"name":"email","columns":["email"],"normaliser":"email/1"},{"name":"phone","columns":["phone"],"normaliser":"phone/1:US"},{"name":"person","columns":["surname","born"],"normaliser":"exact/1"}],"aggregates":[{"column":"amount","clip":{"min":"0","max":"500"},"max_rows":20,"decimals":0,"squares_max":"250000"}],"filter_on":["bought_at","category"],"requester_values":{"clip":{"min":"-1.5","max":"2.50"},"max_rows":0},"minimum_matched":50,"filtered_rows":"hide","sizes":{"mode":"private","epsilon":2.0,"delta":null,"queries":10,"columns":3},"outputs":{"mode":"private","per_query":"epsilon 2/5","epsilon":4.0,"delta":null,"queries":10},"group_by":[{"column":"category","labels":["toys","books","garden"]}],"max_labels":2,"max_parts":20,"period":"month","approval":false}"#
    );
    assert_eq!(serde_json::from_str::<ShareTerms>(&json).unwrap(), terms);
    let exact = exact();
    assert_eq!(exact.shares[0].terms().outputs, OutputsTerms::Exact);
    assert_eq!(exact.shares[0].terms().sizes, SizesTerms::Exact { queries: 10 });
    assert_eq!(party.shares_with("bank").count(), 0);
    assert_eq!(party.shares_with("nobody").count(), 0);
}

#[test]
fn a_table_that_is_not_shared_is_spoken_of_in_the_same_words_whether_it_exists_or_not() {
    let party = sample();
    let about = |table: &str| {
        let refusal = party
            .permit(
                "publisher",
                &Question { table: table.to_owned(), ..question(&["email"], &[Aggregate::Persons]) },
                &Schema::empty(),
                &[],
                1,
            )
            .unwrap_err();
        (refusal.peer.to_string(), refusal.owner)
    };
    let (salaries, nothing) = (about("salaries"), about("nothing"));
    assert_eq!(
        salaries.0,
        "'advertiser' shares no table 'salaries' with 'publisher'; to allow it, its owner would have to add to party.toml: \
         [[share]] with table = \"salaries\", with = [\"publisher\"]"
    );
    assert_eq!(salaries.0.replace("salaries", "nothing"), nothing.0);
    assert_eq!(
        salaries.1,
        "refused 'publisher': 'salaries' is not shared with it (it is the [[table]] of line 71, shared with nobody); \
         to allow it, add at the end of party.toml: [[share]], and in it: table = \"salaries\", with = [\"publisher\"], identifiers = { COLUMN = \"exact/1\" }; \
         [share.budget], and in it: population = \"NAME\", queries = 10, sizes = { epsilon = 2.0 }, outputs = { epsilon = 4.0 }"
    );
    assert_eq!(
        nothing.1,
        "refused 'publisher': 'nothing' is not shared with it (no [[table]] has that name); \
         to allow it, add at the end of party.toml: [[table]], and in it: name = \"nothing\", location = \"FILES\"; [[share]], and in it: table = \"nothing\", with = [\"publisher\"], identifiers = { COLUMN = \"exact/1\" }; \
         [share.budget], and in it: population = \"NAME\", queries = 10, sizes = { epsilon = 2.0 }, outputs = { epsilon = 4.0 }"
    );
    // Known to one peer, not to the other; and to nobody that is no peer.
    let bank = party.shared_table("bank", "purchases").unwrap_err();
    assert_eq!(bank.peer.to_string(), salaries.0.replace("salaries", "purchases").replace("publisher", "bank"));
    assert_eq!(
        bank.owner,
        "refused 'bank': 'purchases' is not shared with it (it is the [[table]] of line 11; the [[share]] of line 20 shows it to publisher); \
         to allow it by the same rules, write at party.toml:22: with = [\"publisher\", \"bank\"]"
    );
    let stranger = party.shared_table("stranger\n", "purchases").unwrap_err();
    assert_eq!(
        stranger.peer.to_string(),
        "'advertiser' knows no peer 'stranger ': its owner would have to add a [[peer]] of that name"
    );
    assert_eq!(party.shared_table("stranger\n", "nothing").unwrap_err(), stranger);
}

#[test]
fn a_refusal_names_the_column_the_rule_and_the_text_to_add_and_where() {
    let party = sample();
    let one = |aggregate: Aggregate| question(&["email"], &[aggregate]);
    let add = "to allow it, the table's owner would have to have in";
    for (question, peer, owner) in [
        (
            question(&["email", "ssn"], &[Aggregate::Persons]),
            format!(
                "'purchases' may not be matched by 'ssn' (identifiers: email, phone, person); {add} identifiers of that [[share]] in party.toml: ssn = \"exact/1\""
            ),
            "'purchases' may not be matched by 'ssn' (identifiers: email, phone, person); to allow it, add to identifiers at party.toml:23: ssn = \"exact/1\"",
        ),
        (
            one(sum("ssn")),
            format!(
                "column 'ssn' of 'purchases' may not be summed (columns for aggregates: amount); {add} aggregates of that [[share]] in party.toml: ssn = {{ min = 0, max = 100, max_rows = 10 }}"
            ),
            "column 'ssn' of 'purchases' may not be summed (columns for aggregates: amount); to allow it, add to aggregates at party.toml:24: ssn = { min = 0, max = 100, max_rows = 10 }",
        ),
        (
            one(rows("my \"own\"")),
            format!(
                "column 'my \"own\"' of 'purchases' may not be counted (columns for aggregates: amount); {add} aggregates of that [[share]] in party.toml: \"my \\\"own\\\"\" = {{ max_rows = 10 }}"
            ),
            "column 'my \"own\"' of 'purchases' may not be counted (columns for aggregates: amount); to allow it, add to aggregates at party.toml:24: \"my \\\"own\\\"\" = { max_rows = 10 }",
        ),
        (
            one(Aggregate::OwnSum { value: 0, decimals: 2 }),
            format!(
                "values of one's own may not be aggregated over matches with 'purchases'; {add} requester_values of that [[share]] in party.toml: requester_values = {{ min = 0, max = 100, max_rows = 10 }}"
            ),
            "values of one's own may not be aggregated over matches with 'purchases'; to allow it, write at party.toml:25: requester_values = { min = 0, max = 100, max_rows = 10 }",
        ),
    ] {
        assert_eq!(
            refused(&party, &question),
            (format!("'advertiser' refuses: {peer}"), format!("refused 'publisher': {owner}"))
        );
    }
}

#[test]
fn whether_an_unshared_column_exists_makes_no_difference_to_the_peer() {
    let party = sample();
    for aggregate in [sum as fn(&str) -> Aggregate, rows] {
        let text = |column: &str| refused(&party, &question(&["email"], &[aggregate(column)])).0.replace(column, "X");
        assert_eq!(text("ssn"), text("nsa"));
    }
    let text = |name: &str| refused(&party, &question(&[name], &[Aggregate::Persons])).0.replace(name, "X");
    assert_eq!(text("ssn"), text("nsa"));
}

#[test]
fn filters_need_filter_on_and_counts_of_ones_own_need_max_rows() {
    let bare = party("filter_on = [\"bought_at\", \"category\"]", "");
    let filtered = Question { filter: Some("true".to_owned()), ..question(&["email"], &[Aggregate::Persons]) };
    assert_eq!(
        refused(&bare, &filtered).1,
        "refused 'publisher': 'purchases' may not be filtered; to allow it, add to the [[share]] at party.toml:20: \
         filter_on = [ the columns of the query's WHERE on that table ]"
    );
    let own = party("requester_values = false", "requester_values = { min = 0.5, max = 2.25 }");
    assert_eq!(
        refused(&own, &question(&["email"], &[Aggregate::OwnRows { value: 0 }])).1,
        "refused 'publisher': rows of one's own may not be counted over matches with 'purchases'; to allow it, write at party.toml:25: \
         requester_values = { min = 0.5, max = 2.25, max_rows = 10 }"
    );
    let none = party("aggregates = { amount = { min = 0, max = 500, max_rows = 20 } }", "");
    assert_eq!(
        refused(&none, &question(&["email"], &[rows("amount")])).1,
        "refused 'publisher': column 'amount' of 'purchases' may not be counted (columns for aggregates: none); to allow it, add to the \
         [[share]] at party.toml:20: aggregates = { amount = { max_rows = 10 } }"
    );
    let counted = party("{ min = 0, max = 500, max_rows = 20 }", "{ max_rows = 20 }");
    assert_eq!(
        refused(&counted, &question(&["email"], &[sum("amount")])).1,
        "refused 'publisher': column 'amount' of 'purchases' may be counted, not summed; to allow it, add to aggregates at party.toml:24: \
         amount = { min = 0, max = 100, max_rows = 20 }"
    );
}

#[test]
fn values_of_the_askers_own_are_bounded_inwards_at_the_decimals_that_it_offers() {
    let party = party("requester_values = false", "requester_values = { min = -0.55, max = 2.25, max_rows = 7 }");
    let word = |aggregate: Aggregate| {
        ask(&party, &question(&["email"], &[aggregate]), &["email/1"]).map(|permit| permit.words[0].clone())
    };
    let own = |decimals: u8| word(Aggregate::OwnSum { value: 0, decimals });
    // However its bits are chosen, a value moves an answer by its bounds at most.
    assert_eq!(own(2).unwrap(), self::word(-55, 225, 2, "laplace 1125/2"));
    assert_eq!(own(1).unwrap(), self::word(-5, 22, 1, "laplace 55/1"));
    assert_eq!(own(0).unwrap(), self::word(0, 2, 0, "laplace 5/1"));
    assert_eq!(own(18).unwrap().max, 2_250_000_000_000_000_000);
    assert_eq!(word(Aggregate::OwnRows { value: 1 }).unwrap(), self::word(0, 7, 0, "laplace 35/2"));
    assert_eq!(
        own(19).unwrap_err().peer.to_string(),
        "'advertiser' refuses: values of one's own cannot be summed over matches with 'purchases': 19 decimals, and at most 18 are possible"
    );
    let narrow = super::permit::party("requester_values = false", "requester_values = { min = 0.2, max = 0.8 }");
    assert_eq!(
        refused(&narrow, &question(&["email"], &[Aggregate::OwnSum { value: 0, decimals: 0 }])).0,
        "'advertiser' refuses: values of one's own cannot be summed over matches with 'purchases': \
         no number of 0 decimals lies within its bounds 0.2 to 0.8, or they are too wide"
    );
    let wide = super::permit::party("requester_values = false", "requester_values = { min = 0, max = 1e19 }");
    let text = refused(&wide, &question(&["email"], &[Aggregate::OwnSum { value: 0, decimals: 18 }])).0;
    assert!(
        text.starts_with(
            "'advertiser' refuses: the sum of value 1 of one's own over 'purchases': 10000000 persons of up to"
        ),
        "{text}"
    );
}

#[test]
fn a_question_of_an_impossible_shape_is_refused() {
    let party = sample();
    let none = question(&[], &[Aggregate::Persons]);
    assert_eq!(
        refused(&party, &none).0,
        "'advertiser' refuses: a query matches by 1 to 8 identifiers, and this one by 0"
    );
    let nine = question(&["email"; 9], &[Aggregate::Persons]);
    assert_eq!(
        refused(&party, &nine).0,
        "'advertiser' refuses: a query matches by 1 to 8 identifiers, and this one by 9"
    );
    assert!(ask(&party, &question(&["email"; 8], &[Aggregate::Persons]), &["email/1"; 8]).is_ok());
    let empty = question(&["email"], &[]);
    assert_eq!(
        refused(&party, &empty).0,
        "'advertiser' refuses: a query has 1 to 64 different aggregates, and this one has 0"
    );
    let many = question(&["email"], &vec![Aggregate::Persons; 65]);
    assert_eq!(
        refused(&party, &many).0,
        "'advertiser' refuses: a query has 1 to 64 different aggregates, and this one has 65"
    );
    let unnormalised = ask(&party, &question(&["email"], &[Aggregate::Persons]), &[]).unwrap_err();
    assert_eq!(unnormalised.peer.to_string(), "'advertiser' refuses: 0 normalisers for 1 identifiers");
}

#[test]
fn another_normaliser_is_incompatible_and_another_phone_region_is_not() {
    let party = sample();
    for theirs in ["exact/1", "email/2", "nonsense", ""] {
        let refusal = ask(&party, &question(&["email"], &[Aggregate::Persons]), &[theirs]).unwrap_err();
        assert_eq!(
            refusal.peer,
            Error::Incompatible(format!(
                "'advertiser' normalises 'email' of 'purchases' by email/1, the query by '{theirs}': equal identifiers would not match; \
                 use email/1 on both sides"
            ))
        );
        assert_eq!(
            refusal.owner,
            format!(
                "refused 'publisher': it normalises 'email' of 'purchases' by '{theirs}', party.toml:23 by email/1"
            )
        );
    }
    let phone = question(&["phone"], &[Aggregate::Persons]);
    assert!(ask(&party, &phone, &["phone/1:DE"]).is_ok());
    assert!(ask(&party, &phone, &["phone/1"]).is_err());
}

#[test]
fn a_table_that_changed_is_not_answered_from_and_only_its_owner_hears_why() {
    let refusal = sample()
        .permit("publisher", &question(&["email"], &[Aggregate::Persons]), &Schema::empty(), &["email/1".to_owned()], 1)
        .unwrap_err();
    assert_eq!(
        refusal.peer.to_string(),
        "'advertiser' cannot answer: its table 'purchases' no longer fits the terms by which it is shared; its owner's log says where"
    );
    assert_eq!(
        refusal.owner,
        "refused 'publisher': party.toml:23: the table 'purchases' has no column 'email'; its columns: none"
    );
}

#[test]
fn the_asker_hears_from_the_published_terms_what_the_owner_would_say() {
    let party = sample();
    let terms = party.shares[0].terms();
    for question in
        [question(&["ssn"], &[Aggregate::Persons]), question(&["email"], &[sum("phone")]), question(&[], &[])]
    {
        let early = check_question(&terms, &question, &purchases()).unwrap_err();
        assert_eq!(format!("'advertiser' refuses: {early}"), refused(&party, &question).0);
    }
    // Terms come from a peer: nonsense in them is refused, and never a panic.
    let mut odd = terms;
    odd.aggregates[0].clip.as_mut().unwrap().max = "1e999".to_owned();
    assert!(check_question(&odd, &question(&["email"], &[sum("amount")]), &purchases()).is_err());
    odd.aggregates[0].clip.as_mut().unwrap().max = "-1".to_owned();
    assert!(check_question(&odd, &question(&["email"], &[sum("amount")]), &purchases()).is_err());
}

#[test]
fn a_peer_is_asked_only_where_the_own_policy_says_so() {
    let party = sample();
    assert_eq!(party.may_ask("publisher").unwrap().line, 40);
    assert_eq!(
        party.may_ask("bank").unwrap_err(),
        Error::Refused(
            "this party's own policy does not let it ask 'bank'; to allow it, add at the end of party.toml: [[ask]], and in it: of = [\"bank\"], \
             population = \"NAME\"; [ask.budget], and in it: queries = 100, sizes = { epsilon = 2.0 }"
                .to_owned()
        )
    );
}

#[test]
fn noise_is_split_over_the_different_words_of_a_query_by_the_same_code_on_both_sides() {
    let party = sample();
    let noises = |aggregates: &[Aggregate]| -> Vec<String> {
        let question = question(&["email"], aggregates);
        let permit = ask(&party, &question, &["email/1"]).unwrap();
        // The asker knows the terms from a message, and comes to the same words.
        let published: ShareTerms =
            serde_json::from_str(&serde_json::to_string(&party.shares[0].terms()).unwrap()).unwrap();
        assert_eq!(check_question(&published, &question, &purchases()).unwrap(), permit.words);
        permit.words.iter().map(|word| word.noise.to_string()).collect()
    };
    assert_eq!(noises(&[Aggregate::Persons]), ["laplace 5/2"]);
    assert_eq!(noises(&[Aggregate::Persons, sum("amount")]), ["laplace 5/1", "laplace 250000/1"]);
    // A word that is asked for twice is released once.
    let twice = [sum("amount"), sum("amount"), rows("amount")];
    assert_eq!(noises(&twice), ["laplace 250000/1", "laplace 250000/1", "laplace 100/1"]);
    let exact = super::permit::party("outputs = { epsilon = 4.0 }", "outputs = { noise = \"none\" }");
    let permit = ask(&exact, &question(&["email"], &twice), &["email/1"]).unwrap();
    assert!(permit.words.iter().all(|word| word.noise == dp::Noise::None));
}

#[test]
fn gaussian_noise_has_the_variance_of_the_published_rho() {
    let party =
        party("outputs = { epsilon = 4.0 }", "outputs = { epsilon = 4.0, delta = 0.000001, noise = \"gaussian\" }");
    let terms = party.shares[0].terms();
    let OutputsTerms::Private { per_query, delta: Some(delta), .. } = &terms.outputs else { panic!("{terms:?}") };
    assert_eq!(*delta, 1e-6);
    let rho: dp::QueryOutputs = per_query.parse().unwrap();
    let words = ask(&party, &question(&["email"], &[Aggregate::Persons, sum("amount")]), &["email/1"]).unwrap().words;
    assert_eq!(words[0].noise, rho.word_noise(1, 2));
    assert_eq!(words[1].noise, rho.word_noise(50_000, 2));
    assert!(words[1].noise.to_string().starts_with("gaussian "));
}

#[test]
fn bounds_of_both_signs_cost_what_one_person_can_move() {
    let party = party("amount = { min = 0, max = 500", "amount = { min = -100, max = 500");
    let words = ask(&party, &question(&["email"], &[sum("amount")]), &["email/1"]).unwrap().words;
    // A person of 500 may give way to one of −100: 600 at most, in cents, at an epsilon of 2/5.
    assert_eq!(words, [word(-10_000, 50_000, 2, "laplace 150000/1")]);
}

#[test]
fn published_noise_that_cannot_be_read_is_refused_before_anything_is_asked() {
    let mut terms = sample().shares[0].terms();
    for text in ["", "epsilon 4/10", "epsilon 0.4", "sigma 2/5"] {
        terms.outputs = OutputsTerms::Private { per_query: text.to_owned(), epsilon: 4.0, delta: None, queries: 10 };
        assert_eq!(
            check_question(&terms, &question(&["email"], &[Aggregate::Persons]), &purchases()).unwrap_err().to_string(),
            "the count of persons over 'purchases': its noise is published in words that this version does not know"
        );
    }
}

#[test]
fn filters_and_groups_outside_the_terms_are_refused_with_the_line_to_write() {
    let party = sample();
    let (share, terms) = (&party.shares[0], party.shares[0].terms());
    let texts = |reason: NotAllowed| {
        let refusal = party.refuse(share, "publisher", &reason);
        (refusal.peer.to_string(), refusal.owner)
    };
    assert_eq!(check_filter_column(&terms.filter_on, "category"), Ok(()));
    assert_eq!(
        texts(check_filter_column(&terms.filter_on, "ssn").unwrap_err()),
        (
            "'advertiser' refuses: column 'ssn' may not be filtered on (columns for filters: bought_at, category); \
             to allow it, the table's owner would have to have in filter_on of that [[share]] in party.toml: \
             filter_on = [\"bought_at\", \"category\", \"ssn\"]"
                .to_owned(),
            "refused 'publisher': column 'ssn' may not be filtered on (columns for filters: bought_at, category); \
             to allow it, write at party.toml:26: filter_on = [\"bought_at\", \"category\", \"ssn\"]"
                .to_owned()
        )
    );
    assert_eq!(check_group_column(&terms, "category"), Ok(()));
    assert_eq!(
        texts(check_group_column(&terms, "ssn").unwrap_err()),
        (
            "'advertiser' refuses: 'purchases' may not be grouped by 'ssn' (columns for groups: category); \
             to allow it, the table's owner would have to have in group_by of that [[share]] in party.toml: ssn = [\"LABEL\", \"LABEL\"]"
                .to_owned(),
            "refused 'publisher': 'purchases' may not be grouped by 'ssn' (columns for groups: category); \
             to allow it, add to group_by at party.toml:27: ssn = [\"LABEL\", \"LABEL\"]"
                .to_owned()
        )
    );
    assert_eq!(check_parts(&terms, 20), Ok(()));
    assert_eq!(
        texts(check_parts(&terms, 21).unwrap_err()).1,
        "refused 'publisher': matches with 'purchases' may be grouped into at most 20 groups of the asker's own, and this query has 21; \
         to allow it, write at party.toml:29: max_parts = 21"
    );
    let bare = super::permit::party(
        "group_by = { category = [\"toys\", \"books\", \"garden\"] }    # a public list of labels\nmax_labels = 2 ",
        "# ",
    );
    let reason = check_group_column(&bare.shares[0].terms(), "category").unwrap_err();
    assert_eq!(
        bare.refuse(&bare.shares[0], "publisher", &reason).owner,
        "refused 'publisher': 'purchases' may not be grouped by 'category' (columns for groups: none); \
         to allow it, add to the [[share]] at party.toml:20: group_by = { category = [\"LABEL\", \"LABEL\"] }"
    );
}

#[test]
fn a_question_that_waits_for_approval_says_how_to_give_it_and_names_lines_to_the_owner_alone() {
    let party = party("approval = \"none\"", "approval = \"required\"");
    let permit = ask(&party, &question(&["email"], &[Aggregate::Persons]), &["email/1"]).unwrap();
    assert!(permit.needs_approval() && permit.share.terms().approval);
    assert!(!ask(&sample(), &question(&["email"], &[Aggregate::Persons]), &["email/1"]).unwrap().needs_approval());
    let held = party.hold(&permit.share, "publisher", "7");
    assert_eq!(
        held.peer,
        Error::Refused(
            "'advertiser' answers questions about 'purchases' only once its operator has approved their exact text and terms: \
             this one waits as 7; ask again once it is approved (`datafusion-psi approve --config party.toml 7` there)"
                .to_owned()
        )
    );
    assert_eq!(
        held.owner,
        "held a question of 'publisher' about 'purchases' as 7, by party.toml:32: approval = \"required\"; to allow this one: \
         datafusion-psi approve --config party.toml 7; to allow all, write at party.toml:32: approval = \"none\""
    );
}

#[test]
fn a_used_up_account_is_raised_at_its_line() {
    let party = sample();
    assert_eq!(
        party.more_budget(&Account::answering("publisher", "shoppers")).unwrap(),
        "to allow more, write at party.toml:35: queries = 20, with a larger epsilon in sizes and outputs"
    );
    assert_eq!(
        party.more_budget(&Account::asking("publisher", "shoppers")).unwrap(),
        "to allow more, write at party.toml:46: queries = 200, with a larger epsilon in sizes"
    );
    assert_eq!(party.more_budget(&Account::answering("bank", "shoppers")), None);
    assert_eq!(
        exact().more_budget(&Account::answering("publisher", "shoppers")).unwrap(),
        "to allow more, write at party.toml:35: queries = 20"
    );
    let forever = super::permit::party("period = \"month\"                                         #", "#");
    assert_eq!(
        forever.more_budget(&Account::answering("publisher", "shoppers")).unwrap(),
        "to allow more, write at party.toml:35: queries = 20, with a larger epsilon in sizes and outputs, or add period = \"month\", \
         so that it renews"
    );
}
