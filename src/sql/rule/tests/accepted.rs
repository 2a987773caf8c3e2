use super::*;

#[tokio::test]
async fn the_sample_of_the_documentation_becomes_one_node() {
    let query = accepted(
        &world(),
        "SELECT PRIVATE_INTERSECT_COUNT(*) AS buyers, PRIVATE_INTERSECT_SUM(p.amount) AS revenue, \
                PRIVATE_INTERSECT_AVG(p.amount) AS mean_sale \
         FROM impressions i JOIN advertiser.purchases p ON i.email = p.email OR i.phone = p.phone \
         WHERE i.campaign = 'spring' AND p.bought_at >= DATE '2026-03-01'",
    )
    .await;
    assert_eq!(query.peer, "advertiser");
    assert_eq!(query.question.table, "purchases");
    assert_eq!(query.question.identifiers, ["email", "phone"]);
    assert_eq!(query.question.filter.as_deref(), Some("(bought_at >= CAST('2026-03-01' AS DATE))"));
    assert_eq!(asked(&query), ["persons", "sum(amount)", "rows(amount)"]);
    let avg = PrivateOutput::Avg { sum: 1, rows: 2 };
    assert_eq!(query.outputs, [PrivateOutput::Count(0), PrivateOutput::Sum(1), avg].map(Into::into));
    assert_eq!(terms(&query), "email=i.email | phone=i.phone");
    let types: Vec<_> = query.schema.fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Int64, DataType::Decimal128(38, 2), DataType::Float64]);
    let local = query.local.display_indent().to_string();
    assert!(
        local.contains("Filter: i.campaign = Utf8View(\"spring\")") || local.contains("i.campaign = Utf8(\"spring\")"),
        "{local}"
    );
}

