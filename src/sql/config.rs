//! What an analyst may choose: `SET psi.…`.

use std::any::Any;
use std::fmt::Display;

use datafusion::common::config::ConfigExtension;
use datafusion::common::config_namespace;
use datafusion::config::{ConfigEntry, ConfigField, ConfigOptions, ExtensionOptions, Visit};
use datafusion::error::Result;

config_namespace! {
    /// Settings of private queries, as `SET psi.timeout_seconds = 600`. Nothing here changes what a
    /// query reveals: that is the policies' alone.
    pub struct PsiConfig {
        /// Seconds that a private query may take from its first message to its result.
        pub timeout_seconds: u64, default = 3600
        /// Seconds that the peer may stay silent within a phase before it counts as stalled.
        pub stall_seconds: u64, default = 60
        /// Whether whoever watches this party's runs hears of them: on the command line, a progress bar.
        pub progress: bool, default = true
        /// Decimals in which this side's own floating point values are summed (0 to 9).
        pub float_decimals: u8, default = 6
        /// What becomes of a person of this side whose rows are in several groups of GROUP BY: 'error', or 'first' for the
        /// group that sorts first, NULL last
        pub group_conflict: String, default = "error".to_owned()
    }
}

impl ConfigExtension for PsiConfig {
    const PREFIX: &'static str = "psi";
}

/// By hand, and not by the engine's macro for extensions: that one lists settings without their prefix, so that
/// `SHOW psi.timeout_seconds` would not find what `SET psi.timeout_seconds` has set.
impl ExtensionOptions for PsiConfig {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        ConfigField::set(self, key, value)
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let mut listed = Listed(Vec::new());
        self.visit(&mut listed, Self::PREFIX, "");
        listed.0
    }
}

/// Settings as `SHOW` and `information_schema.df_settings` list them.
struct Listed(Vec<ConfigEntry>);

impl Visit for Listed {
    fn some<V: Display>(&mut self, key: &str, value: V, description: &'static str) {
        self.0.push(ConfigEntry { key: key.to_owned(), value: Some(value.to_string()), description });
    }

    fn none(&mut self, key: &str, description: &'static str) {
        self.0.push(ConfigEntry { key: key.to_owned(), value: None, description });
    }
}

/// The most decimals that `psi.float_decimals` may name: a clip bound of 9 digits then still fits into
/// 64 bits.
pub(super) const FLOAT_DECIMALS_MAX: u8 = 9;

impl PsiConfig {
    /// The settings of a session; the defaults where none were installed.
    pub fn of(options: &ConfigOptions) -> Self {
        options.extensions.get::<PsiConfig>().cloned().unwrap_or_default()
    }
}

/// What becomes of a person with rows in several groups of this side's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupConflict {
    /// The query fails before anything is charged or sent.
    Fail,
    /// The person is in the first of them, in the groups' order, by its rows there alone.
    TakeFirst,
}

impl GroupConflict {
    /// What a session has set.
    ///
    /// # Errors
    /// A sentence, for any other word.
    pub(super) fn of(options: &ConfigOptions) -> Result<Self, String> {
        match PsiConfig::of(options).group_conflict.as_str() {
            "error" => Ok(GroupConflict::Fail),
            "first" => Ok(GroupConflict::TakeFirst),
            other => Err(format!("psi.group_conflict is '{other}'; it is 'error' or 'first'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    #[tokio::test]
    async fn show_finds_what_set_has_set() {
        let config = SessionConfig::new().with_information_schema(true).with_option_extension(PsiConfig::default());
        let context = SessionContext::new_with_config(config);
        context.sql("SET psi.stall_seconds = 77").await.unwrap();
        let shown = context.sql("SHOW psi.stall_seconds").await.unwrap().collect().await.unwrap();
        let shown = pretty_format_batches(&shown).unwrap().to_string();
        assert!(shown.contains("psi.stall_seconds") && shown.contains("77"), "{shown}");
        assert!(context.sql("SET psi.stalling = 77").await.is_err());
    }
}
