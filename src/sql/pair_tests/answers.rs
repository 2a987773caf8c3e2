//! Answers against plain SQL over both tables in one place.

use super::kit::*;

/// `normal` brings the publisher's spelling to the advertiser's, for plain SQL.
const NORMAL: &str = "(SELECT lower(trim(email)) AS email, '+1212555' || right(phone, 4) AS phone, surname, born, clicks, seconds, campaign FROM impressions)";

#[tokio::test]
async fn one_identifier_gives_the_plain_join_for_every_type_and_filter() {
    let pair = Pair::open().await;
    for filter in [
        "",
        "WHERE p.category = 'toys'",
        "WHERE i.campaign = 'spring'",
        "WHERE i.campaign = 'spring' AND p.bought >= DATE '2026-01-06' AND p.amount BETWEEN 0 AND 1000",
        "WHERE p.category IS NULL",
    ] {
        let private = pair
            .row(&format!(
                "SELECT PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_SUM(p.amount), PRIVATE_INTERSECT_SUM(p.price), \
                 PRIVATE_INTERSECT_SUM(p.weight), PRIVATE_INTERSECT_AVG(p.amount), PRIVATE_INTERSECT_COUNT(p.category) \
                 FROM impressions i JOIN advertiser.purchases p ON i.email = p.email {filter}"
            ))
            .await;
        let truth = pair
            .truth(&format!(
                "SELECT count(*), CAST(coalesce(sum(p.amount), 0) AS BIGINT), CAST(coalesce(sum(p.price), 0) AS DECIMAL(38, 6)), \
                 coalesce(sum(p.weight), 0.0), avg(p.amount), count(p.category) \
                 FROM {NORMAL} i JOIN purchases p ON i.email = p.email {filter}"
            ))
            .await;
        assert_eq!(private, truth, "{filter}");
    }
}

#[tokio::test]
async fn several_terms_match_each_person_once_in_their_order() {
    let pair = Pair::open().await;
    for terms in [
        "i.phone = p.phone",
        "i.surname = p.surname AND i.born = p.born",
        "i.phone = p.phone OR i.email = p.email",
        "i.email = p.email OR i.phone = p.phone OR (i.surname = p.surname AND i.born = p.born)",
    ] {
        let select = "count(*), sum(p.amount)";
        let truth = pair.truth(&format!("SELECT {select} FROM {NORMAL} i JOIN purchases p ON {terms}")).await;
        let private = "PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_SUM(p.amount)";
        let found =
            pair.row(&format!("SELECT {private} FROM impressions i JOIN advertiser.purchases p ON {terms}")).await;
        assert_eq!(found, truth, "{terms}");
    }
}

#[tokio::test]
async fn values_of_ones_own_are_summed_within_the_shares_bounds() {
    let pair = Pair::open().await;
    let private = pair
        .row(
            "SELECT PRIVATE_INTERSECT_SUM(i.clicks), PRIVATE_INTERSECT_AVG(i.clicks), PRIVATE_INTERSECT_COUNT(i.clicks), \
             round(PRIVATE_INTERSECT_SUM(i.seconds), 4), PRIVATE_INTERSECT_SUM(p.amount) \
             FROM impressions i JOIN advertiser.purchases p ON i.email = p.email WHERE p.category = 'toys'",
        )
        .await;
    let truth = pair
        .truth(&format!(
            "SELECT sum(i.clicks), avg(i.clicks), count(i.clicks), round(sum(i.seconds), 4), sum(p.amount) \
             FROM {NORMAL} i JOIN purchases p ON i.email = p.email WHERE p.category = 'toys'"
        ))
        .await;
    assert_eq!(private, truth);
}