#[tokio::test]
async fn accepted_forms_name_the_terms_in_the_order_of_the_analyst() {
    let world = world();
    let count = "SELECT PRIVATE_INTERSECT_COUNT(*) FROM";
    for (from, expected) in [
        (
            "impressions i JOIN advertiser.purchases p ON p.phone = i.phone OR i.email = p.email",
            "phone=i.phone | email=i.email",
        ),
        ("advertiser.purchases p JOIN impressions i ON i.email = p.email", "email=i.email"),
        ("impressions JOIN advertiser.purchases USING (email)", "email=impressions.email"),
        ("advertiser.purchases JOIN impressions USING (email)", "email=impressions.email"),
        ("impressions i, advertiser.purchases p WHERE i.email = p.email", "email=i.email"),
        (
            "impressions i CROSS JOIN advertiser.purchases p WHERE i.campaign = 'x' AND (i.phone = p.phone OR i.email = p.email)",
            "phone=i.phone | email=i.email",
        ),
        (
            "customers c JOIN advertiser.purchases p ON c.born = p.born AND c.surname = p.surname",
            "person=c.surname+c.born",
        ),
        ("customers c JOIN advertiser.purchases p USING (surname, born)", "person=c.surname+c.born"),
        (
            "customers c JOIN advertiser.purchases p ON (c.surname = p.surname AND c.born = p.born) OR c.email = p.email",
            "person=c.surname+c.born | email=c.email",
        ),
        (
            "customers c JOIN advertiser.purchases p ON (c.surname = p.surname AND c.born = p.born) OR (c.surname = p.surname AND c.day = p.born)",
            "person=c.surname+c.born | person=c.surname+c.day",
        ),
        (
            "customers c JOIN advertiser.purchases p ON c.surname = p.surname AND (c.day = p.born OR c.born = p.born)",
            "person=c.surname+c.day | person=c.surname+c.born",
        ),
        (
            "customers c JOIN advertiser.purchases p ON c.email = p.email OR c.email2 = p.email",
            "email=c.email | email=c.email2",
        ),
        ("customers c JOIN advertiser.purchases p ON c.id = p.customer", "customer=c.id"),
        ("customers c JOIN advertiser.purchases p ON CAST(c.id AS INT) = p.customer", "customer=CAST(c.id AS Int32)"),
        ("customers c JOIN advertiser.purchases p ON lower(c.email) = p.email", "email=lower(c.email)"),
        (
            "customers c JOIN advertiser.purchases p ON CASE WHEN c.segment = 'a' THEN c.email END = p.email",
            "email=CASE WHEN c.segment = Utf8(\"a\") THEN c.email END",
        ),
        (
            "(SELECT email AS e FROM customers WHERE segment = 'a' LIMIT 5) c JOIN advertiser.purchases p ON c.e = p.email",
            "email=c.e",
        ),
        (
            "customers c JOIN (SELECT email AS e, amount FROM advertiser.purchases WHERE category = 'toys') p ON c.email = p.e",
            "email=c.email",
        ),
        (
            "customers c JOIN impressions i ON c.id = i.customer_id JOIN advertiser.purchases p ON i.email = p.email OR c.mobile = p.phone",
            "email=i.email | phone=c.mobile",
        ),
        (
            "customers c JOIN advertiser.purchases p ON c.email = p.email JOIN impressions i ON c.id = i.customer_id",
            "email=c.email",
        ),
        (
            "(customers c LEFT JOIN impressions i ON c.id = i.customer_id) JOIN advertiser.purchases p ON i.email = p.email",
            "email=i.email",
        ),
        (
            "(SELECT email, row_number() OVER (PARTITION BY segment ORDER BY id) r FROM customers) c \
          JOIN advertiser.purchases p ON c.email = p.email WHERE c.r = 1",
            "email=c.email",
        ),
        (
            "customers c JOIN advertiser.purchases p ON c.email = p.email \
          WHERE c.id IN (SELECT customer_id FROM impressions)",
            "email=c.email",
        ),
        (
            "customers c JOIN advertiser.purchases p ON c.email = p.email \
          WHERE EXISTS (SELECT 1 FROM impressions i WHERE i.customer_id = c.id)",
            "email=c.email",
        ),
        ("(VALUES ('a@b.c'), ('d@e.f')) AS v(e) JOIN advertiser.purchases p ON v.e = p.email", "email=v.e"),
        ("customers c NATURAL JOIN (SELECT email FROM advertiser.purchases) p", "email=c.email"),
        ("customers c JOIN advertiser.purchases p ON c.email = p.email WHERE 1 = 1 AND true", "email=c.email"),
    ] {
        let query = accepted(&world, &format!("{count} {from}")).await;
        assert_eq!(terms(&query), expected, "{from}");
        assert_eq!(asked(&query), ["persons"], "{from}");
    }
}

#[tokio::test]
async fn views_ctes_and_scalar_subqueries_reach_the_rule_like_the_plain_form() {
    let world = world();
    for statement in [
        "CREATE VIEW spring AS SELECT email, phone FROM impressions WHERE campaign = 'spring'",
        "CREATE VIEW toys AS SELECT email AS mail, amount FROM advertiser.purchases WHERE category = 'toys'",
        "CREATE VIEW revenue AS SELECT PRIVATE_INTERSECT_SUM(t.amount) AS total FROM spring s JOIN toys t ON s.email = t.mail",
    ] {
        world.ctx.sql(statement).await.unwrap();
    }
    for sql in [
        "SELECT total FROM revenue",
        "WITH s AS (SELECT * FROM spring) SELECT PRIVATE_INTERSECT_SUM(toys.amount) FROM s JOIN toys ON s.email = toys.mail",
        "SELECT c.id, (SELECT PRIVATE_INTERSECT_SUM(t.amount) FROM spring s JOIN toys t ON s.email = t.mail) AS r FROM customers c",
        "SELECT count(*) FROM customers WHERE spend > (SELECT total FROM revenue)",
        "SELECT PRIVATE_INTERSECT_SUM(t.amount) / 2 + 1 AS half FROM spring s JOIN toys t ON s.email = t.mail \
         HAVING PRIVATE_INTERSECT_SUM(t.amount) > 10 ORDER BY half LIMIT 3",
    ] {
        let query = accepted(&world, sql).await;
        assert_eq!(query.question.filter.as_deref(), Some("(\"category\" = 'toys')"), "{sql}");
        assert_eq!(asked(&query), ["sum(amount)"], "{sql}");
    }
}

