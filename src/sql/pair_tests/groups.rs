//! Groups, filters per aggregate and variances, against plain SQL over both tables in one place.

use super::kit::*;

/// [`OPEN_SHARE`], with labels of a column that has one more value than is listed, and one label that nobody has.
fn share() -> String {
    OPEN_SHARE.replace(
        "minimum_matched = 0",
        "minimum_matched = 0\ngroup_by = { category = [\"toys\", \"garden\", \"books\"] }\nmax_parts = 4",
    )
}

async fn pair() -> Pair {
    Pair::new(PURCHASES, IMPRESSIONS, &share(), OPEN_ASK).await
}

/// The publisher's table in the advertiser's spelling, for plain SQL.
const NORMAL: &str = "(SELECT lower(trim(email)) AS email, clicks, seconds, campaign FROM impressions)";

/// Every label of the list, for plain SQL.
const LABELS: &str = "(VALUES ('toys'), ('garden'), ('books')) AS l(label)";

#[tokio::test]
async fn every_label_of_the_list_has_a_row_whatever_was_matched() {
    let pair = pair().await;
    let found = pair
        .row(
            "SELECT p.category, PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_SUM(p.amount), PRIVATE_INTERSECT_AVG(p.price), \
                    PRIVATE_INTERSECT_COUNT(p.weight) \
             FROM impressions i JOIN advertiser.purchases p ON i.email = p.email GROUP BY p.category ORDER BY p.category",
        )
        .await;
    let truth = pair
        .truth(&format!(
            "SELECT label, count(email), coalesce(sum(amount), 0), CAST(avg(price) AS DOUBLE), count(weight) FROM {LABELS} \
             LEFT JOIN (SELECT p.* FROM {NORMAL} i JOIN purchases p ON i.email = p.email) ON label = category \
             GROUP BY label ORDER BY label"
        ))
        .await;
    assert_eq!(found, truth);
    assert!(found.contains("garden|0|0||0"), "{found}");
    assert_eq!(found.lines().count(), 3, "no row for the shopper without a category");
}

#[tokio::test]
async fn ones_own_groups_give_what_a_plain_group_by_gives() {
    let pair = pair().await;
    for by in ["i.campaign", "i.clicks % 3", "i.clicks > 8, i.campaign", "CASE WHEN i.clicks > 5 THEN 'many' END"] {
        let select = |prefix: &str| {
            format!(
                "{by}, {prefix}count({}), {prefix}sum(p.amount), {prefix}sum(i.clicks), {prefix}avg(i.clicks)",
                if prefix.is_empty() { "p.email" } else { "*" }
            )
        };
        let found = pair
            .row(&format!(
                "SELECT {} FROM impressions i JOIN advertiser.purchases p ON i.email = p.email GROUP BY {by} ORDER BY {by}",
                select("private_intersect_")
            ))
            .await;
        // Each group of the relation has a row, so that plain SQL's join is an outer one.
        let truth = pair
            .truth(&format!(
                "SELECT {} FROM {NORMAL} i LEFT JOIN purchases p ON i.email = p.email GROUP BY {by} ORDER BY {by}",
                select("")
                    .replace("sum(p.amount)", "coalesce(sum(p.amount), 0)")
                    .replace("sum(i.clicks)", "coalesce(sum(i.clicks) FILTER (WHERE p.email IS NOT NULL), 0)")
                    .replace("avg(i.clicks)", "avg(i.clicks) FILTER (WHERE p.email IS NOT NULL)")
            ))
            .await;
        assert_eq!(found, truth, "{by}");
    }
}

#[tokio::test]
async fn labels_and_groups_at_once_have_a_row_for_each_pair_and_plain_sql_stands_on_top() {
    let pair = pair().await;
    let query = "SELECT i.campaign AS c, p.category, PRIVATE_INTERSECT_COUNT(*) AS n, PRIVATE_INTERSECT_SUM(p.amount) AS total \
                 FROM impressions i JOIN advertiser.purchases p ON i.email = p.email OR i.phone = p.phone GROUP BY c, p.category";
    let truth = pair
        .truth(&format!(
            "SELECT campaign, label, count(email), coalesce(sum(amount), 0) \
             FROM (SELECT DISTINCT campaign FROM impressions) CROSS JOIN {LABELS} \
             LEFT JOIN (SELECT p.*, i.campaign AS seen FROM {NORMAL} i JOIN purchases p ON i.email = p.email) \
             ON label = category AND campaign = seen GROUP BY campaign, label"
        ))
        .await;
    let mut truth: Vec<&str> = truth.lines().collect();
    truth.sort_unstable();
    assert_eq!(pair.row(&format!("{query} ORDER BY c, p.category")).await, truth.join("\n"));
    let on_top =
        format!("SELECT DISTINCT c, n * 2 AS twice FROM ({query}) WHERE total > 0 ORDER BY twice DESC, c LIMIT 2");
    assert_eq!(pair.row(&on_top).await, "autumn|4\nspring|4");
    let having = format!("{query} HAVING PRIVATE_INTERSECT_COUNT(*) > 1 ORDER BY 1 DESC, 2");
    assert_eq!(pair.row(&having).await, "spring|toys|2|30\nautumn|toys|2|110".to_owned());
}

