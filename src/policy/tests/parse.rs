use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::dp;
use crate::policy::{
    AskedRows, BudgetTerms, Clip, Limits, Ot, Party, Period, RequesterValues, Sizes, TlsFiles, testing,
};
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
    let server = party.server.as_ref().unwrap();
    let tls = TlsFiles { certificate: "conf/tls/advertiser.pem".into(), key: "conf/tls/advertiser.key".into() };
    assert_eq!((server.tls.as_ref(), party.own_tls.as_ref()), (Some(&tls), Some(&tls)));
    assert_eq!(
        (server.clients.as_slice(), &server.tokens),
        ([PathBuf::from("conf/tls/analysts.pem")].as_slice(), &None)
    );
    let publisher = party.peer("publisher").unwrap();
    assert_eq!((publisher.address.as_str(), publisher.plaintext), ("grpc+tls://127.0.0.1:50051", false));
    assert_eq!(publisher.certificates, [Path::new("conf/tls/publisher.pem")]);
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
    let category = share.group("category").unwrap();
    assert_eq!(category.labels, ["toys", "books", "garden"]);
    assert_eq!((share.max_labels, share.max_parts, share.approval), (2, 20, false));
    assert_eq!((share.minimum_matched, share.filtered_rows, share.columns), (50, FilteredRows::Hide, 3));
    let BudgetTerms { population, queries, sizes, outputs, period, .. } = &share.budget;
    assert_eq!((population.as_str(), *queries), ("shoppers", 10));
    assert_eq!(*sizes, Sizes::Private { epsilon: 2.into(), delta: None });
    assert_eq!(*outputs, dp::OutputBudget::Laplace { epsilon: "4/1".parse().unwrap() });
    assert_eq!((*period, share.budget.outputs_per_query().to_string()), (Period::Month, "epsilon 2/5".to_owned()));
    assert_eq!(share.shared_columns(), ["email", "phone", "surname", "born", "amount", "bought_at", "category"]);

    let ask = party.may_ask("publisher").unwrap();
    assert_eq!((ask.rows, ask.identifiers, ask.budget.queries), (AskedRows::Pad, 3, 100));
    assert_eq!((ask.budget.population.as_str(), ask.budget.period), ("shoppers", Period::Month));
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
        "approval = \"none\"",
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
            party.shares[0].lines.minimum_matched = None;
            party.shares[0].lines.approval = None;
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
        "party.toml:26: [[share]] of 'purchases' lacks 'budget'; add, for example: [share.budget], and in it: population = \"shoppers\", \
         queries = 10, sizes = { epsilon = 2.0 }, outputs = { epsilon = 4.0 }"
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
        let text = testing::PARTIES.replacen("grpc://127.0.0.1:50051", address, 1);
        assert_eq!(Party::parse(&text, "party.toml").unwrap().peers[0].address, address);
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

/// The refusal of [`testing::PARTIES`] with one text replaced, and a share with the publisher.
fn shared(from: &str, to: &str) -> Result<Party, String> {
    assert!(testing::PARTIES.contains(from), "{from}");
    let share = "[[share]]\ntable = \"purchases\"\nwith = [\"publisher\"]\nidentifiers = { email = \"email/1\" }\n\
                 [share.budget]\npopulation = \"people\"\nqueries = 5\nsizes = { epsilon = 1 }\noutputs = { epsilon = 1 }\n";
    Party::parse(&(testing::PARTIES.replacen(from, to, 1) + share), "party.toml").map_err(|error| error.to_string())
}