#[tokio::test]
async fn rows_of_one_person_are_summed_then_clipped_and_counted_up_to_the_policys_rows() {
    let share = OPEN_SHARE.replace(
        "amount = { min = -1000000, max = 1000000, max_rows = 1000 }",
        "amount = { min = 10, max = 100, max_rows = 2 }",
    );
    let purchases = "SELECT email, phone, surname, born, amount, CAST(price AS DECIMAL(10, 2)) AS price, weight, category, bought FROM (VALUES ('a@x.org', '', '', DATE '2000-01-01', 60, 1.00, 1.0, 't', DATE '2026-01-01'), \
        ('A@X.org', '', '', DATE '2000-01-01', 70, 1.00, 1.0, 't', DATE '2026-01-01'), \
        ('a@x.org', '', '', DATE '2000-01-01', NULL, 1.00, 1.0, 't', DATE '2026-01-01'), \
        ('a@x.org', '', '', DATE '2000-01-01', -5, 1.00, 1.0, 't', DATE '2026-01-01'), \
        ('b@x.org', '', '', DATE '2000-01-01', 3, 1.00, 1.0, 't', DATE '2026-01-01'), \
        ('c@x.org', '', '', DATE '2000-01-01', NULL, 1.00, 1.0, 't', DATE '2026-01-01')) \
        AS t(email, phone, surname, born, amount, price, weight, category, bought)";
    let impressions = "SELECT * FROM (VALUES ('a@x.org', 1), ('a@x.org', 2), ('b@x.org', 3), ('c@x.org', 4), ('d@x.org', 5)) AS t(email, clicks)";
    let pair = Pair::new(purchases, impressions, &share, OPEN_ASK).await;
    let found = pair
        .row(
            "SELECT PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_SUM(p.amount), PRIVATE_INTERSECT_COUNT(p.amount), \
             PRIVATE_INTERSECT_AVG(p.amount), PRIVATE_INTERSECT_SUM(i.clicks) \
             FROM impressions i JOIN advertiser.purchases p ON i.email = p.email",
        )
        .await;
    // a: 125 → 100, three rows → 2; b: 3 → 10; c: no value → 0, no row. Clicks of a are one person's: 1 + 2.
    assert_eq!(found, "3|110|3|36.666666666666664|10");
}

#[tokio::test]
async fn no_match_and_empty_tables_give_zero_and_null() {
    let ask = "SELECT PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_SUM(p.amount), PRIVATE_INTERSECT_AVG(p.amount) \
               FROM impressions i JOIN advertiser.purchases p ON i.email = p.email";
    let pair = Pair::open().await;
    assert_eq!(pair.row(&format!("{ask} WHERE i.clicks > 1000")).await, "0|0|");
    assert_eq!(pair.row(&format!("{ask} WHERE p.amount > 100000")).await, "0|0|");
    assert_eq!(pair.row(&format!("{ask} WHERE i.clicks = 14")).await, "0|0|");
    let nobody = format!("SELECT * FROM ({PURCHASES}) WHERE email = 'nobody'");
    let pair = Pair::new(&nobody, IMPRESSIONS, OPEN_SHARE, OPEN_ASK).await;
    assert_eq!(pair.row(ask).await, "0|0|");
}

#[tokio::test]
async fn views_subqueries_ctes_and_sql_on_top_are_plain_datafusion() {
    let pair = Pair::open().await;
    let on_top = pair
        .row(
            "WITH spring AS (SELECT email FROM impressions WHERE campaign = 'spring') \
             SELECT buyers * 2 + 1 AS twice, revenue FROM (\
               SELECT PRIVATE_INTERSECT_COUNT(*) AS buyers, PRIVATE_INTERSECT_SUM(p.amount) AS revenue \
               FROM spring s JOIN advertiser.purchases p ON s.email = p.email \
               HAVING PRIVATE_INTERSECT_COUNT(*) > 1) ORDER BY twice LIMIT 3",
        )
        .await;
    assert_eq!(on_top, "9|80");
    pair.run(
        "CREATE VIEW reach AS SELECT PRIVATE_INTERSECT_COUNT(*) AS n FROM impressions i JOIN advertiser.purchases p ON i.email = p.email",
    )
    .await
    .unwrap();
    assert_eq!(pair.row("SELECT n FROM reach").await, "7");
    let union = pair
        .row(
            "SELECT 'all' AS part, n FROM reach UNION ALL SELECT 'toys', PRIVATE_INTERSECT_COUNT(*) \
             FROM impressions i JOIN advertiser.purchases p ON i.email = p.email WHERE p.category = 'toys' ORDER BY part",
        )
        .await;
    assert_eq!(union, "all|7\ntoys|4");
}