#[tokio::test]
async fn a_group_under_the_minimum_shows_null_and_the_reason() {
    let minimum = share().replace("minimum_matched = 0", "minimum_matched = 3");
    let pair = Pair::new(PURCHASES, IMPRESSIONS, &minimum, OPEN_ASK).await;
    let query = "SELECT p.category, PRIVATE_INTERSECT_SUM(p.amount) AS total, psi_error(PRIVATE_INTERSECT_SUM(p.amount)), \
                 psi_note(PRIVATE_INTERSECT_SUM(p.amount)) \
                 FROM impressions i JOIN advertiser.purchases p ON i.email = p.email GROUP BY 1 ORDER BY 1";
    let note = "fewer persons than the share's minimum, by their noisy count";
    assert_eq!(pair.row(query).await, format!("books||| {note}\ngarden||| {note}\ntoys|140|0|").replace("| f", "|f"));
    let explained = pair.row(&format!("EXPLAIN {query}")).await;
    for line in [
        "ask sum(amount), persons; no filter; group by category",
        "groups:   by category of advertiser: a row for each of its 3 public labels, whatever was matched",
        "the answer has 3 rows; one oblivious transfer per entry of advertiser's, of 6 numbers",
        "a group of fewer than 3 by its own noisy count, persons, shows NULL",
        "persons was added to the question for this",
    ] {
        assert!(explained.contains(line), "'{line}' is missing in\n{explained}");
    }
}

#[tokio::test]
async fn each_aggregate_has_its_own_filter_in_one_run() {
    let pair = pair().await;
    let select = |prefix: &str, star: &str| {
        format!(
            "{prefix}count({star}) FILTER (WHERE p.category = 'toys'), \
             coalesce({prefix}sum(CASE WHEN p.category = 'books' THEN p.amount ELSE 0 END), 0), \
             {prefix}avg(p.amount) FILTER (WHERE p.bought >= DATE '2026-01-07'), \
             {prefix}count(CASE WHEN p.category IS NULL THEN p.weight END), \
             {prefix}count({star})"
        )
    };
    let before = (pair.charged(), pair.paid());
    let found = pair
        .row(&format!(
            "SELECT {} FROM impressions i JOIN advertiser.purchases p ON i.email = p.email WHERE p.amount > 0",
            select("private_intersect_", "*")
        ))
        .await;
    let truth = pair
        .truth(&format!(
            "SELECT {} FROM {NORMAL} i JOIN purchases p ON i.email = p.email WHERE p.amount > 0",
            select("", "*")
        ))
        .await;
    assert_eq!(found, truth);
    assert_eq!((pair.charged(), pair.paid()), (before.0 + 1, before.1 + 1), "one question");
    let grouped = pair
        .row(
            "SELECT i.campaign, PRIVATE_INTERSECT_COUNT(*) FILTER (WHERE p.category = 'toys') \
             FROM impressions i JOIN advertiser.purchases p ON i.email = p.email GROUP BY 1 ORDER BY 1",
        )
        .await;
    assert_eq!(grouped, "autumn|2\nspring|2");
}

#[tokio::test]
async fn variances_and_deviations_are_those_of_plain_sql() {
    let pair = pair().await;
    for column in ["amount", "price", "weight"] {
        // Rounded: plain SQL has other last digits by its own order of operations.
        let select = |name: fn(&str) -> String| {
            let rounded = ["var", "var_pop", "stddev", "stddev_pop"]
                .map(|function| format!("round({}(p.{column}), 6)", name(function)));
            rounded.join(", ")
        };
        let from = "JOIN purchases p ON i.email = p.email WHERE p.category = 'toys'";
        let found = pair
            .row(&format!(
                "SELECT {} FROM impressions i {}",
                select(|function| format!("private_intersect_{function}")),
                from.replace("purchases", "advertiser.purchases")
            ))
            .await;
        let truth = pair.truth(&format!("SELECT {} FROM {NORMAL} i {from}", select(str::to_owned))).await;
        assert_eq!(found, truth, "{column}");
    }
    let by_label = pair
        .row(
            "SELECT p.category, round(PRIVATE_INTERSECT_STDDEV(p.amount), 4), psi_note(PRIVATE_INTERSECT_STDDEV(p.amount)) \
             FROM impressions i JOIN advertiser.purchases p ON i.email = p.email GROUP BY 1 ORDER BY 1",
        )
        .await;
    assert_eq!(by_label, "books|14.1421|\ngarden||fewer than 2 rows, by their noisy count\ntoys|25.8199|");
}

