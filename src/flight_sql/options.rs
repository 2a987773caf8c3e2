//! Session options: `catalog`, `schema`, and every setting that SET knows by its own name.

use std::collections::HashMap;

use datafusion::config::ConfigOptions;
use datafusion::prelude::SessionContext;

use super::effects::set;
use super::statement::is_operators;
use super::wire::{
    GetSessionOptionsResult, INVALID_NAME, INVALID_VALUE, OptionError, SessionOptionValue, SetSessionOptionsRequest,
    SetSessionOptionsResult,
};

/// The names that clients have for the default catalog and schema.
const CATALOG: &str = "catalog";
const SCHEMA: &str = "schema";

/// The setting behind an option's name.
fn setting(name: &str) -> &str {
    match name {
        CATALOG => "datafusion.catalog.default_catalog",
        SCHEMA => "datafusion.catalog.default_schema",
        other => other,
    }
}

/// Sets what can be set, and says what could not be.
pub(super) async fn set_all(context: &SessionContext, request: SetSessionOptionsRequest) -> SetSessionOptionsResult {
    let mut errors = HashMap::new();
    // The catalog first: a schema is looked for in it.
    let mut options: Vec<_> = request.session_options.into_iter().collect();
    options.sort_by_key(|(name, _)| (name != CATALOG, name.clone()));
    for (name, value) in options {
        let value = value.as_text();
        let wrong = wrong(context, &name, value.as_deref());
        let wrong = match wrong {
            Some(wrong) => Some(wrong),
            None => set(context, setting(&name), value.as_deref()).await.err().map(|_| INVALID_VALUE),
        };
        if let Some(value) = wrong {
            errors.insert(name, OptionError { value });
        }
    }
    SetSessionOptionsResult { errors }
}

fn wrong(context: &SessionContext, name: &str, value: Option<&str>) -> Option<i32> {
    let config = context.copied_config();
    let default = &config.options().catalog.default_catalog;
    match (name, value) {
        (CATALOG, Some(catalog)) => context.catalog(catalog).is_none().then_some(INVALID_VALUE),
        (SCHEMA, Some(schema)) => {
            let found = context.catalog(default).and_then(|catalog| catalog.schema(schema));
            found.is_none().then_some(INVALID_VALUE)
        }
        (CATALOG | SCHEMA, None) => None,
        (name, _) if is_operators(name) => Some(INVALID_NAME),
        (name, _) => {
            let known = settings(config.options()).iter().any(|(known, _)| known == name);
            (!known).then_some(INVALID_NAME)
        }
    }
}

/// Every setting by the name that SET takes.
fn settings(options: &ConfigOptions) -> Vec<(String, Option<String>)> {
    options.entries().into_iter().map(|entry| (entry.key, entry.value)).collect()
}

/// All options as they are now.
pub(super) fn all(context: &SessionContext) -> GetSessionOptionsResult {
    let config = context.copied_config();
    let options = config.options();
    let mut session_options: HashMap<String, SessionOptionValue> = settings(options)
        .into_iter()
        .filter(|(name, _)| !is_operators(name))
        .map(|(name, value)| (name, SessionOptionValue::text(value.as_deref().unwrap_or_default())))
        .collect();
    session_options.insert(CATALOG.to_owned(), SessionOptionValue::text(&options.catalog.default_catalog));
    session_options.insert(SCHEMA.to_owned(), SessionOptionValue::text(&options.catalog.default_schema));
    GetSessionOptionsResult { session_options }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_set_sticks_and_what_cannot_be_is_said_by_name() {
        let context = SessionContext::new();
        let text = SessionOptionValue::text;
        let request = SetSessionOptionsRequest {
            session_options: [
                ("datafusion.execution.batch_size".to_owned(), text("77")),
                ("datafusion.execution.target_partitions".to_owned(), text("many")),
                ("datafusion.runtime.memory_limit".to_owned(), text("1G")),
                ("psi.nothing".to_owned(), text("1")),
                ("schema".to_owned(), text("elsewhere")),
                ("catalog".to_owned(), text("datafusion")),
            ]
            .into(),
        };
        let answer = set_all(&context, request).await;
        let mut errors: Vec<_> = answer.errors.iter().map(|(name, error)| (name.as_str(), error.value)).collect();
        errors.sort_unstable();
        assert_eq!(
            errors,
            [
                ("datafusion.execution.target_partitions", INVALID_VALUE),
                ("datafusion.runtime.memory_limit", INVALID_NAME),
                ("psi.nothing", INVALID_NAME),
                ("schema", INVALID_VALUE),
            ]
        );
        let now = all(&context).session_options;
        assert_eq!(now["datafusion.execution.batch_size"], text("77"));
        assert_eq!((&now["catalog"], &now["schema"]), (&text("datafusion"), &text("public")));
        let reset = SetSessionOptionsRequest {
            session_options: [("datafusion.execution.batch_size".to_owned(), SessionOptionValue::default())].into(),
        };
        assert!(set_all(&context, reset).await.errors.is_empty());
        assert_ne!(all(&context).session_options["datafusion.execution.batch_size"], text("77"));
    }
}
