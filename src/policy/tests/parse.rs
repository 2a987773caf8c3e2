use std::fs;

use proptest::prelude::*;

use crate::policy::{AskedRows, BudgetTerms, Clip, Limits, Ot, Party, RequesterValues, Sizes, testing};
use crate::psi::FilteredRows;

/// The sample with one text replaced, which must be in it.
pub(super) fn changed(from: &str, to: &str) -> String {
    assert!(testing::SAMPLE.contains(from), "the sample lacks {from}");
    testing::SAMPLE.replacen(from, to, 1)
}

#[test]
fn the_sample_means_what_the_documentation_says() {
    let party = Party::parse(testing::SAMPLE, "conf/party.toml").unwrap();
    assert_eq!((party.name.as_str(), party.state.to_str()), ("advertiser", Some("conf/state/")));
    assert_eq!(party.server.as_ref().unwrap().listen.to_string(), "127.0.0.1:50052");
    assert_eq!(party.table("purchases").unwrap().location, ["conf/data/purchases/*.parquet"]);
    assert_eq!(party.peer("publisher").unwrap().address, "grpc://127.0.0.1:50051");
    assert_eq!((party.ot, party.limits), (Ot::default(), Limits::default()));

    let share = party.share("publisher", "purchases").unwrap();
    let identifiers: Vec<_> = share
        .identifiers
        .iter()
        .map(|identifier| format!("{} {} {}", identifier.name, identifier.columns.join("+"), identifier.normaliser))
        .collect();
    assert_eq!(identifiers, ["email email email/1", "phone phone phone/1:US", "person surname+born exact/1"]);
    let amount = share.aggregate("amount").unwrap();
    assert_eq!(amount.clip, Some(Clip { min: 0.into(), max: 500.into() }));
    assert_eq!((amount.max_rows, amount.decimals, share.requester_values), (20, None, None));
    assert_eq!(share.filter_on, ["bought_at", "category"]);
    assert_eq!((share.minimum_matched, share.filtered_rows, share.columns), (50, FilteredRows::Hide, 3));
    let BudgetTerms { population, queries, sizes, .. } = &share.budget;
    assert_eq!((population.as_str(), *queries), ("shoppers", 10));
    assert_eq!(*sizes, Sizes::Private { epsilon: 2.into(), delta: None });
    assert_eq!(share.shared_columns(), ["email", "phone", "surname", "born", "amount", "bought_at", "category"]);

    let ask = party.may_ask("publisher").unwrap();
    assert_eq!((ask.rows, ask.identifiers, ask.budget.queries), (AskedRows::Pad, 3, 100));
    assert_eq!(ask.budget.population, "shoppers");
}

#[test]
fn what_is_left_out_has_the_defaults_that_the_sample_writes_down() {
    let mut short = testing::SAMPLE.to_owned();
    for line in [
        "requester_values = false",
        "minimum_matched = 50",
        "filtered_rows = \"hide\"",
        "rows = \"pad\"",
        "identifiers = 3",
        "period = \"forever\"",
        "state = \"state/\"",
    ] {
        assert!(short.contains(&format!("\n{line}")), "{line}");
        short = short.replacen(&format!("\n{line}"), "\n#", 1);
    }
    let (limits, _) = short.split_once("[ot]").unwrap();
    assert_eq!(
        Party::parse(limits, "party.toml"),
        Party::parse(testing::SAMPLE, "party.toml").map(|mut party| {
            party.shares[0].lines.requester_values = None;
            party
        })
    );
}

#[test]
fn a_share_without_budget_is_an_error() {
    let text = testing::PARTIES.to_owned()
        + "[[share]]\ntable = \"purchases\"\nwith = [\"bank\"]\nidentifiers = { email = \"email/1\" }\n";
    assert_eq!(
        Party::parse(&text, "party.toml").unwrap_err().to_string(),
        "party.toml:20: [[share]] of 'purchases' lacks 'budget'; add, for example: [share.budget], and in it: population = \"shoppers\", \
         queries = 10, sizes = { epsilon = 2.0 }, outputs = { noise = \"none\" }"
    );
}

#[test]
fn no_binary_float_ever_rounds_a_bound() {
    for (written, exact) in [
        ("0.1", "0.1"),
        ("9007199254740993", "9007199254740993"),
        ("1e2", "100"),
        ("\"12.50\"", "12.50"),
        ("0x10", "16"),
        ("1_0.2_5", "10.25"),
    ] {
        let party = Party::parse(&changed("max = 500", &format!("max = {written}")), "party.toml").unwrap();
        assert_eq!(party.shares[0].terms().aggregates[0].clip.as_ref().unwrap().max, exact);
    }
}

