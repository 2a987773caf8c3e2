use super::*;

const FROM: &str = "FROM impressions i JOIN insurer.stays s ON i.email = s.email";

/// The words without the quotes around names.
fn words(query: &PrivateQuery) -> Vec<String> {
    asked(query).into_iter().map(|word| word.replace('"', "")).collect()
}

/// What each group column is, in the analyst's words.
fn groups(query: &PrivateQuery) -> Vec<String> {
    let LogicalPlan::Projection(projection) = &query.local else { panic!("the local side ends in a projection") };
    let name = |group: &GroupColumn| match group {
        GroupColumn::Labels => "labels".to_owned(),
        GroupColumn::Own(column) => projection.expr[*column].clone().unalias().to_string(),
    };
    query.groups.iter().map(name).collect()
}

#[tokio::test]
async fn groups_are_the_peers_labels_ones_own_expressions_or_both_in_the_order_of_the_schema() {
    let world = world();
    for (select, by, label, own) in [
        ("s.category", "GROUP BY s.category", Some("category"), vec!["labels"]),
        ("i.campaign", "GROUP BY i.campaign", None, vec!["i.campaign"]),
        ("i.campaign AS c", "GROUP BY c", None, vec!["i.campaign"]),
        ("s.category AS c", "GROUP BY c", Some("category"), vec!["labels"]),
        ("s.days", "GROUP BY 1", Some("days"), vec!["labels"]),
        ("i.campaign, s.category", "GROUP BY 1, 2", Some("category"), vec!["i.campaign", "labels"]),
        ("i.campaign, s.category", "GROUP BY 2, 1", Some("category"), vec!["labels", "i.campaign"]),
        ("i.shown > 3, i.campaign", "GROUP BY i.campaign, i.shown > 3", None, vec!["i.campaign", "i.shown > Int64(3)"]),
        ("i.email", "GROUP BY i.email", None, vec!["i.email"]),
        ("1", "GROUP BY s.category HAVING PRIVATE_INTERSECT_COUNT(*) > 3", Some("category"), vec!["labels"]),
        ("DISTINCT s.category", "GROUP BY s.category", Some("category"), vec!["labels"]),
        (
            "s.category",
            "GROUP BY s.category ORDER BY PRIVATE_INTERSECT_COUNT(*) DESC LIMIT 1",
            Some("category"),
            vec!["labels"],
        ),
    ] {
        let sql = format!("SELECT {select}, PRIVATE_INTERSECT_COUNT(*) {FROM} {by}");
        let query = accepted(&world, &sql).await;
        assert_eq!(query.question.group_by.as_deref(), label, "{sql}");
        assert_eq!(
            (groups(&query), query.question.own_groups),
            (own.iter().map(|s| s.to_string()).collect(), own != ["labels"]),
            "{sql}"
        );
        assert_eq!(query.schema.fields().len(), query.groups.len() + query.outputs.len(), "{sql}");
    }
    let through = accepted(
        &world,
        "SELECT kind, seg, PRIVATE_INTERSECT_SUM(amount) FROM (SELECT email, category AS kind, amount FROM insurer.stays) s \
         JOIN (SELECT email AS mine, lower(segment) AS seg FROM customers) c ON s.email = c.mine GROUP BY kind, seg",
    )
    .await;
    assert_eq!(
        (groups(&through), asked(&through)),
        (vec!["labels".to_owned(), "c.seg".to_owned()], vec!["sum(amount)".to_owned(), "persons".to_owned()])
    );
}

#[tokio::test]
async fn a_count_of_persons_is_added_where_small_groups_are_hidden_and_only_there() {
    let world = world();
    let of = |select: &'static str, by: &'static str| {
        let world = &world;
        async move { accepted(world, &format!("SELECT {select} {FROM} {by}")).await }
    };
    let added = of(
        "PRIVATE_INTERSECT_SUM(s.amount), PRIVATE_INTERSECT_COUNT(*) FILTER (WHERE s.days > 3)",
        "GROUP BY s.category",
    )
    .await;
    assert_eq!(words(&added), ["sum(amount)", "persons when ((days > 3))", "persons"]);
    assert_eq!((added.hidden_by(), added.adds_persons()), (Some(2), true));
    let there = of("PRIVATE_INTERSECT_SUM(s.amount), PRIVATE_INTERSECT_COUNT(*)", "GROUP BY i.campaign").await;
    assert_eq!((asked(&there).len(), there.hidden_by(), there.adds_persons()), (2, Some(1), false));
    let alone = of("PRIVATE_INTERSECT_SUM(s.amount)", "").await;
    assert_eq!((asked(&alone), alone.hidden_by(), alone.adds_persons()), (vec!["sum(amount)".to_owned()], None, false));
}