#[test]
fn a_peer_is_shared_with_only_where_the_server_can_tell_that_it_is_the_peer() {
    assert!(shared("", "").unwrap().server.unwrap().tls.is_none());
    let tls = "certificate = \"a.pem\"\nkey = \"a.key\"";
    let refused = shared("plaintext = true", tls).unwrap_err();
    assert_eq!(
        refused,
        "party.toml:29: [[share]]: 'with' names 'publisher', a peer in plain text, and [server] answers by TLS alone; \
         give the [[peer]] of line 18 a certificate, or [server] plaintext = true"
    );
    let pinned = "address = \"grpc+tls://publisher.example:50051\"\ncertificate = [\"old.pem\", \"new.pem\"]";
    let plain = "address = \"grpc://127.0.0.1:50051\"\nplaintext = true";
    assert_eq!(
        shared(&format!("{plain}\n\n"), &format!("{pinned}\n")).unwrap_err(),
        "party.toml:17: [[peer]] 'publisher' is spoken to by TLS, and this party has no certificate of its own; \
         add certificate = \"tls/NAME.pem\" and key = \"tls/NAME.key\" to [server], or to [party] where there is no server; \
         `datafusion-psi init` makes both"
    );
    let text = testing::PARTIES.replacen(plain, pinned, 1);
    let of_party = text.replacen("name = \"advertiser\"", &format!("name = \"advertiser\"\n{tls}"), 1);
    // A party may ask by TLS and answer in plain text, but not the same peer.
    let party = Party::parse(&of_party, "x/party.toml").unwrap();
    assert_eq!(party.own_tls.unwrap().certificate, Path::new("x/a.pem"));
    assert!(party.server.unwrap().tls.is_none());
    assert_eq!(party.peers[0].certificates, [Path::new("x/old.pem"), Path::new("x/new.pem")]);
    let share = "[[share]]\ntable = \"purchases\"\nwith = [\"publisher\"]\n";
    assert_eq!(
        Party::parse(&(of_party.clone() + share), "party.toml").unwrap_err().to_string(),
        "party.toml:30: [[share]]: 'with' names 'publisher', a peer by certificate, and [server] speaks plain text, \
         where anybody could claim its name; give [server] a certificate and a key, or the [[peer]] of line 19 plaintext = true"
    );
    // One certificate for both: that of [party].
    let both = of_party.replacen("plaintext = true\n", "", 1);
    let server = Party::parse(&both, "party.toml").unwrap().server.unwrap();
    assert_eq!(server.tls.unwrap().key, Path::new("a.key"));
    assert_eq!(
        shared(plain, &format!("{plain}\ncertificate = \"a.pem\"")).unwrap_err(),
        "party.toml:21: [[peer]]: 'certificate' stands beside plaintext = true, which has no certificates; remove one of the two"
    );
}

#[test]
fn plain_text_never_leaves_the_machine_and_tls_may() {
    for listen in ["0.0.0.0:50052", "[::]:50052", "192.168.1.7:1"] {
        let party = Party::parse(&changed("127.0.0.1:50052", listen), "party.toml").unwrap();
        assert_eq!(party.server.unwrap().listen.to_string(), listen);
        let text = testing::PARTIES.replacen("127.0.0.1:50052", listen, 1);
        assert!(
            Party::parse(&text, "party.toml")
                .unwrap_err()
                .to_string()
                .contains("plain text must not leave this machine")
        );
    }
    for address in ["grpc://10.0.0.7:50051", "grpc://example.org:1", "grpc://[2001:db8::1]:1"] {
        let text = testing::PARTIES.replacen("grpc://127.0.0.1:50051", address, 1);
        assert_eq!(
            Party::parse(&text, "party.toml").unwrap_err().to_string(),
            format!(
                "party.toml:19: [[peer]]: 'address' is '{address}', which is not loopback; plain text must not leave this machine: \
                 write grpc+tls://HOST:PORT and a certificate, and remove plaintext"
            )
        );
        let tls = address.replacen("grpc://", "grpc+tls://", 1);
        let party = Party::parse(&changed("grpc+tls://127.0.0.1:50051", &tls), "party.toml").unwrap();
        assert_eq!(party.peers[0].address, tls);
    }
}

#[test]
fn an_output_budget_is_divided_exactly_over_the_queries() {
    let per_query = |outputs: &str| {
        let party = Party::parse(&changed("outputs = { epsilon = 4.0 }", outputs), "party.toml").unwrap();
        (party.shares[0].budget.outputs.clone(), party.shares[0].budget.outputs_per_query().to_string())
    };
    assert_eq!(per_query("outputs = { noise = \"none\" }"), (dp::OutputBudget::Exact, "exact".to_owned()));
    let laplace = |epsilon: &str| dp::OutputBudget::Laplace { epsilon: epsilon.parse().unwrap() };
    assert_eq!(per_query("outputs = { epsilon = 0.3 }"), (laplace("3/10"), "epsilon 3/100".to_owned()));
    assert_eq!(
        per_query("outputs = { noise = \"laplace\", epsilon = \"1.5\" }"),
        (laplace("3/2"), "epsilon 3/20".to_owned())
    );
    let (gaussian, rho) = per_query("outputs = { epsilon = 4.0, delta = 0.000001, noise = \"gaussian\" }");
    assert_eq!(
        gaussian,
        dp::OutputBudget::Gaussian { epsilon: "4/1".parse().unwrap(), delta: "1/1000000".parse().unwrap() }
    );
    // Of all ten: about 0.26.
    let rho: dp::Ratio = rho.strip_prefix("rho ").unwrap().parse().unwrap();
    assert!((0.2..0.32).contains(&(10.0 * rho.to_f64())), "{}", rho.to_f64());
}

