//! Peers that an analyst names: on which terms, and what is refused.

use std::path::PathBuf;

use super::super::{Budgets, Party, UnnamedPeer, explain};
use crate::psi::Error;

const ANYBODY: &str = "[party]\nname = \"publisher\"\n[[peer]]\nname = \"bank\"\naddress = \"grpc://127.0.0.1:1\"\nplaintext = true\n\
    [[ask]]\nof = [\"*\"]\npopulation = \"readers\"\nrows = \"reveal\"\n[ask.budget]\nqueries = 7\nsizes = { epsilon = 1.0 }\n";

fn shop() -> UnnamedPeer {
    UnnamedPeer { name: "shop".to_owned(), address: "grpc://127.0.0.1:2".to_owned(), certificate: None }
}

#[test]
fn a_peer_that_no_policy_names_is_asked_on_the_terms_for_anybody_and_on_an_account_of_its_own() {
    let party = Party::parse(ANYBODY, "party.toml").unwrap();
    assert!(party.may_ask("shop").is_err() && party.may_ask("bank").is_err(), "until an analyst names it");
    let extended = party.with_unnamed(&shop()).unwrap();
    let ask = extended.may_ask("shop").unwrap();
    assert_eq!((ask.budget.queries, extended.peers.len(), extended.shares.len()), (7, 1, 0));
    assert_eq!(extended.peers[0].address, "grpc://127.0.0.1:2");
    let accounts = |party: &Party| -> Vec<String> {
        Budgets::in_memory(party).balances().unwrap().into_iter().map(|balance| balance.account.peer).collect()
    };
    assert_eq!(accounts(&extended), ["shop"]);
    assert_eq!(accounts(&party), Vec::<String>::new(), "anybody is nobody's account");
    let said = explain(&party, &Default::default()).join("\n");
    assert!(said.contains("any peer that an analyst names"), "{said}");
}

#[test]
fn a_certificate_is_pinned_as_a_policy_would_pin_it() {
    let own = "name = \"publisher\"\ncertificate = \"tls/publisher.pem\"\nkey = \"tls/publisher.key\"";
    let party = Party::parse(&ANYBODY.replace("name = \"publisher\"", own), "/etc/psi/party.toml").unwrap();
    let peer = UnnamedPeer {
        address: "grpc+tls://shop.example:50051".to_owned(),
        certificate: Some(PathBuf::from("tls/shop.pem")),
        ..shop()
    };
    let extended = party.with_unnamed(&peer).unwrap();
    assert_eq!(extended.peers[0].certificates, [PathBuf::from("/etc/psi/tls/shop.pem")]);
}

#[test]
fn what_a_policy_could_not_say_is_refused() {
    let party = Party::parse(ANYBODY, "party.toml").unwrap();
    for (peer, words) in [
        (UnnamedPeer { name: "a b\"c".to_owned(), ..shop() }, "no peer can be described so"),
        (UnnamedPeer { name: "*".to_owned(), ..shop() }, "no peer can be described so"),
        (UnnamedPeer { name: "psi".to_owned(), ..shop() }, "no peer can be described so"),
        (UnnamedPeer { name: "publisher".to_owned(), ..shop() }, "no peer can be described so"),
        (UnnamedPeer { name: "bank".to_owned(), ..shop() }, "is a [[peer]]"),
        (UnnamedPeer { address: "http://127.0.0.1:2".to_owned(), ..shop() }, "no peer can be described so"),
        (UnnamedPeer { address: "grpc://shop.example:2".to_owned(), ..shop() }, "no peer can be described so"),
        (UnnamedPeer { address: "grpc+tls://shop.example:2".to_owned(), ..shop() }, "no peer can be described so"),
    ] {
        let error = party.with_unnamed(&peer).unwrap_err();
        assert!(matches!(&error, Error::Caller(text) if text.contains(words)), "{peer:?}: {error}");
    }
    let named = ANYBODY.replace("\"*\"", "\"bank\"");
    let error = Party::parse(&named, "party.toml").unwrap().with_unnamed(&shop()).unwrap_err();
    assert!(matches!(&error, Error::Refused(text) if text.contains("of = [\"*\"]")), "{error}");
    let both = ANYBODY.replace("\"*\"", "\"*\", \"bank\"");
    assert!(Party::parse(&both, "party.toml").unwrap_err().to_string().contains("stands alone"));
}
