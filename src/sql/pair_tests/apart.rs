//! The answer and the local side are two things: what stands above a private query never reaches below it, and two
//! questions that read alike are one only if they read the same tables.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{JoinType, col, lit};
use datafusion::prelude::SessionContext;

use super::kit::*;
use crate::session_state;
use crate::sql::{Asker, open_table, private_intersect_count};

const COUNT: &str =
    "SELECT PRIVATE_INTERSECT_COUNT(*) AS n FROM impressions i JOIN advertiser.purchases p ON i.email = p.email";

#[tokio::test]
async fn a_condition_without_columns_above_a_private_query_is_one_on_its_answer() {
    let pair = Pair::open().await;
    let all = pair.row(COUNT).await;
    for (condition, kept) in [
        ("(SELECT min(clicks) FROM impressions) < 0", false),
        ("(SELECT min(clicks) FROM impressions) >= 0", true),
        ("random() < 0", false),
        ("random() < 2", true),
    ] {
        for sql in [format!("SELECT * FROM ({COUNT}) WHERE {condition}"), format!("{COUNT} HAVING {condition}")] {
            let rows: usize = pair.run(&sql).await.unwrap().iter().map(RecordBatch::num_rows).sum();
            assert_eq!(rows, usize::from(kept), "{sql}");
            if kept {
                assert_eq!(pair.row(&sql).await, all, "{sql}");
            }
        }
    }
}

fn readers(numbers: std::ops::Range<u32>) -> RecordBatch {
    let emails: StringArray = numbers.map(|reader| Some(format!("user{reader}@example.org"))).collect();
    RecordBatch::try_from_iter([("email", Arc::new(emails) as _)]).unwrap()
}

#[tokio::test]
async fn questions_over_tables_of_one_name_are_two_where_the_tables_are() {
    let pair = Pair::open().await;
    let question = async |readers: RecordBatch| {
        // Every batch that is read has the same name to the engine.
        let own = pair.context.read_batch(readers).unwrap().alias("i").unwrap();
        let peers = pair.context.table("advertiser.purchases").await.unwrap().alias("p").unwrap();
        let on = [col("i.email").eq(col("p.email"))];
        let joined = own.join_on(peers, JoinType::Inner, on).unwrap();
        joined.aggregate(vec![], vec![private_intersect_count(lit(1)).alias("n")]).unwrap()
    };
    let (few, many) = (readers(4..6), readers(4..11));
    let apart = [cells(&question(few.clone()).await.collect().await.unwrap()), {
        cells(&question(many.clone()).await.collect().await.unwrap())
    }];
    assert_ne!(apart[0], apart[1]);
    let before = pair.charged();
    let both = question(few).await.union(question(many).await).unwrap().collect().await.unwrap();
    let mut together: Vec<String> = cells(&both).lines().map(str::to_owned).collect();
    together.sort();
    let mut expected = apart.to_vec();
    expected.sort();
    assert_eq!((together, pair.charged() - before), (expected, 2));
}

#[tokio::test]
async fn a_view_over_a_table_that_was_replaced_is_not_the_question_over_the_new_one() {
    let pair = Pair::open().await;
    let run = async |sql: &str| pair.run(sql).await.unwrap();
    let question =
        "SELECT PRIVATE_INTERSECT_COUNT(*) AS n FROM audience a JOIN advertiser.purchases p ON a.email = p.email";
    run("CREATE TABLE audience AS SELECT email FROM impressions WHERE clicks < 6").await;
    run(&format!("CREATE VIEW before AS {question}")).await;
    let before = pair.row("SELECT * FROM before").await;
    run("CREATE OR REPLACE TABLE audience AS SELECT email FROM impressions").await;
    let after = pair.row(question).await;
    assert_ne!(before, after);
    let both = pair.row(&format!("SELECT * FROM (SELECT * FROM before UNION ALL {question}) ORDER BY n")).await;
    assert_eq!(both, format!("{before}\n{after}"));
    let one = pair.charged();
    let twice = pair.row(&format!("WITH q AS ({question}) SELECT a.n, b.n FROM q a CROSS JOIN q b")).await;
    assert_eq!((twice, pair.charged() - one), (format!("{after}|{after}"), 1));
}

#[tokio::test]
async fn a_prepared_statement_stays_refused_where_failed_rules_are_skipped() {
    let pair = Pair::open().await;
    pair.run("SET datafusion.optimizer.skip_failed_rules = true").await.unwrap();
    let prepared = pair.run(&format!("PREPARE asked AS {COUNT}")).await;
    let error = match prepared {
        Err(error) => error.to_string(),
        Ok(_) => pair.error("EXECUTE asked").await,
    };
    assert!(error.contains("cannot be prepared"), "{error}");
    assert_eq!((pair.charged(), pair.paid()), (0, 0));
    // And nothing else of the session is lost.
    assert_eq!(pair.row(COUNT).await, "7");
}

#[tokio::test]
async fn sessions_on_one_catalog_share_a_party_and_another_party_changes_nothing_there() {
    let pair = Pair::open().await;
    let base = SessionContext::new();
    for table in &pair.asker.party().tables {
        let opened = open_table(&base.state(), &table.name, &table.location).await.unwrap();
        base.register_table(table.name.as_str(), opened.provider).unwrap();
    }
    let session = |asker: &Arc<Asker>| {
        session_state(SessionStateBuilder::new_from_existing(base.state()), Arc::clone(asker))
            .map(SessionContext::new_with_state)
    };
    for _ in 0..2 {
        let batches = session(&pair.asker).unwrap().sql(COUNT).await.unwrap().collect().await.unwrap();
        assert_eq!(cells(&batches), "7");
    }
    let party = Arc::clone(pair.asker.party());
    let other = Arc::new(Asker::new(party, pair.asker.budgets().clone()).unwrap());
    assert!(session(&other).err().unwrap().to_string().contains("has a schema 'psi' already"));
    let batches = session(&pair.asker).unwrap().sql("SELECT count(*) FROM psi.peers").await.unwrap().collect().await;
    assert_eq!(cells(&batches.unwrap()), "1");
}