#[tokio::test]
async fn conditions_inside_aggregates_travel_with_their_words_and_equal_ones_are_one() {
    let world = world();
    for (select, words) in [
        (
            "PRIVATE_INTERSECT_SUM(s.amount) FILTER (WHERE s.category = 'toys')",
            vec!["sum(amount) when ((category = 'toys'))"],
        ),
        (
            "PRIVATE_INTERSECT_SUM(CASE WHEN s.category = 'toys' THEN s.amount END)",
            vec!["sum(amount) when ((category = 'toys'))"],
        ),
        (
            "PRIVATE_INTERSECT_SUM(CASE WHEN s.category = 'toys' THEN s.amount ELSE NULL END)",
            vec!["sum(amount) when ((category = 'toys'))"],
        ),
        (
            "PRIVATE_INTERSECT_SUM(CASE WHEN s.category = 'toys' THEN s.amount ELSE 0 END)",
            vec!["sum(amount) when ((category = 'toys'))"],
        ),
        (
            "PRIVATE_INTERSECT_SUM(CASE WHEN s.category = 'toys' THEN s.score ELSE 0.0 END)",
            vec!["sum(score) when ((category = 'toys'))"],
        ),
        (
            "PRIVATE_INTERSECT_SUM(CASE WHEN s.category = 'toys' THEN s.days ELSE 0 END)",
            vec!["sum(days) when ((category = 'toys'))"],
        ),
        (
            "PRIVATE_INTERSECT_SUM(CASE s.category WHEN 'toys' THEN s.amount END)",
            vec!["sum(amount) when ((category = 'toys'))"],
        ),
        ("PRIVATE_INTERSECT_COUNT(CASE WHEN s.days > 3 THEN s.basket END)", vec!["rows(basket) when ((days > 3))"]),
        ("PRIVATE_INTERSECT_COUNT(CASE WHEN s.days > 3 THEN 1 END)", vec!["persons when ((days > 3))"]),
        ("PRIVATE_INTERSECT_COUNT(*) FILTER (WHERE s.days > 3)", vec!["persons when ((days > 3))"]),
        (
            "PRIVATE_INTERSECT_AVG(s.amount) FILTER (WHERE s.days > 3), PRIVATE_INTERSECT_SUM(CASE WHEN s.days > 3 THEN s.amount END)",
            vec!["sum(amount) when ((days > 3))", "rows(amount) when ((days > 3))"],
        ),
        (
            "PRIVATE_INTERSECT_SUM(CASE WHEN s.days > 3 THEN s.amount END) FILTER (WHERE s.category = 'toys')",
            vec!["sum(amount) when (((days > 3)) AND ((category = 'toys')))"],
        ),
        // Which branch gives the column does not matter, only that the first that holds does.
        (
            "PRIVATE_INTERSECT_SUM(CASE WHEN s.days > 3 THEN s.amount WHEN s.category = 'toys' THEN s.amount END)",
            vec!["sum(amount) when (((days > 3) OR (category = 'toys')))"],
        ),
        (
            "PRIVATE_INTERSECT_SUM(CASE WHEN s.days > 3 THEN NULL ELSE s.amount END)",
            vec!["sum(amount) when ((days > 3) IS NOT TRUE)"],
        ),
        (
            "PRIVATE_INTERSECT_SUM(CASE WHEN s.days > 3 THEN 0 WHEN s.category = 'toys' THEN s.amount END)",
            vec!["sum(amount) when (((days > 3) IS NOT TRUE) AND ((category = 'toys')))"],
        ),
        ("PRIVATE_INTERSECT_SUM(CASE WHEN s.days > 3 THEN s.amount ELSE s.amount END)", vec!["sum(amount)"]),
        ("PRIVATE_INTERSECT_SUM(s.amount) FILTER (WHERE 1 = 1)", vec!["sum(amount)"]),
        (
            "PRIVATE_INTERSECT_VAR(s.amount), PRIVATE_INTERSECT_STDDEV_POP(s.amount), PRIVATE_INTERSECT_AVG(s.amount)",
            vec!["squares(amount)", "sum(amount)", "rows(amount)"],
        ),
        (
            "PRIVATE_INTERSECT_STDDEV_SAMP(s.days) FILTER (WHERE s.category = 'toys')",
            vec![
                "squares(days) when ((category = 'toys'))",
                "sum(days) when ((category = 'toys'))",
                "rows(days) when ((category = 'toys'))",
            ],
        ),
        ("psi_low(PRIVATE_INTERSECT_SUM(s.amount) FILTER (WHERE s.days > 3))", vec!["sum(amount) when ((days > 3))"]),
        ("psi_note(PRIVATE_INTERSECT_AVG(s.amount))", vec!["sum(amount)", "rows(amount)"]),
    ] {
        let query = accepted(&world, &format!("SELECT {select} {FROM}")).await;
        assert_eq!(super::groups::words(&query), words, "{select}");
        assert_eq!(query.question.filter, None, "{select}");
    }
}