#[tokio::test]
async fn equal_queries_of_one_statement_share_one_answer_and_different_ones_do_not() {
    let world = world();
    let ask = |filter: &str| {
        format!(
            "SELECT PRIVATE_INTERSECT_COUNT(*) AS n FROM impressions i JOIN advertiser.purchases p ON i.email = p.email WHERE p.category = '{filter}'"
        )
    };
    let plan = analyzed(&world, &format!("WITH q AS ({}) SELECT a.n + b.n FROM q a, q b", ask("toys"))).await.unwrap();
    let twice = nodes(&plan);
    assert_eq!(twice.len(), 2);
    assert!(Arc::ptr_eq(&twice[0].cell, &twice[1].cell));
    let plan = analyzed(&world, &format!("{} UNION ALL {}", ask("toys"), ask("books"))).await.unwrap();
    let different = nodes(&plan);
    assert_eq!(different.len(), 2);
    assert!(!Arc::ptr_eq(&different[0].cell, &different[1].cell));
    let again = nodes(&analyzed(&world, &ask("toys")).await.unwrap());
    assert!(!Arc::ptr_eq(&again[0].cell, &twice[0].cell), "another statement is another question");
}

#[tokio::test]
async fn equal_aggregates_are_asked_once_and_averages_share_their_sum() {
    let query = accepted(
        &world(),
        "SELECT PRIVATE_INTERSECT_AVG(p.days), PRIVATE_INTERSECT_SUM(p.days), \
                PRIVATE_INTERSECT_COUNT(p.days), PRIVATE_INTERSECT_COUNT(*), private_intersect_count(p.basket), \
                PRIVATE_INTERSECT_SUM(p.score), PRIVATE_INTERSECT_SUM(CAST(p.amount AS DOUBLE)) \
         FROM impressions i JOIN advertiser.purchases p ON i.email = p.email",
    )
    .await;
    assert_eq!(asked(&query), ["sum(days)", "rows(days)", "persons", "rows(basket)", "sum(score)", "sum(amount)"]);
    use PrivateOutput::{Avg, Count, Sum};
    let outputs = [Avg { sum: 0, rows: 1 }, Sum(0), Count(1), Count(2), Count(3), Sum(4), Sum(5)];
    assert_eq!(query.outputs, outputs.map(Into::into));
}

#[tokio::test]
async fn an_interval_is_another_view_of_the_same_release() {
    use super::super::super::functions::ResultPart;
    let query = accepted(
        &world(),
        "SELECT PRIVATE_INTERSECT_SUM(p.amount), psi_low(PRIVATE_INTERSECT_SUM(p.amount)) AS revenue_low, \
                PSI_HIGH(PRIVATE_INTERSECT_SUM(p.amount)), psi_error(PRIVATE_INTERSECT_COUNT(*)), \
                psi_low(PRIVATE_INTERSECT_AVG(p.amount)) \
         FROM impressions i JOIN advertiser.purchases p ON i.email = p.email",
    )
    .await;
    assert_eq!(asked(&query), ["sum(amount)", "persons", "rows(amount)"]);
    let shown: Vec<_> = query.outputs.iter().map(|output| (output.of, output.part)).collect();
    let avg = PrivateOutput::Avg { sum: 0, rows: 2 };
    assert_eq!(
        shown,
        [
            (PrivateOutput::Sum(0), ResultPart::Value),
            (PrivateOutput::Sum(0), ResultPart::Low),
            (PrivateOutput::Sum(0), ResultPart::High),
            (PrivateOutput::Count(1), ResultPart::Error),
            (avg, ResultPart::Low),
        ]
    );
    let types: Vec<_> = query.schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let decimal = DataType::Decimal128(38, 2);
    assert_eq!(types, [decimal.clone(), decimal.clone(), decimal, DataType::Int64, DataType::Float64]);
}

