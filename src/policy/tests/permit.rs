use arrow::datatypes::Schema;

use super::columns::purchases;
use crate::policy::{Account, Party, Permit, Refusal, check_question, testing};
use crate::psi::{Aggregate, Error, FilteredRows, OutputsTerms, Question, ShareTerms, SizesTerms, WordTerms};

fn party(from: &str, to: &str) -> Party {
    assert!(from.is_empty() || testing::SAMPLE.contains(from), "{from}");
    let mut text = testing::SAMPLE.replacen(from, to, 1);
    text += "\n[[peer]]\nname = \"bank\"\naddress = \"grpc://127.0.0.1:50053\"\n[[table]]\nname = \"salaries\"\nlocation = \"s.csv\"\n";
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
        aggregates: aggregates.to_vec(),
    }
}

fn sum(column: &str) -> Aggregate {
    Aggregate::Sum { column: column.to_owned() }
}

fn rows(column: &str) -> Aggregate {
    Aggregate::Rows { column: column.to_owned() }
}

fn ask(party: &Party, question: &Question, normalisers: &[&str]) -> Result<Permit, Refusal> {
    let normalisers: Vec<String> = normalisers.iter().map(|name| (*name).to_owned()).collect();
    party.permit("publisher", question, &purchases(), &normalisers)
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
            WordTerms { min: 0, max: 1, decimals: 0 },
            WordTerms { min: 0, max: 50_000, decimals: 2 },
            WordTerms { min: 0, max: 20, decimals: 0 },
        ]
    );
    assert_eq!(permit.normalisers(), ["phone/1:US", "email/1", "exact/1"]);
    let columns: Vec<_> = permit.identifiers.iter().map(|identifier| identifier.columns.clone()).collect();
    assert_eq!(columns, [vec!["phone"], vec!["email"], vec!["surname", "born"]]);
    assert_eq!(permit.filter_on(), ["bought_at", "category"]);
    assert_eq!((permit.minimum_matched(), permit.filtered_rows()), (50, FilteredRows::Hide));
    assert_eq!(permit.account, Account::answering("publisher", "shoppers"));
}

#[test]
fn terms_say_what_the_policy_says_and_travel_as_json() {
    let party = party("requester_values = false", "requester_values = { min = -1.5, max = \"2.50\" }");
    let terms = party.shares_with("publisher").next().unwrap().terms();
    let json = serde_json::to_string(&terms).unwrap();
    assert_eq!(
        json,
        r#"{"table":"purchases","identifiers":[{"name":"email","columns":["email"],"normaliser":"email/1"},{"name":"phone","columns":["phone"],"normaliser":"phone/1:US"},{"name":"person","columns":["surname","born"],"normaliser":"exact/1"}],"aggregates":[{"column":"amount","clip":{"min":"0","max":"500"},"max_rows":20,"decimals":0}],"filter_on":["bought_at","category"],"requester_values":{"clip":{"min":"-1.5","max":"2.50"},"max_rows":0},"minimum_matched":50,"filtered_rows":"hide","sizes":{"mode":"private","epsilon":2.0,"delta":null,"queries":10,"columns":3},"outputs":"exact"}"#
    );
    assert_eq!(serde_json::from_str::<ShareTerms>(&json).unwrap(), terms);
    assert_eq!(terms.outputs, OutputsTerms::Exact);
    let exact = super::permit::party(
        "sizes = { epsilon = 2.0 }                                #",
        "sizes = { exact = true } #",
    );
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
        "refused 'publisher': 'salaries' is not shared with it (it is the [[table]] of line 55, shared with nobody); \
         to allow it, add to party.toml: [[share]] with table = \"salaries\", with = [\"publisher\"]"
    );
    assert_eq!(
        nothing.1,
        "refused 'publisher': 'nothing' is not shared with it (no [[table]] has that name); \
         to allow it, add to party.toml: [[share]] with table = \"nothing\", with = [\"publisher\"]"
    );
    // Known to one peer, not to the other; and to nobody that is no peer.
    let bank = party.shared_table("bank", "purchases").unwrap_err();
    assert_eq!(bank.peer.to_string(), salaries.0.replace("salaries", "purchases").replace("publisher", "bank"));
    assert!(bank.owner.contains("the [[share]] of line 16 shows it to publisher"), "{}", bank.owner);
    let stranger = party.shared_table("stranger\n", "purchases").unwrap_err();
    assert_eq!(
        stranger.peer.to_string(),
        "'advertiser' knows no peer 'stranger\u{fffd}': its owner would have to add a [[peer]] of that name"
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
            "'purchases' may not be matched by 'ssn' (identifiers: email, phone, person); to allow it, add to identifiers at party.toml:19: ssn = \"exact/1\"",
        ),
        (
            one(sum("ssn")),
            format!(
                "column 'ssn' of 'purchases' may not be summed (columns for aggregates: amount); {add} aggregates of that [[share]] in party.toml: ssn = {{ min = 0, max = 100, max_rows = 10 }}"
            ),
            "column 'ssn' of 'purchases' may not be summed (columns for aggregates: amount); to allow it, add to aggregates at party.toml:20: ssn = { min = 0, max = 100, max_rows = 10 }",
        ),
        (
            one(rows("my \"own\"")),
            format!(
                "column 'my \"own\"' of 'purchases' may not be counted (columns for aggregates: amount); {add} aggregates of that [[share]] in party.toml: \"my \\\"own\\\"\" = {{ max_rows = 10 }}"
            ),
            "column 'my \"own\"' of 'purchases' may not be counted (columns for aggregates: amount); to allow it, add to aggregates at party.toml:20: \"my \\\"own\\\"\" = { max_rows = 10 }",
        ),
        (
            one(Aggregate::OwnSum { value: 0, decimals: 2 }),
            format!(
                "values of one's own may not be aggregated over matches with 'purchases'; {add} requester_values of that [[share]] in party.toml: requester_values = {{ min = 0, max = 100, max_rows = 10 }}"
            ),
            "values of one's own may not be aggregated over matches with 'purchases'; to allow it, write at party.toml:21: requester_values = { min = 0, max = 100, max_rows = 10 }",
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
        "refused 'publisher': 'purchases' may not be filtered; to allow it, add to the [[share]] at party.toml:16: \
         filter_on = [ the columns of the query's WHERE on that table ]"
    );
    let own = party("requester_values = false", "requester_values = { min = 0.5, max = 2.25 }");
    assert_eq!(
        refused(&own, &question(&["email"], &[Aggregate::OwnRows { value: 0 }])).1,
        "refused 'publisher': rows of one's own may not be counted over matches with 'purchases'; to allow it, write at party.toml:21: \
         requester_values = { min = 0.5, max = 2.25, max_rows = 10 }"
    );
    let none = party("aggregates = { amount = { min = 0, max = 500, max_rows = 20 } }", "");
    assert_eq!(
        refused(&none, &question(&["email"], &[rows("amount")])).1,
        "refused 'publisher': column 'amount' of 'purchases' may not be counted (columns for aggregates: none); to allow it, add to the \
         [[share]] at party.toml:16: aggregates = { amount = { max_rows = 10 } }"
    );
    let counted = party("{ min = 0, max = 500, max_rows = 20 }", "{ max_rows = 20 }");
    assert_eq!(
        refused(&counted, &question(&["email"], &[sum("amount")])).1,
        "refused 'publisher': column 'amount' of 'purchases' may be counted, not summed; to allow it, add to aggregates at party.toml:20: \
         amount = { min = 0, max = 100, max_rows = 20 }"
    );
}