#[tokio::test]
async fn conditions_on_ones_own_value_stay_here() {
    let world = world();
    for (select, value) in [
        (
            "PRIVATE_INTERSECT_SUM(CASE WHEN i.campaign = 'x' THEN i.shown END)",
            "CASE WHEN i.campaign = Utf8(\"x\") THEN i.shown END",
        ),
        (
            "PRIVATE_INTERSECT_SUM(i.shown) FILTER (WHERE i.campaign = 'x')",
            "CASE WHEN i.campaign = Utf8(\"x\") THEN i.shown END",
        ),
    ] {
        let query = accepted(&world, &format!("SELECT {select} {FROM}")).await;
        assert_eq!(
            (asked(&query), own_values(&query)),
            (vec!["own-sum(0,0)".to_owned()], vec![value.to_owned()]),
            "{select}"
        );
    }
}

/// For every way in which three conditions can be true, false or NULL of a row: whether CASE gives the column is
/// whether the condition that travels is true.
#[tokio::test]
async fn what_travels_for_a_case_is_true_of_exactly_the_rows_to_which_it_gives_the_column() {
    let world = world();
    let plain = SessionContext::new();
    let results = ["s.amount", "NULL", "0"];
    let state = ["'toys'", "'books'", "NULL"];
    for code in 0..81 {
        let of = |n: usize| results[code / 3_usize.pow(n as u32) % 3];
        let case = format!(
            "CASE WHEN s.category = 'toys' THEN {} WHEN s.days = 1 THEN {} WHEN s.bought_at = DATE '2026-01-01' THEN {} ELSE {} END",
            of(0),
            of(1),
            of(2),
            of(3)
        );
        if !case.contains("s.amount") {
            continue;
        }
        let query = accepted(&world, &format!("SELECT PRIVATE_INTERSECT_SUM({case}) {FROM}")).await;
        let [word] = query.question.aggregates.as_slice() else { panic!("one word for {case}") };
        let when = word.when.clone().unwrap_or_else(|| "true".to_owned());
        let mut rows = Vec::new();
        for category in state {
            for days in ["1", "2", "NULL"] {
                for day in ["DATE '2026-01-01'", "DATE '2026-01-02'", "NULL"] {
                    rows.push(format!("({category}, CAST({days} AS INT), CAST({day} AS DATE), 7)"));
                }
            }
        }
        let sql = format!(
            "SELECT count(*) FILTER (WHERE coalesce({case}, 0) = 7 AND ({when}) IS NOT TRUE) + \
                    count(*) FILTER (WHERE coalesce({case}, 0) <> 7 AND ({when})) \
             FROM (VALUES {}) AS s(category, days, bought_at, amount)",
            rows.join(", ")
        );
        let found = plain.sql(&sql).await.unwrap().collect().await.unwrap();
        let differ = datafusion::arrow::array::AsArray::as_primitive::<datafusion::arrow::datatypes::Int64Type>(
            found[0].column(0),
        )
        .value(0);
        assert_eq!(differ, 0, "{case} is not {when}");
    }
}

#[tokio::test]
async fn an_unknown_word_for_conflicts_is_refused_before_anything_is_planned() {
    let world = world();
    world.ctx.sql("SET psi.group_conflict = 'last'").await.unwrap().collect().await.unwrap();
    let sql = format!("SELECT i.campaign, PRIVATE_INTERSECT_COUNT(*) {FROM} GROUP BY i.campaign");
    let error = analyzed(&world, &sql).await.unwrap_err().to_string();
    assert!(error.contains("psi.group_conflict is 'last'; it is 'error' or 'first'"), "{error}");
    world.ctx.sql("SET psi.group_conflict = 'first'").await.unwrap().collect().await.unwrap();
    analyzed(&world, &sql).await.unwrap();
}
