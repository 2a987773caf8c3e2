use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use crate::policy::{Party, testing};

/// The sample's table.
pub(super) fn purchases() -> Schema {
    Schema::new(vec![
        Field::new("email", DataType::Utf8View, true),
        Field::new("phone", DataType::Int64, true),
        Field::new("surname", DataType::Utf8, true),
        Field::new("born", DataType::Date32, true),
        Field::new("amount", DataType::Decimal128(10, 2), true),
        Field::new("bought_at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("category", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true),
        Field::new("ssn", DataType::Utf8, true),
    ])
}

/// The sample's table with a column of another type, or without it.
fn with(column: &str, other: Option<DataType>) -> Schema {
    let fields = purchases();
    let fields = fields.fields().iter().filter_map(|field| match (&other, field.name() == column) {
        (_, false) => Some(Arc::clone(field)),
        (Some(other), true) => Some(Arc::new(Field::new(column, other.clone(), true))),
        (None, true) => None,
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// What the check says about the sample with its aggregates replaced.
fn check(amount: &str, table: &Schema) -> String {
    let text = testing::SAMPLE.replacen("{ min = 0, max = 500, max_rows = 20 }", amount, 1);
    let party = Party::parse(&text, "party.toml").unwrap();
    match party.check_columns(&party.shares[0], table) {
        Ok(()) => "fits".to_owned(),
        Err(error) => error.to_string(),
    }
}

const AMOUNT: &str = "{ min = 0, max = 500, max_rows = 20 }";

#[test]
fn the_sample_fits_its_table() {
    assert_eq!(check(AMOUNT, &purchases()), "fits");
    for integer in [DataType::Int8, DataType::UInt64] {
        assert_eq!(check(AMOUNT, &with("amount", Some(integer))), "fits");
    }
    assert_eq!(
        check("{ min = 0.25, max = 500, max_rows = 20, decimals = 2 }", &with("amount", Some(DataType::Float64))),
        "fits"
    );
    assert_eq!(check("{ max_rows = 20 }", &with("amount", Some(DataType::Boolean))), "fits");
    assert_eq!(check("{ min = 0.5, max = 9.99, max_rows = 20, decimals = 2 }", &purchases()), "fits");
}

#[test]
fn a_column_that_is_missing_is_an_error_with_the_line_that_names_it() {
    for (column, expected) in [
        (
            "email",
            "party.toml:23: the table 'purchases' has no column 'email'; its columns: phone, surname, born, amount, bought_at, category, ssn",
        ),
        (
            "born",
            "party.toml:23: the table 'purchases' has no column 'born'; its columns: email, phone, surname, amount, bought_at, category, ssn",
        ),
        (
            "amount",
            "party.toml:24: the table 'purchases' has no column 'amount'; its columns: email, phone, surname, born, bought_at, category, ssn",
        ),
        (
            "category",
            "party.toml:26: the table 'purchases' has no column 'category'; its columns: email, phone, surname, born, amount, bought_at, ssn",
        ),
    ] {
        assert_eq!(check(AMOUNT, &with(column, None)), expected);
    }
    let capital = Schema::new(vec![Field::new("Email", DataType::Utf8, true)]);
    assert_eq!(
        check(AMOUNT, &capital),
        "party.toml:23: the table 'purchases' has no column 'email'; did you mean 'Email'?"
    );
    let twice = Schema::new(vec![Field::new("email", DataType::Utf8, true), Field::new("email", DataType::Utf8, true)]);
    assert_eq!(
        check(AMOUNT, &twice),
        "party.toml:23: the table 'purchases' has several columns 'email'; give each column of the file a name of its own"
    );
}

#[test]
fn a_column_of_a_type_that_does_not_fit_is_an_error_that_says_what_would() {
    let float = || with("amount", Some(DataType::Float64));
    let integer = || with("amount", Some(DataType::Int32));
    for (amount, table, expected) in [
        (
            AMOUNT,
            with("email", Some(DataType::Float32)),
            "party.toml:23: column 'email' of 'purchases' cannot be an identifier: email/1 does not take a column of type Float32: it takes text; \
             write a CAST in the query, or choose another normaliser for the share; name a column of a type that the normaliser takes",
        ),
        (
            AMOUNT,
            with("amount", Some(DataType::Utf8)),
            "party.toml:24: column 'amount' of 'purchases' is of type Utf8, which cannot be summed; \
             leave out min and max, so that it can be counted: amount = { max_rows = 20 }",
        ),
        (
            AMOUNT,
            with("amount", Some(DataType::Decimal256(50, 2))),
            "party.toml:24: column 'amount' of 'purchases' is of type Decimal256(50, 2), which cannot be summed; \
             leave out min and max, so that it can be counted: amount = { max_rows = 20 }",
        ),
        (
            "{ min = 0, max = 500, max_rows = 20, decimals = 2 }",
            with("amount", Some(DataType::Float16)),
            "party.toml:24: column 'amount' of 'purchases' is of type Float16, which cannot be summed; \
             leave out min and max, so that it can be counted: amount = { max_rows = 20 }",
        ),
        (
            AMOUNT,
            with("amount", Some(DataType::Float16)),
            "party.toml:24: column 'amount' of 'purchases' is of type Float16, which cannot be summed; \
             leave out min and max, so that it can be counted: amount = { max_rows = 20 }",
        ),
        (
            AMOUNT,
            float(),
            "party.toml:24: column 'amount' of 'purchases' is of type Float64, and its rule lacks 'decimals'; \
             say how many decimals a sum keeps, for example: decimals = 2",
        ),
        (
            "{ min = 0, max = 500, max_rows = 20, decimals = 2 }",
            integer(),
            "party.toml:24: column 'amount' of 'purchases' is of type Int32, whose sums have 0 decimals, and its rule says 2; \
             leave out 'decimals': it is for floats",
        ),
        (
            "{ min = 0.5, max = 500, max_rows = 20 }",
            integer(),
            "party.toml:24: min = 0.5 does not fit column 'amount' of 'purchases', whose sums have 0 decimals; write min with at most 0 decimals",
        ),
        (
            "{ min = 0, max = \"500.125\", max_rows = 20 }",
            purchases(),
            "party.toml:24: max = 500.125 does not fit column 'amount' of 'purchases', whose sums have 2 decimals; write max with at most 2 decimals",
        ),
        (
            "{ min = 0, max = 500, max_rows = 20, squares_max = 0.5 }",
            integer(),
            "party.toml:24: squares_max = 0.5 does not fit column 'amount' of 'purchases', whose squares have 0 decimals; \
             write it in the square of the column's unit, with fewer decimals",
        ),
        (
            "{ min = 0, max = 500, max_rows = 20, squares_max = 1e28 }",
            purchases(),
            "party.toml:24: the bound squares_max of column 'amount' of 'purchases' is too wide: 10000000 persons of up to \
             100000000000000000000000000000000 each, and a noise of up to 11263749999999999999999999999999999, could overflow 128-bit words: narrow the aggregate's \
             min and max in the policy; lower squares_max, or persons_max in [limits]",
        ),
        (
            "{ min = 0, max = 1e31, max_rows = 20 }",
            purchases(),
            "party.toml:24: the bounds of column 'amount' of 'purchases' are too wide: 10000000 persons of up to \
             1000000000000000000000000000000000 each, and a noise of up to 112637499999999999999999999999999999, could overflow 128-bit words: narrow the aggregate's \
             min and max in the policy; narrow min and max, or lower persons_max in [limits]",
        ),
    ] {
        assert_eq!(check(amount, &table), expected);
    }
}

#[test]
fn a_column_to_group_by_has_labels_of_its_type() {
    let labelled = |labels: &str, category: DataType| {
        let text = testing::SAMPLE.replacen(
            "category = [\"toys\", \"books\", \"garden\"]",
            &format!("category = {labels}"),
            1,
        );
        let text = text.replacen("max_labels = 2", "max_labels = 1", 1);
        let party = Party::parse(&text, "party.toml").unwrap();
        match party.check_columns(&party.shares[0], &with("category", Some(category))) {
            Ok(()) => "fits".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    for (labels, category) in [
        ("[\"toys\", \"5\"]", DataType::LargeUtf8),
        ("[5, -1]", DataType::Int32),
        ("[\"5\"]", DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Int64))),
        ("[\"2026-03-01\"]", DataType::Date32),
        ("[true, false]", DataType::Boolean),
    ] {
        assert_eq!(labelled(labels, category), "fits", "{labels}");
    }
    for (labels, category) in [
        ("[\"toys\"]", DataType::Int32),
        ("[\"05\"]", DataType::Int32),
        ("[\"2026-3-1\"]", DataType::Date32),
        ("[1]", DataType::Boolean),
    ] {
        let text = labelled(labels, category);
        assert!(text.starts_with("party.toml:27: column 'category' of 'purchases' is of type "), "{text}");
        assert!(text.ends_with("is none of its values; write labels as SQL shows them: 5, 2026-03-01, true"), "{text}");
    }
    assert_eq!(
        labelled("[5]", DataType::Float64),
        "party.toml:27: column 'category' of 'purchases' is of type Float64, which has no labels; \
         group by a column of texts, whole numbers, dates or booleans"
    );
}