#[test]
fn labels_are_texts_and_numbers_as_sql_shows_them() {
    let groups = "group_by = { category = [\"toys\"], year = [2025, 0x7EA, -1], paid = [true, \"false\"] }";
    let party =
        Party::parse(&changed("group_by = { category = [\"toys\", \"books\", \"garden\"] }", groups), "party.toml")
            .unwrap();
    let labels = |column: &str| party.shares[0].group(column).unwrap().labels.clone();
    assert_eq!(
        (labels("category"), labels("paid")),
        (vec!["toys".to_owned()], vec!["true".to_owned(), "false".to_owned()])
    );
    assert_eq!(labels("year"), ["2025", "2026", "-1"]);
    assert_eq!(party.shares[0].shared_columns().last(), Some(&"paid"));
}

#[test]
fn limits_that_are_left_out_follow_those_that_are_written() {
    let limits = |text: &str| {
        Party::parse(&format!("party = {{ name = \"a\" }}\nlimits = {{ {text} }}"), "party.toml").unwrap().limits
    };
    assert_eq!(limits(""), Limits::default());
    let one = limits("sessions_max = 1");
    assert_eq!((one.sessions_max, one.sessions_per_peer_max, one.connections_max), (1, 1, 64));
    let hundred = limits("sessions_max = 100");
    assert_eq!((hundred.sessions_per_peer_max, hundred.connections_max), (2, 200));
}

#[test]
fn tables_may_be_blinded_ahead_in_all_of_the_memory_and_are_not_unless_the_policy_says_so() {
    let parsed = |text: &str| Party::parse(&format!("party = {{ name = \"a\" }}\nlimits = {{ {text} }}"), "party.toml");
    assert_eq!(parsed("").unwrap().limits.blind_ahead_mb, 0);
    for (text, mb) in
        [("blind_ahead_mb = 1", 1), ("memory_mb = 100, blind_ahead_mb = 100", 100), ("blind_ahead_mb = 4096", 4096)]
    {
        assert_eq!(parsed(text).unwrap().limits.blind_ahead_mb, mb, "{text}");
    }
    for text in ["memory_mb = 100, blind_ahead_mb = 101", "blind_ahead_mb = 4097"] {
        let refused = parsed(text).unwrap_err().to_string();
        assert!(refused.contains("'blind_ahead_mb' is above memory_mb"), "{refused}");
    }
}

#[test]
fn files_that_are_missing_are_found_at_start_and_not_by_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("party.toml");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let party = Party::parse(testing::SAMPLE, &path).unwrap();
    let missing = |party: &Party| -> Vec<String> {
        party
            .missing_files()
            .iter()
            .map(|error| error.to_string().replacen(&path.display().to_string(), "F", 1))
            .collect()
    };
    let absent = "No such file or directory (os error 2)";
    let init = "`datafusion-psi init` makes a certificate and its key";
    assert_eq!(
        missing(&party),
        [
            format!(
                "F:7: the certificate of [server] names '{}', which cannot be read: {absent}; {init}",
                at("tls/advertiser.pem")
            ),
            format!(
                "F:8: the key of [server] names '{}', which cannot be read: {absent}; {init}",
                at("tls/advertiser.key")
            ),
            format!(
                "F:9: clients of [server] names '{}', which cannot be read: {absent}; put the analysts' certificates there, or remove the key `clients`",
                at("tls/analysts.pem")
            ),
            format!(
                "F:13: a location of the table 'purchases' names '{}', and '{}' cannot be read: {absent}; \
                 name a file, a folder or a glob that is there; paths are relative to the policy's folder",
                at("data/purchases/*.parquet"),
                at("data/purchases")
            ),
            format!(
                "F:18: the certificate of [[peer]] 'publisher' names '{}', which cannot be read: {absent}; put the file there that the peer gave you",
                at("tls/publisher.pem")
            ),
        ]
    );
    assert_eq!(party.check_files().unwrap_err().line, Some(7));
    fs::create_dir_all(folder.path().join("data/purchases")).unwrap();
    fs::create_dir_all(folder.path().join("tls/publisher.pem")).unwrap();
    for name in ["tls/advertiser.pem", "tls/advertiser.key", "tls/analysts.pem"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let found = missing(&party);
    assert_eq!(
        found.last().unwrap(),
        &format!(
            "F:18: the certificate of [[peer]] 'publisher' names '{}', which is no file; name a PEM file",
            at("tls/publisher.pem")
        )
    );
    fs::remove_dir(folder.path().join("tls/publisher.pem")).unwrap();
    fs::write(folder.path().join("tls/publisher.pem"), "x").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let key = folder.path().join("tls/advertiser.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(
            missing(&party),
            [format!(
                "F:8: the key of [server] names '{}', which other users may open (mode 640); make it this user's alone: chmod 600",
                at("tls/advertiser.key")
            )]
        );
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(party.check_files(), Ok(()));
}