#[test]
fn values_of_the_askers_own_are_bounded_inwards_at_the_decimals_that_it_offers() {
    let party = party("requester_values = false", "requester_values = { min = -0.55, max = 2.25, max_rows = 7 }");
    let word = |aggregate: Aggregate| {
        ask(&party, &question(&["email"], &[aggregate]), &["email/1"]).map(|permit| permit.words[0])
    };
    let own = |decimals: u8| word(Aggregate::OwnSum { value: 0, decimals });
    assert_eq!(own(2).unwrap(), WordTerms { min: -55, max: 225, decimals: 2 });
    assert_eq!(own(1).unwrap(), WordTerms { min: -5, max: 22, decimals: 1 });
    assert_eq!(own(0).unwrap(), WordTerms { min: 0, max: 2, decimals: 0 });
    assert_eq!(own(18).unwrap().max, 2_250_000_000_000_000_000);
    assert_eq!(word(Aggregate::OwnRows { value: 1 }).unwrap(), WordTerms { min: 0, max: 7, decimals: 0 });
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
        text.starts_with("'advertiser' refuses: own-sum(0,18) over 'purchases': 10000000 persons of up to"),
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
                "refused 'publisher': it normalises 'email' of 'purchases' by '{theirs}', party.toml:19 by email/1"
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
        .permit("publisher", &question(&["email"], &[Aggregate::Persons]), &Schema::empty(), &["email/1".to_owned()])
        .unwrap_err();
    assert_eq!(
        refusal.peer.to_string(),
        "'advertiser' cannot answer: its table 'purchases' no longer fits the terms by which it is shared; its owner's log says where"
    );
    assert_eq!(
        refusal.owner,
        "refused 'publisher': party.toml:19: the table 'purchases' has no column 'email'; its columns: none"
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
    assert_eq!(party.may_ask("publisher").unwrap().line, 32);
    assert_eq!(
        party.may_ask("bank").unwrap_err(),
        Error::Refused(
            "this party's own policy does not let it ask 'bank'; to allow it, add to party.toml: [[ask]] with of = [\"bank\"], \
             population = \"NAME\", and [ask.budget] with queries = 100, sizes = { epsilon = 2.0 }"
                .to_owned()
        )
    );
}