#[tokio::test]
async fn own_values_travel_by_number_where_the_share_allows_them() {
    let query = accepted(
        &world(),
        "SELECT PRIVATE_INTERSECT_SUM(c.spend), PRIVATE_INTERSECT_AVG(c.spend), PRIVATE_INTERSECT_SUM(c.weight * 2), \
                PRIVATE_INTERSECT_COUNT(c.email2), PRIVATE_INTERSECT_SUM(c.id), PRIVATE_INTERSECT_SUM(s.amount) \
         FROM customers c JOIN insurer.stays s ON c.email = s.email",
    )
    .await;
    assert_eq!(
        asked(&query),
        ["own-sum(0,2)", "own-rows(0)", "own-sum(1,6)", "own-rows(2)", "own-sum(3,0)", "sum(amount)"]
    );
    assert_eq!(own_values(&query), ["c.spend", "c.weight * CAST(Int64(2) AS Float64)", "c.email2", "c.id"]);
    assert_eq!(terms(&query), "email=c.email");
}

#[tokio::test]
async fn remote_conditions_travel_as_text_without_now_and_without_qualifiers() {
    let world = world();
    for (condition, expected) in [
        ("p.category = 'toys'", Some("(\"category\" = 'toys')")),
        ("'toys' = p.category AND p.days > 3", Some("((\"category\" = 'toys')) AND ((\"days\" > 3))")),
        (
            "p.category IN ('toys', 'books', 'garden', 'tools')",
            Some("\"category\" IN ('toys', 'books', 'garden', 'tools')"),
        ),
        ("p.days BETWEEN 2 AND 1 + 4", Some("((\"days\" >= 2) AND (\"days\" <= 5))")),
        (
            "NOT (p.category LIKE 'to%' OR p.days IS NULL)",
            Some("(\"category\" NOT LIKE 'to%') AND (\"days\" IS NOT NULL)"),
        ),
        (
            "p.bought_at >= CAST(TIMESTAMP '2026-03-05 12:00:00' AS DATE) - INTERVAL '2 days'",
            Some("(bought_at >= CAST('2026-03-03' AS DATE))"),
        ),
        ("upper(p.category) = 'TOYS'", Some("(upper(\"category\") = 'TOYS')")),
        ("p.category = 'it''s'", Some("(\"category\" = 'it''s')")),
        ("p.category = p.category OR p.days = 1", None),
    ] {
        let sql = format!(
            "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i JOIN advertiser.purchases p ON i.email = p.email WHERE {condition}"
        );
        let query = accepted(&world, &sql).await;
        if expected.is_some() {
            assert_eq!(query.question.filter.as_deref(), expected, "{condition}");
        }
        assert_eq!(terms(&query), "email=i.email", "{condition}");
    }
    let recent = accepted(
        &world,
        "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i JOIN advertiser.purchases p ON i.email = p.email \
         WHERE p.bought_at >= now() - INTERVAL '30 days' AND p.paid_at < now()",
    )
    .await;
    let filter = recent.question.filter.unwrap();
    assert!(!filter.contains("now"), "{filter}");
    assert!(filter.contains("TRY_CAST(bought_at AS"), "a date that no timestamp holds must not be an error: {filter}");
}

#[tokio::test]
async fn columns_of_a_peers_table_can_be_described_and_listed() {
    let config = datafusion::prelude::SessionConfig::new().with_information_schema(true);
    let ctx = SessionContext::new_with_config(config);
    let peer = FakePeer { name: "advertiser", shared: Arc::new(purchases("purchases", false)) };
    register(&ctx, vec![Arc::new(PeerSchema::new(Arc::new(peer)))]).unwrap();
    for sql in [
        "DESCRIBE advertiser.purchases",
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'advertiser'",
    ] {
        let rows: usize = ctx.sql(sql).await.unwrap().collect().await.unwrap().iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 12, "{sql}");
    }
    let tables =
        ctx.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'advertiser'").await.unwrap();
    assert_eq!(tables.collect().await.unwrap()[0].num_rows(), 1);
    ctx.sql("SET psi.timeout_seconds = 5").await.unwrap();
    let unknown = ctx.sql("SET psi.nonsense = 5").await.unwrap_err();
    assert!(unknown.to_string().contains("nonsense"), "{unknown}");
}