#[tokio::test]
async fn equal_queries_of_one_statement_are_one_run_and_one_charge() {
    let pair = Pair::open().await;
    let twice = "WITH reach AS (SELECT PRIVATE_INTERSECT_COUNT(*) AS n FROM impressions i JOIN advertiser.purchases p ON i.email = p.email) \
                 SELECT a.n, b.n FROM reach a CROSS JOIN reach b";
    assert_eq!(pair.row(twice).await, "7|7");
    assert_eq!((pair.charged(), pair.paid()), (1, 1));
    assert_eq!(pair.row(twice).await, "7|7");
    assert_eq!((pair.charged(), pair.paid()), (2, 2), "the next statement is another question");
}

#[tokio::test]
async fn dummies_and_padding_leave_the_answer_as_it_is() {
    let share = OPEN_SHARE
        .replace("sizes = { exact = true }", "sizes = { epsilon = 3.0, delta = 1e-3 }")
        .replace("queries = 100", "queries = 2");
    for rows in ["pad", "reveal"] {
        let ask = format!("rows = \"{rows}\"\n[ask.budget]\nqueries = 2\nsizes = {{ epsilon = 3.0, delta = 1e-3 }}\n");
        for filtered in ["hide", "pad", "reveal"] {
            let share =
                share.replace("minimum_matched = 0", &format!("minimum_matched = 0\nfiltered_rows = \"{filtered}\""));
            let pair = Pair::new(PURCHASES, IMPRESSIONS, &share, &ask).await;
            let found = pair
                .row(
                    "SELECT PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_SUM(p.amount) FROM impressions i \
                     JOIN advertiser.purchases p ON i.email = p.email OR i.phone = p.phone WHERE p.category = 'toys'",
                )
                .await;
            assert_eq!(found, "4|140", "{rows}, {filtered}");
        }
    }
}

#[tokio::test]
async fn two_sessions_of_one_process_are_two_parties() {
    let one = Pair::open().await;
    let other = Pair::new(PURCHASES, "SELECT 'user1@example.org' AS email", OPEN_SHARE, OPEN_ASK).await;
    let ask = "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i JOIN advertiser.purchases p ON i.email = p.email";
    let (first, second) = tokio::join!(one.row(ask), other.row(ask));
    assert_eq!((first.as_str(), second.as_str()), ("7", "1"));
    assert_eq!((one.paid(), other.paid()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_folder_of_many_files_gives_the_same_sums_again_and_again() {
    // Persons are prepared once; each query's values are read anew and must come in the same order.
    let pair = Pair::open().await;
    let purchases = pair.folder.path().join("purchases.parquet");
    std::fs::remove_file(&purchases).unwrap();
    std::fs::create_dir(&purchases).unwrap();
    for part in 0..12 {
        let rows = [40, 1, 700, 3, 90][part % 5];
        let from = 1000 * part;
        let sql =
            PURCHASES.replace("generate_series(1, 10)", &format!("generate_series({}, {})", from + 1, from + rows));
        write_parquet(&purchases, &format!("part-{part}.parquet"), &sql).await;
    }
    let everybody = IMPRESSIONS.replace("generate_series(4, 14)", "generate_series(1, 12000)");
    write_parquet(pair.folder.path(), "impressions.parquet", &everybody).await;
    let party = std::sync::Arc::clone(pair.asker.party());
    let asker =
        crate::sql::Asker::new(std::sync::Arc::clone(&party), crate::policy::Budgets::in_memory(&party)).unwrap();
    let context = session(&std::sync::Arc::new(asker)).await;
    let plain = datafusion::prelude::SessionContext::new();
    plain.register_parquet("purchases", purchases.to_str().unwrap(), Default::default()).await.unwrap();
    for round in 0..6 {
        let filter = format!("p.amount > {} AND p.category = 'toys'", 100 * round);
        let private = format!(
            "SELECT PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_SUM(p.amount) FROM impressions i \
             JOIN advertiser.purchases p ON i.email = p.email WHERE {filter}"
        );
        let found = cells(&context.sql(&private).await.unwrap().collect().await.unwrap());
        let truth = format!("SELECT count(*), sum(p.amount) FROM purchases p WHERE {filter}");
        assert_eq!(found, cells(&plain.sql(&truth).await.unwrap().collect().await.unwrap()), "{filter}");
    }
}
