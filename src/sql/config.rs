//! What an analyst may choose: `SET psi.…`.

use datafusion::common::config::ConfigExtension;
use datafusion::common::extensions_options;
use datafusion::config::ConfigOptions;

extensions_options! {
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
    }
}

impl ConfigExtension for PsiConfig {
    const PREFIX: &'static str = "psi";
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