const SEVERAL: &str = "SELECT * FROM (VALUES (' user4@example.org', 'b', 1), ('USER4@example.org', 'a', 10), \
    ('user6@example.org', NULL, 100), ('user6@example.org', NULL, 200), ('user8@example.org', 'b', 1000), \
    ('nobody', 'c', 7)) AS t(email, campaign, clicks)";

#[tokio::test]
async fn a_person_in_several_groups_is_an_error_that_names_the_ways_out() {
    let pair = Pair::new(PURCHASES, SEVERAL, &share(), OPEN_ASK).await;
    let query = "SELECT i.campaign, PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_SUM(i.clicks) \
                 FROM impressions i JOIN advertiser.purchases p ON i.email = p.email GROUP BY i.campaign ORDER BY i.campaign";
    let error = pair.error(query).await;
    assert!(
        error.contains("1 of your persons have rows in several groups") && error.contains("psi.group_conflict"),
        "{error}"
    );
    assert_eq!((pair.charged(), pair.paid()), (0, 0));
    pair.run("SET psi.group_conflict = 'first'").await.unwrap();
    // The first group is 'a', with that row's clicks alone; the group of nobody has a row as well, and NULL is a group.
    assert_eq!(pair.row(query).await, "a|1|10\nb|1|1000\nc|0|0\n|1|300");
}

#[tokio::test]
async fn too_many_groups_and_none_cost_nothing() {
    let pair = pair().await;
    let query = |by: &str, from: &str| {
        format!(
            "SELECT {by}, PRIVATE_INTERSECT_COUNT(*) FROM {from} i JOIN advertiser.purchases p ON i.email = p.email GROUP BY {by}"
        )
    };
    let error = pair.error(&query("i.clicks", "impressions")).await;
    assert!(
        error.contains("at most 4 groups") && error.contains("has 11") && error.contains("max_parts = 11"),
        "{error}"
    );
    let none = pair.run(&query("i.campaign", "(SELECT * FROM impressions WHERE clicks > 99)")).await.unwrap();
    assert_eq!(none.iter().map(|batch| batch.num_rows()).sum::<usize>(), 0);
    assert_eq!((pair.charged(), pair.paid()), (0, 0));
    // By labels alone every row of the answer is known, and nobody is in common.
    let labels = "SELECT p.category, PRIVATE_INTERSECT_COUNT(*) FROM (SELECT * FROM impressions WHERE clicks > 99) i \
                  JOIN advertiser.purchases p ON i.email = p.email GROUP BY p.category ORDER BY 1";
    assert_eq!(pair.row(labels).await, "books|0\ngarden|0\ntoys|0");
}

#[tokio::test]
async fn one_person_counts_in_as_many_labels_as_the_share_says_by_most_rows() {
    let purchases = "SELECT email, phone, surname, born, amount, CAST(price AS DECIMAL(10, 2)) AS price, weight, category, bought \
        FROM (VALUES ('a@x.org', '', '', DATE '2000-01-01', 1, 1, 1.0, 'toys', DATE '2026-01-01'), \
                     ('a@x.org', '', '', DATE '2000-01-01', 2, 1, 1.0, 'books', DATE '2026-01-01'), \
                     ('a@x.org', '', '', DATE '2000-01-01', 4, 1, 1.0, 'books', DATE '2026-01-01'), \
                     ('a@x.org', '', '', DATE '2000-01-01', 8, 1, 1.0, 'garden', DATE '2026-01-01'), \
                     ('b@x.org', '', '', DATE '2000-01-01', 16, 1, 1.0, 'toys', DATE '2026-01-01')) \
        AS t(email, phone, surname, born, amount, price, weight, category, bought)";
    let impressions = "SELECT * FROM (VALUES ('a@x.org', 1), ('b@x.org', 3)) AS t(email, clicks)";
    let query = "SELECT p.category, PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_SUM(p.amount), PRIVATE_INTERSECT_COUNT(p.amount) \
                 FROM impressions i JOIN advertiser.purchases p ON i.email = p.email GROUP BY 1 ORDER BY 1";
    for (max_labels, expected) in [
        (1, "books|1|6|2\ngarden|0|0|0\ntoys|1|16|1"),
        // Toys before garden: as the list has them.
        (2, "books|1|6|2\ngarden|0|0|0\ntoys|2|17|2"),
        (3, "books|1|6|2\ngarden|1|8|1\ntoys|2|17|2"),
    ] {
        let share = share().replace("max_parts = 4", &format!("max_parts = 4\nmax_labels = {max_labels}"));
        let pair = Pair::new(purchases, impressions, &share, OPEN_ASK).await;
        assert_eq!(pair.row(query).await, expected, "{max_labels}");
    }
}