#[tokio::test]
async fn explain_shows_the_node_or_the_refusal_and_runs_nothing() {
    let world = world();
    let explain = |sql: &'static str| {
        let ctx = world.ctx.clone();
        async move {
            let batches = ctx.sql(sql).await.unwrap().into_optimized_plan();
            batches.map(|plan| plan.display_indent().to_string())
        }
    };
    let plan = explain(
        "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i JOIN advertiser.purchases p ON i.email = p.email OR i.phone = p.phone \
         WHERE p.category = 'toys'",
    )
    .await
    .unwrap();
    insta::assert_snapshot!(plan, @r#"
    Projection: private_intersect_count(Int64(1)) AS private_intersect_count(*)
      PrivateQuery: advertiser.purchases match by [email, phone], ask [persons], filter: ("category" = 'toys')
    "#);
    // A refusal is a row of EXPLAIN, as every planning error of a rule is.
    let refused = world.ctx.sql("EXPLAIN SELECT count(*) FROM advertiser.purchases").await.unwrap();
    let rows =
        datafusion::arrow::util::pretty::pretty_format_batches(&refused.collect().await.unwrap()).unwrap().to_string();
    assert!(rows.contains("Write PRIVATE_INTERSECT_COUNT instead"), "{rows}");
    assert_eq!(world.scans.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_dataframe_api_reaches_the_same_node() {
    let world = world();
    let customers = world.ctx.table("customers").await.unwrap();
    let purchases = world.ctx.table("advertiser.purchases").await.unwrap();
    let frame = customers
        .join(purchases, datafusion::common::JoinType::Inner, &["surname", "born"], &["surname", "born"], None)
        .unwrap()
        .aggregate(vec![], vec![private_intersect_count(lit(1)), private_intersect_avg(col("amount"))])
        .unwrap();
    let plan = frame.into_optimized_plan().unwrap();
    let query = nodes(&plan).pop().unwrap();
    assert_eq!(query.question.identifiers, ["person"], "and lit(1) counts persons");
    assert_eq!(asked(&query), ["persons", "sum(amount)", "rows(amount)"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_alternatives_is_the_match_order(
        order in Just(vec![0usize, 1, 2, 3, 4, 5]).prop_shuffle(),
        count in 1usize..=6,
        flips in proptest::collection::vec(any::<bool>(), 6),
        in_where in any::<bool>(),
        parenthesised in any::<bool>(),
    ) {
        let alternatives = [
            ("c.email", "p.email", "email=c.email"),
            ("c.email2", "p.email", "email=c.email2"),
            ("c.mobile", "p.phone", "phone=c.mobile"),
            ("c.id", "p.customer", "customer=c.id"),
            ("c.segment", "p.email", "email=c.segment"),
            ("", "", "person=c.surname+c.born"),
        ];
        let written = |&index: &usize| {
            let (ours, theirs, _) = alternatives[index];
            match (ours.is_empty(), flips[index]) {
                (true, false) => "(c.surname = p.surname AND c.born = p.born)".to_owned(),
                (true, true) => "(p.born = c.born AND c.surname = p.surname)".to_owned(),
                (false, false) => format!("{ours} = {theirs}"),
                (false, true) => format!("{theirs} = {ours}"),
            }
        };
        let chosen = &order[..count];
        let texts: Vec<String> = chosen.iter().map(written).collect();
        let condition = if parenthesised {
            // Right-nested, where SQL's own reading is left-nested.
            texts.iter().rev().cloned().reduce(|later, earlier| format!("{earlier} OR ({later})")).unwrap()
        } else {
            texts.join(" OR ")
        };
        let from = if in_where {
            format!("customers c, advertiser.purchases p WHERE ({condition}) AND c.segment = 'a'")
        } else {
            format!("customers c JOIN advertiser.purchases p ON {condition}")
        };
        let expected: Vec<&str> = chosen.iter().map(|&index| alternatives[index].2).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(async {
            let query = accepted(&world(), &format!("SELECT PRIVATE_INTERSECT_COUNT(*) FROM {from}")).await;
            terms(&query)
        });
        prop_assert_eq!(found, expected.join(" | "));
    }
}
