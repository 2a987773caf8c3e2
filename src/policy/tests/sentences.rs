use std::collections::BTreeMap;

use super::parse::changed;
use crate::policy::{Party, explain, testing};

fn explained(text: &str, persons: &[(&str, u64)]) -> Vec<String> {
    let persons: BTreeMap<String, u64> = persons.iter().map(|(table, count)| ((*table).to_owned(), *count)).collect();
    explain(&Party::parse(text, "party.toml").unwrap(), &persons)
}

#[test]
fn the_sample_is_explained_in_these_words() {
    let said = explained(testing::SAMPLE, &[("purchases", 1_000_000)]).join("\n") + "\n";
    assert_eq!(said, include_str!("sentences.txt"), "\n{said}");
}

#[test]
fn what_is_dangerous_is_said_with_a_warning_and_what_is_not_is_not() {
    assert!(explained(testing::SAMPLE, &[]).iter().all(|sentence| !sentence.starts_with("Warning")));
    let sizes = "sizes = { epsilon = 2.0 }                                #";
    let asked = "sizes = { epsilon = 2.0 }\nperiod";
    for (from, to, warning) in [
        (sizes, "sizes = { exact = true } #", "Warning: the numbers of matches with 'purchases' are exact"),
        (sizes, "sizes = { epsilon = 50 } #", "Warning: an epsilon of 50 for sizes hides little"),
        (
            sizes,
            "sizes = { epsilon = 1e-6, delta = 1e-30 } #",
            "Warning: for a table of 1000000 persons no question can be answered",
        ),
        (
            "outputs = { epsilon = 4.0 }",
            "outputs = { noise = \"none\" }",
            "Warning: answers about 'purchases' are exact",
        ),
        (
            "outputs = { epsilon = 4.0 }",
            "outputs = { epsilon = 11 }",
            "Warning: an epsilon of 11 for answers about 'purchases'",
        ),
        ("filtered_rows = \"hide\"", "filtered_rows = \"reveal\"", "Warning: each filter on 'purchases' tells exactly"),
        (
            "minimum_matched = 50",
            "minimum_matched = 0",
            "Warning: questions about 'purchases' are answered however few",
        ),
        (
            "requester_values = false",
            "requester_values = { min = 0, max = 100, max_rows = 3 }",
            "Warning: 'publisher' may sum values of its own over the matches, a person's total from 0 to 100, and count them, 3 at most",
        ),
        (
            "rows = \"pad\"",
            "rows = \"reveal\"",
            "Warning: 'publisher' sees exactly how many persons of this party's each question",
        ),
        (
            "rows = \"pad\"                                             # the default; or \"reveal\"\nidentifiers = 3",
            "rows = \"reveal\"\nidentifiers = 2",
            "Warning: 'publisher' sees exactly how many persons",
        ),
        (asked, "sizes = { epsilon = 20 }\nperiod", "Warning: an epsilon of 20 for sizes"),
    ] {
        let said = explained(&changed(from, to), &[]);
        assert!(said.iter().any(|sentence| sentence.starts_with(warning)), "{to}: {said:#?}");
    }
    let plain = explained(testing::PARTIES, &[]);
    assert!(plain.iter().any(|s| s.starts_with("Warning: whoever runs a program on this machine")), "{plain:#?}");
    assert!(plain.iter().any(|s| s.starts_with("Warning: 'bank' is reached at grpc://localhost:50053 in plain text")));
    assert!(plain.contains(&"'bank' is known, may ask nothing and is asked nothing.".to_owned()));
    assert!(plain.contains(&"'salaries' is shared with nobody.".to_owned()));
}

#[test]
fn gaussian_noise_is_explained_by_its_own_rule_for_several_numbers() {
    let text =
        changed("outputs = { epsilon = 4.0 }", "outputs = { epsilon = 4.0, delta = 0.000001, noise = \"gaussian\" }");
    let said = explained(&text, &[]).join("\n");
    assert!(
        said.contains(
            "Answers carry Gaussian noise, epsilon = 4.0 and delta = 0.000001 over all 10 questions of a month"
        ),
        "{said}"
    );
    assert!(said.contains("the square root of that number times as much"), "{said}");
}

#[test]
fn several_peers_and_tables_of_one_account_are_named_together() {
    let share = |table: &str, with: &str| {
        format!(
            "[[share]]\ntable = \"{table}\"\nwith = [{with}]\nidentifiers = {{ a = \"exact/1\" }}\nfiltered_rows = \"pad\"\napproval = \"required\"\n\
             [share.budget]\npopulation = \"people\"\nqueries = 1\nsizes = {{ epsilon = 1 }}\noutputs = {{ epsilon = 1 }}\n"
        )
    };
    let text = testing::PARTIES.to_owned()
        + &share("purchases", "\"publisher\", \"bank\"")
        + &share("salaries", "\"publisher\"");
    let said = explained(&text, &[("salaries", 1000)]).join("\n");
    for sentence in [
        "each of 'publisher' and 'bank' may ask 1 question in all on the account 'people' about 'purchases', matched by a (exact/1).",
        "Questions about 'salaries' count on the same account, 'people'.",
        "Each of them has an account of its own; what they tell each other adds up.",
        "Each new question waits until its exact text has been approved: datafusion-psi approve --config party.toml ID.",
        "about how many persons of 'salaries' pass its filter",
        "half of it for the padded lengths; for 1000 persons that takes at least",
        "over the one question",
        "Sizes and answers together: epsilon = 2.",
    ] {
        assert!(said.contains(sentence), "{sentence}\n{said}");
    }
}
