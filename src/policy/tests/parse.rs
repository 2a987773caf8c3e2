use crate::policy::{testing, Party};
include!("/tmp/probe_cases.rs");
#[test]
fn probe() {
    let mut out = String::new();
    for (_, a, b) in CASES {
        let text = testing::SAMPLE.replacen(a, b, 1);
        out += &match Party::parse(&text, "party.toml") { Ok(_) => "OK!".to_owned(), Err(e) => e.to_string() };
        out += "\n";
    }
    std::fs::write("/tmp/cases.out", out).unwrap();
    let p = Party::parse(testing::SAMPLE, "conf/party.toml").unwrap();
    std::fs::write("/tmp/sample.out", format!("{p:#?}")).unwrap();
}
