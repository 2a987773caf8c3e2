//! `CREATE EXTERNAL TABLE … STORED AS PSI`: a peer's table under a name of one's own, of a peer that the policy names or
//! does not.

use std::sync::Arc;

use super::kit::{Pair, party, session};
use crate::policy::{Budgets, SystemClock};
use crate::sql::{Asker, register_external_tables};

const ANYBODY: &str = r#"
[party]
name = "publisher"
[[table]]
name = "impressions"
location = "impressions.parquet"
[[ask]]
of = ["*"]
population = "readers"
rows = "reveal"
[ask.budget]
queries = 2
sizes = { exact = true }
"#;

/// The advertiser's address, as the publisher's policy has it.
fn address(pair: &Pair) -> String {
    pair.asker.party().peers[0].address.clone()
}

#[tokio::test]
async fn a_named_peer_s_table_has_any_name_and_gives_the_same_answers() {
    let pair = Pair::open().await;
    register_external_tables(&pair.context, &pair.asker);
    let create = format!("CREATE EXTERNAL TABLE sold STORED AS PSI LOCATION '{}/purchases'", address(&pair));
    pair.run(&create).await.unwrap();
    let of = |table: &str| {
        format!("SELECT PRIVATE_INTERSECT_SUM(p.amount) FROM impressions i JOIN {table} p ON i.email = p.email")
    };
    assert_eq!(pair.row(&of("sold")).await, pair.row(&of("advertiser.purchases")).await);
    assert!(pair.error("SELECT * FROM sold").await.contains("its rows stay with advertiser"));
    for (statement, words) in [
        (format!("LOCATION '{}/nothing'", address(&pair)), "shares no table 'nothing'"),
        (format!("LOCATION '{}'", address(&pair)), "names no table of a peer"),
        ("LOCATION 'grpc://127.0.0.1:9/purchases'".to_owned(), "names no peer at grpc://127.0.0.1:9"),
        ("LOCATION 'grpc://127.0.0.1:9/purchases' OPTIONS ('psi.name' 'shop')".to_owned(), "of = [\"*\"]"),
        (format!("LOCATION '{}/purchases' OPTIONS ('psi.name' 'shop')", address(&pair)), "leave psi.name out"),
        (format!("LOCATION '{}/purchases' OPTIONS ('psi.rows' 'all')", address(&pair)), "no option 'psi.rows'"),
    ] {
        let error = pair.error(&format!("CREATE EXTERNAL TABLE x STORED AS PSI {statement}")).await;
        assert!(error.contains(words), "{statement}: {error}");
    }
    let columns = format!("CREATE EXTERNAL TABLE x (a INT) STORED AS PSI LOCATION '{}/purchases'", address(&pair));
    assert!(pair.error(&columns).await.contains("the columns that the peer shares"));
}

#[tokio::test]
async fn a_peer_that_an_analyst_names_is_charged_on_the_terms_for_anybody() {
    let pair = Pair::open().await;
    let publisher = Arc::new(party(pair.folder.path(), ANYBODY));
    Budgets::create(&publisher).unwrap();
    let books = Budgets::load(&publisher, Arc::new(SystemClock)).unwrap();
    let asker = Arc::new(Asker::new(publisher, books).unwrap());
    let context = session(&asker).await;
    register_external_tables(&context, &asker);
    let run = async |sql: &str| context.sql(sql).await?.collect().await;
    let create = |name: &str| {
        format!(
            "CREATE OR REPLACE EXTERNAL TABLE sold STORED AS PSI LOCATION '{}/purchases' OPTIONS ('psi.name' '{name}')",
            address(&pair)
        )
    };
    run(&create("advertiser")).await.unwrap();
    let question = |filter: u8| {
        format!(
            "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i JOIN sold p ON i.email = p.email WHERE i.clicks > {filter}"
        )
    };
    run(&question(1)).await.unwrap();
    // Made again, it is the same peer and the same account.
    run(&create("advertiser")).await.unwrap();
    run(&question(2)).await.unwrap();
    let balances = asker.balances().unwrap();
    let spent: Vec<_> = balances.iter().map(|one| (one.account.peer.as_str(), one.spent, one.queries_left)).collect();
    assert_eq!(spent, [("advertiser", 2, 0)]);
    assert!(run(&question(3)).await.unwrap_err().to_string().contains("used up"));
    // Another name is no other budget: the peer answers to its own alone.
    let before = pair.charged();
    run(&create("somebody")).await.unwrap();
    let error = run(&question(3)).await.unwrap_err().to_string();
    assert!(error.contains("advertiser"), "{error}");
    assert_eq!(pair.charged(), before);
}
