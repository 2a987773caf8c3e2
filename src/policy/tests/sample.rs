use crate::policy::{Limits, Ot, Party, Period, sample};

#[test]
fn a_new_partys_file_shares_nothing_and_can_be_read() {
    let party = Party::parse(&sample("shop_2"), "shop/party.toml").unwrap();
    assert_eq!(party.name, "shop_2");
    let tls = party.own_tls.as_ref().unwrap();
    assert_eq!(
        (tls.certificate.to_str(), tls.key.to_str()),
        (Some("shop/tls/shop_2.pem"), Some("shop/tls/shop_2.key"))
    );
    assert!(party.tables.is_empty() && party.peers.is_empty() && party.shares.is_empty() && party.asks.is_empty());
    // Two files are missing, and nothing else.
    assert_eq!(party.missing_files().len(), 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("party.toml");
    std::fs::write(&path, sample("shop_2")).unwrap();
    assert_eq!(Party::load(&path).unwrap().name, "shop_2");
}

/// The sample with its examples uncommented, except those that stand in place of others.
fn uncommented() -> String {
    let instead = ["#certificate = \"tls/shop.pem\"", "#key = \"tls/shop.key\"", "#plaintext"];
    let line = |line: &str| match line.strip_prefix('#') {
        Some(toml) if !toml.starts_with(' ') && !instead.iter().any(|other| line.starts_with(other)) => toml.to_owned(),
        _ => line.to_owned(),
    };
    sample("shop").lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn its_examples_are_possible_and_its_defaults_are_the_defaults() {
    let all = Party::parse(&uncommented(), "party.toml").unwrap();
    assert_eq!((all.limits, all.ot), (Limits::default(), Ot::default()));
    let (share, ask) = (&all.shares[0], &all.asks[0]);
    // Without the lines that are called defaults, everything is the same.
    let short: Vec<String> = uncommented()
        .lines()
        .map(|line| if line.contains("# the default") { String::new() } else { line.to_owned() })
        .collect();
    let short = Party::parse(&short.join("\n"), "party.toml").unwrap();
    assert_ne!(uncommented().matches("# the default").count(), 0);
    assert_eq!(short.shares[0].terms(), share.terms());
    assert_eq!(
        (short.shares[0].requester_values, short.asks[0].rows, short.asks[0].identifiers),
        (None, ask.rows, ask.identifiers)
    );
    assert_eq!(
        (share.budget.period, ask.budget.period, short.asks[0].budget.period),
        (Period::Forever, Period::Forever, Period::Forever)
    );
}

#[test]
fn every_key_that_the_reader_knows_has_a_line() {
    let text = sample("shop");
    // What the reader offers for a key that it does not know, section by section.
    for (from, section) in [
        ("[party]", "[party]"),
        ("[server]", "[server]"),
        ("#[[table]]", "[[table]]"),
        ("#[[peer]]", "[[peer]]"),
        ("#[[share]]", "[[share]]"),
        ("#[share.budget]", "[share.budget]"),
        ("#[[ask]]", "[[ask]]"),
        ("#[ask.budget]", "[ask.budget]"),
        ("#[ot]", "[ot]"),
        ("#[limits]", "[limits]"),
    ] {
        let wrong = uncommented().replacen(&format!("\n{section}\n"), &format!("\n{section}\nxyzzyxyzzy = 1\n"), 1);
        let error = Party::parse(&wrong, "party.toml").unwrap_err().to_string();
        let (_, keys) = error.split_once("possible keys: ").unwrap_or_else(|| panic!("{section}: {error}"));
        let (_, rest) = text.split_once(&format!("\n{from}\n")).unwrap();
        let body = rest.split("\n\n").next().unwrap();
        for key in keys.split(", ").filter(|key| *key != "budget") {
            let stands = body.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{key} = ")));
            assert!(stands, "{section} lacks {key}");
        }
    }
}