#[test]
fn several_shares_tables_and_peers_stand_side_by_side() {
    let share = |table: &str, with: &str, identifiers: &str, rest: &str| {
        format!(
            "[[share]]\ntable = \"{table}\"\nwith = [{with}]\nidentifiers = {identifiers}\n{rest}\
             [share.budget]\npopulation = \"people\"\nqueries = 5\nsizes = {{ epsilon = 1, delta = 1e-6 }}\noutputs = {{ noise = \"none\" }}\n"
        )
    };
    let text = testing::PARTIES.to_owned()
        + &share(
            "purchases",
            "\"publisher\"",
            "{ \"E-Mail\" = \"email/1\" }",
            "requester_values = { min = -1, max = 1, max_rows = 3 }\n",
        )
        + &share(
            "purchases",
            "\"bank\"",
            "{ mail = { columns = [\"E-Mail\"], as = \"email/1\" }, b = \"exact/1\" }",
            "filtered_rows = \"pad\"\n",
        )
        + &share("salaries", "\"bank\", \"publisher\"", "{ iban = \"exact/1\" }", "");
    let party = Party::parse(&text, "/etc/psi/party.toml").unwrap();
    assert_eq!(
        party.shares_with("bank").map(|share| share.table.as_str()).collect::<Vec<_>>(),
        ["purchases", "salaries"]
    );
    assert_eq!(party.share("publisher", "purchases").unwrap().identifiers[0].name, "E-Mail");
    let values = party.shares[0].requester_values.unwrap();
    assert_eq!(values, RequesterValues { clip: Clip { min: (-1).into(), max: 1.into() }, max_rows: Some(3) });
    assert_eq!(party.table("salaries").unwrap().location, ["/etc/psi/data/salaries.csv"]);
    // One account: computed for its widest share, and padding is paid by all if any pads.
    assert_eq!(party.shares.iter().map(|share| share.columns).collect::<Vec<_>>(), [2, 2, 2]);
    assert!(party.shares[0].pad_plan().is_none() && party.shares[1].pad_plan().is_some());
    let each: Vec<_> = party.shares.iter().map(|share| share.dummies(1000).unwrap()).collect();
    assert_eq!(each, [crate::dp::dummies(10, 0.5, 5e-7).unwrap(); 3]);
}

#[test]
fn locations_are_relative_to_the_file_unless_they_say_otherwise() {
    let located = |location: &str, file: &str| {
        let text = changed("location = \"data/purchases/*.parquet\"", &format!("location = {location}"));
        Party::parse(&text, file).unwrap().tables[0].location.clone()
    };
    assert_eq!(located("[\"a.csv\", \"/b/\", \"s3://c/d\"]", "x/party.toml"), ["x/a.csv", "/b/", "s3://c/d"]);
    assert_eq!(located("\"data/\"", "party.toml"), ["data/"]);
}

#[test]
fn loopback_in_every_spelling_is_accepted() {
    for (written, read) in
        [("localhost:0", "127.0.0.1:0"), ("[::1]:50052", "[::1]:50052"), ("127.8.9.1:1", "127.8.9.1:1")]
    {
        let party = Party::parse(&changed("127.0.0.1:50052", written), "party.toml").unwrap();
        assert_eq!(party.server.unwrap().listen.to_string(), read);
    }
    for address in ["grpc://localhost:1", "grpc://[::1]:1"] {
        assert_eq!(
            Party::parse(&changed("grpc://127.0.0.1:50051", address), "party.toml").unwrap().peers[0].address,
            address
        );
    }
}

#[test]
fn a_file_that_cannot_be_a_policy_is_refused_before_it_is_parsed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("party.toml");
    let at = |rest: &str| format!("{}{rest}", path.display());
    let error = || Party::load(&path).unwrap_err().to_string();
    assert_eq!(
        error(),
        at(
            ": cannot be read: No such file or directory (os error 2); name an existing party.toml that this user may read"
        )
    );
    assert_eq!(
        Party::load(folder.path()).unwrap_err().to_string(),
        format!("{}: cannot be read: it is a folder; name the party.toml inside it", folder.path().display())
    );
    fs::write(&path, b"[party]\nname = \"\xff\"\n").unwrap();
    assert_eq!(error(), at(":2: the text is not UTF-8; save the file as UTF-8"));
    fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(error(), at(": it is larger than 1 MiB; a policy is a short text: name the right file"));
    fs::write(&path, testing::SAMPLE).unwrap();
    let party = Party::load(&path).unwrap();
    assert_eq!(party.state, folder.path().join("state/"));
    assert_eq!(party, Party::parse(testing::SAMPLE, &path).unwrap());
}

#[test]
fn the_least_policy_only_asks() {
    let party = Party::parse("party = { name = \"a\" }", "party.toml").unwrap();
    assert!(party.server.is_none() && party.tables.is_empty() && party.peers.is_empty());
    assert_eq!(party.state.to_str(), Some("state/"));
    let empty = Party::parse("", "party.toml").unwrap_err();
    assert_eq!(
        empty.to_string(),
        "party.toml:1: the policy lacks 'party'; add, for example: [party], and in it: name = \"advertiser\""
    );
}

/// A piece of TOML, plain or ugly.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z\\[\\]{}=\"#,.0-9 \\n]{0,6}",
        any::<String>(),
        Just("99999999999999999999999999".to_owned()),
        Just("-0.0e-1".to_owned()),
        Just("nan".to_owned()),
        Just("1979-05-27".to_owned()),
        Just("[[share]]".to_owned()),
        Just("[".repeat(2000)),
        Just("a.".repeat(500)),
        Just("\u{0}\u{feff}\"\"\"".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_mutation_of_a_policy_makes_the_reader_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, piece()), 1..4)) {
        let mut text = testing::SAMPLE.to_owned();
        for (at, removed, piece) in edits {
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let from = at.index(starts.len());
            let to = (from + removed).min(starts.len());
            let end = starts.get(to).copied().unwrap_or(text.len());
            text.replace_range(starts[from]..end, &piece);
        }
        if let Err(error) = Party::parse(&text, "party.toml") {
            let lines = text.lines().count() + 1;
            prop_assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{}", error);
            prop_assert!(!error.to_string().contains('\n'), "{}", error);
        }
    }

    #[test]
    fn a_bound_is_read_back_as_it_was_written(whole in -1_000_000i64..1_000_000, fraction in "[0-9]{1,9}") {
        let written = format!("{whole}.{fraction}");
        let text = changed("min = 0, max = 500", &format!("min = {written}, max = \"2000000\""));
        let terms = Party::parse(&text, "party.toml").unwrap().shares[0].terms();
        prop_assert_eq!(&terms.aggregates[0].clip.as_ref().unwrap().min, &written);
    }
}