#[tokio::test]
async fn labels_of_every_type_group_and_come_back_in_their_columns_type() {
    for (kind, labels, expected) in [
        ("CAST(v AS TINYINT)", "[7, 4, 99]", "4|1\n7|1\n99|0"),
        ("CAST(v AS BIGINT UNSIGNED)", "[7, 4, 99]", "4|1\n7|1\n99|0"),
        ("v % 2 = 0", "[true, false]", "false|3\ntrue|4"),
        ("DATE '2026-01-01' + CAST(v AS INT)", "[\"2026-01-06\", \"2026-01-11\"]", "2026-01-06|1\n2026-01-11|1"),
        (
            "arrow_cast(CAST(DATE '2026-01-01' + CAST(v AS INT) AS TIMESTAMP), 'Date64')",
            "[\"2026-01-06\"]",
            "2026-01-06T00:00:00|1",
        ),
        ("arrow_cast('n' || v, 'LargeUtf8')", "[\"n5\", \"n6\"]", "n5|1\nn6|1"),
        ("arrow_cast('n' || v, 'Utf8View')", "[\"n5\", \"n6\"]", "n5|1\nn6|1"),
        ("arrow_cast('n' || v, 'Dictionary(Int8, Utf8)')", "[\"n5\", \"n6\"]", "n5|1\nn6|1"),
        ("arrow_cast(v % 3, 'Dictionary(Int16, Int64)')", "[0, 1, 5]", "0|2\n1|3\n5|0"),
    ] {
        let purchases = format!(
            "SELECT *, {kind} AS kind FROM ({PURCHASES}) JOIN (SELECT value AS v FROM generate_series(1, 10)) ON email = 'user' || v || '@example.org'"
        );
        let share =
            share().replace("max_parts = 4", "").replace("group_by = {", &format!("group_by = {{ kind = {labels},"));
        let pair = Pair::new(&purchases, IMPRESSIONS, &share, OPEN_ASK).await;
        let query = "SELECT p.kind, PRIVATE_INTERSECT_COUNT(*) FROM impressions i \
                     JOIN advertiser.purchases p ON i.email = p.email GROUP BY p.kind ORDER BY 1";
        assert_eq!(pair.row(query).await, expected, "{kind}");
        let schema = pair.context.sql(query).await.unwrap().collect().await.unwrap()[0].schema();
        let shared = pair.context.table("advertiser.purchases").await.unwrap();
        let planned = shared.schema().field_with_unqualified_name("kind").unwrap().data_type().clone();
        assert_eq!(schema.field(0).data_type(), &planned, "{kind}");
    }
}

#[tokio::test]
async fn explain_names_the_groups_and_analyze_their_noisy_sizes() {
    let share = share()
        .replace("sizes = { exact = true }", "sizes = { epsilon = 3.0, delta = 1e-3 }")
        .replace("queries = 100", "queries = 2");
    let ask = "rows = \"pad\"\n[ask.budget]\nqueries = 2\nsizes = { epsilon = 3.0, delta = 1e-3 }\n";
    let pair = Pair::new(PURCHASES, IMPRESSIONS, &share, ask).await;
    let query = "SELECT i.campaign, p.category, PRIVATE_INTERSECT_SUM(p.amount) FILTER (WHERE p.bought > DATE '2026-01-05') AS late \
                 FROM impressions i JOIN advertiser.purchases p ON i.email = p.email GROUP BY 1, 2";
    let text = pair.row(&format!("EXPLAIN {query}")).await;
    for line in [
        "ask sum(amount) when (",
        "; group by category; in groups of your own",
        "and by i.campaign here: a row for each of your groups, at most 4; one person is in one",
        "the answer has at most 12 rows; one oblivious transfer per entry of advertiser's and group of yours, of 3 numbers",
        "dummies per identifier, group of yours and side",
        "number of your persons in each of your groups",
        "group by [campaign, category]",
    ] {
        assert!(text.contains(line), "'{line}' is missing in\n{text}");
    }
    assert_eq!((pair.charged(), pair.paid()), (0, 0));
    let text = pair.row(&format!("EXPLAIN ANALYZE {query}")).await;
    for line in ["11 persons in 2 groups", "matched by email, group by group: ", "AS Date32)) is exact"] {
        assert!(text.contains(line), "'{line}' is missing in\n{text}");
    }
}
