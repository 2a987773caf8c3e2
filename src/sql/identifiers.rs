//! The normalisers as SQL functions: how a value is spelled before it is compared.
//!
//! `psi_exact(x)`, `psi_email(x)`, `psi_phone(x, region)` and `psi_sha256(x)` give the identifier as text,
//! and NULL for what identifies nobody. They are for looking at one's own data (how many e-mail addresses
//! are unusable?); a private query normalises by itself.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::psi::normalise::Normaliser;

/// The functions to register.
pub fn identifier_functions() -> Vec<Arc<ScalarUDF>> {
    [
        ("psi_exact", "exact/1", 1),
        ("psi_email", "email/1", 1),
        ("psi_phone", "phone/1", 2),
        ("psi_sha256", "sha256/1", 1),
    ]
    .into_iter()
    .map(|(name, normaliser, arguments)| {
        let signature = Signature::any(arguments, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Identifier { name, normaliser, signature }))
    })
    .collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Identifier {
    name: &'static str,
    /// The normaliser's name, without the region that `psi_phone` takes as its second argument.
    normaliser: &'static str,
    signature: Signature,
}

impl Identifier {
    /// The normaliser, with the region where there is one.
    fn normaliser(&self, region: Option<&ScalarValue>) -> Result<Normaliser> {
        let name = match region {
            None => self.normaliser.to_owned(),
            Some(region) => format!("{}:{}", self.normaliser, region.try_as_str().flatten().unwrap_or_default()),
        };
        name.parse().map_err(|error| DataFusionError::Plan(format!("{}: {error}", self.name)))
    }

    fn takes_region(&self) -> bool {
        self.name == "psi_phone"
    }
}

impl ScalarUDFImpl for Identifier {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let region = match (self.takes_region(), arguments.scalar_arguments.get(1).copied().flatten()) {
            (true, None) => {
                return Err(DataFusionError::Plan(format!(
                    "{}(number, region) takes a literal region, as in 'US'",
                    self.name
                )));
            }
            (_, region) => region,
        };
        let normaliser = self.normaliser(region)?;
        if let Some(column) = arguments.arg_fields.first() {
            normaliser.check_type(column.data_type()).map_err(|error| DataFusionError::Plan(error.to_string()))?;
        }
        Ok(Arc::new(Field::new(self.name, DataType::Utf8, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let region = match arguments.args.get(1) {
            Some(ColumnarValue::Scalar(region)) => Some(region),
            _ => None,
        };
        let normaliser = self.normaliser(region)?;
        match arguments.args.into_iter().next() {
            Some(ColumnarValue::Array(column)) => Ok(ColumnarValue::Array(normalised(normaliser, &column)?)),
            Some(ColumnarValue::Scalar(value)) => {
                let text = normalised(normaliser, &value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&text, 0)?))
            }
            None => Err(DataFusionError::Plan(format!("{} takes an argument", self.name))),
        }
    }
}

fn normalised(normaliser: Normaliser, column: &ArrayRef) -> Result<ArrayRef> {
    let normalised = normaliser.normalise(column).map_err(|error| DataFusionError::Plan(error.to_string()))?;
    let identifiers = normalised.identifiers;
    let texts =
        (0..identifiers.len()).map(|row| identifiers.is_valid(row).then(|| normaliser.to_text(identifiers.value(row))));
    Ok(Arc::new(texts.collect::<StringArray>()))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn text(sql: &str) -> Result<Option<String>> {
        let ctx = SessionContext::new();
        for function in identifier_functions() {
            ctx.register_udf(function.as_ref().clone());
        }
        let batches = ctx
            .sql(&format!(
                "SELECT {sql} AS text FROM (VALUES (' Ann@Example.ORG ', '(415) 555-2671')) AS t(email, phone)"
            ))
            .await?;
        let value = ScalarValue::try_from_array(batches.collect().await?[0].column(0), 0)?;
        Ok(value.try_as_str().flatten().map(str::to_owned))
    }

    #[tokio::test]
    async fn columns_and_literals_are_spelled_as_in_a_session() {
        for (sql, expected) in [
            ("psi_email(email)", Some("ann@example.org")),
            ("psi_email('nobody')", None),
            ("PSI_PHONE(phone, 'US')", Some("+14155552671")),
            ("psi_phone('020 7946 0018', 'GB')", Some("+442079460018")),
            ("psi_exact(DATE '2026-03-01')", Some("2026-03-01")),
            ("psi_exact('')", None),
            ("psi_exact(NULL)", None),
            ("psi_sha256(upper('ab' || repeat('0', 62)))", Some(&format!("ab{}", "0".repeat(62)))),
            ("psi_sha256('ab')", None),
        ] {
            assert_eq!(text(sql).await.unwrap().as_deref(), expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn wrong_types_and_regions_are_refused_at_planning() {
        for (sql, reason) in [
            ("psi_exact(1.5)", "does not take a column of type Float64"),
            ("psi_email(1)", "does not take a column of type Int64"),
            ("psi_phone(phone, 'ZZ')", "ZZ"),
            ("psi_phone(phone, email)", "literal region"),
            ("psi_phone(phone)", "psi_phone"),
        ] {
            let error = text(sql).await.unwrap_err().to_string();
            assert!(error.contains(reason), "{sql}: {error}");
        }
    }
}
