//! Whether terms that a peer publishes are such as a policy can make. They go into errors, listings, EXPLAIN and its
//! arithmetic, and stay for as long as the process runs: so they are held to the policy's own rules at the door.

use super::text::{is_column, is_plain};
use super::{ClipTerms, LABELS_MAX, OutputsTerms, PARTS_MAX, ShareTerms, SizesTerms};

/// The most entries of each list of a share's terms.
const LIST_MAX: usize = 1024;

/// The most bytes of a label, and of a name or word that is no column.
const WORD_BYTES_MAX: usize = 256;

/// The most bytes of a bound in decimals.
const DECIMAL_BYTES_MAX: usize = 64;

/// The most bytes of what one query may use: a word and two numbers of at most 80 digits.
const PER_QUERY_BYTES_MAX: usize = 256;

/// More decimals than any column's type has.
const DECIMALS_MAX: u8 = 76;

impl ShareTerms {
    /// Holds terms that a peer published to the rules for a policy.
    ///
    /// # Errors
    /// What is wrong, repeating nothing of it.
    pub(crate) fn check_published(&self) -> Result<(), String> {
        let ShareTerms { identifiers, aggregates, filter_on, group_by, .. } = self;
        hold(is_column(&self.table), "its table's name is none")?;
        let lists = [identifiers.len(), aggregates.len(), filter_on.len(), group_by.len()];
        hold(lists.into_iter().all(|length| length <= LIST_MAX), "it lists too much")?;
        for identifier in identifiers {
            let columns = identifier.columns.len() <= LIST_MAX && identifier.columns.iter().all(|name| is_column(name));
            let named = is_column(&identifier.name) && columns && is_word(&identifier.normaliser);
            hold(named, "an identifier's name, columns or normaliser are none")?;
        }
        for rule in aggregates {
            hold(is_column(&rule.column), "an aggregate's column has a name that is none")?;
            let bounds = rule.clip.as_ref().is_none_or(is_clip)
                && rule.squares_max.as_deref().is_none_or(is_decimal)
                && rule.decimals <= DECIMALS_MAX;
            hold(bounds, "an aggregate's bounds are no numbers")?;
        }
        let own = self.requester_values.as_ref();
        hold(own.is_none_or(|own| is_clip(&own.clip)), "the bounds of the asker's values are no numbers")?;
        hold(filter_on.iter().all(|column| is_column(column)), "a column for filters has a name that is none")?;
        for group in group_by {
            hold(is_column(&group.column), "a column to group by has a name that is none")?;
            // Values, in which marks have their meaning: controls alone are refused, as in a policy.
            let label = |label: &String| label.len() <= WORD_BYTES_MAX && !label.chars().any(char::is_control);
            hold(group.labels.iter().all(label), "a label is none")?;
            hold(group.labels.len() <= LABELS_MAX, "it has too many labels")?;
        }
        hold((1..=LABELS_MAX).contains(&(self.max_labels as usize)), "'max_labels' is out of range")?;
        hold((1..=PARTS_MAX).contains(&(self.max_parts as usize)), "'max_parts' is out of range")?;
        hold(is_word(&self.period), "its period is none")?;
        if let SizesTerms::Private { epsilon, delta, .. } = &self.sizes {
            hold(is_budget(*epsilon, *delta), "the budget of its sizes is none")?;
        }
        if let OutputsTerms::Private { per_query, epsilon, delta, .. } = &self.outputs {
            // What it says is read, and refused in words of its own, where it is used.
            let bounded = per_query.len() <= PER_QUERY_BYTES_MAX;
            hold(bounded && is_budget(*epsilon, *delta), "the budget of its outputs is none")?;
        }
        Ok(())
    }
}

fn hold(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= WORD_BYTES_MAX && is_plain(text)
}

/// Digits with a sign and a point; whether they make a number is asked where they are read.
fn is_decimal(text: &str) -> bool {
    let digits = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=DECIMAL_BYTES_MAX).contains(&text.len()) && text.bytes().all(digits)
}

fn is_clip(clip: &ClipTerms) -> bool {
    is_decimal(&clip.min) && is_decimal(&clip.max)
}

fn is_budget(epsilon: f64, delta: Option<f64>) -> bool {
    epsilon.is_finite() && epsilon > 0.0 && delta.is_none_or(|delta| delta > 0.0 && delta < 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::{AggregateTerms, FilteredRows, GroupTerms, IdentifierTerms, OwnValueTerms};
    use super::*;

    fn terms() -> ShareTerms {
        let clip = || ClipTerms { min: "-12.50".to_owned(), max: "500".to_owned() };
        ShareTerms {
            table: "purchases".to_owned(),
            identifiers: vec![IdentifierTerms {
                name: "E-Mail".to_owned(),
                columns: vec!["E-Mail".to_owned()],
                normaliser: "email/1".to_owned(),
            }],
            aggregates: vec![AggregateTerms {
                column: "amount".to_owned(),
                clip: Some(clip()),
                max_rows: 20,
                decimals: 2,
                squares_max: Some("250000".to_owned()),
            }],
            filter_on: vec!["Straße".to_owned()],
            requester_values: Some(OwnValueTerms { clip: clip(), max_rows: 3 }),
            minimum_matched: 100,
            filtered_rows: FilteredRows::Hide,
            sizes: SizesTerms::Private { epsilon: 2.0, delta: None, queries: 10, columns: 2 },
            outputs: OutputsTerms::Private {
                per_query: "epsilon 2/5".to_owned(),
                epsilon: 4.0,
                delta: Some(1e-9),
                queries: 10,
            },
            group_by: vec![GroupTerms {
                column: "category".to_owned(),
                labels: vec!["\u{1f468}\u{200d}\u{1f467}".to_owned()],
            }],
            max_labels: LABELS_MAX as u32,
            max_parts: PARTS_MAX as u32,
            period: "month".to_owned(),
            approval: false,
        }
    }

    #[test]
    fn what_a_policy_can_publish_is_read() {
        assert_eq!(terms().check_published(), Ok(()));
    }

    #[test]
    fn what_could_steer_a_terminal_or_overflow_an_estimate_is_refused_at_the_door() {
        const ESC: &str = "a\u{1b}[2J";
        type Change = fn(&mut ShareTerms);
        let changes: &[(&str, Change)] = &[
            ("table's name", |terms| terms.table = ESC.to_owned()),
            ("table's name", |terms| terms.table = "x".repeat(257)),
            ("identifier", |terms| terms.identifiers[0].name = ESC.to_owned()),
            ("identifier", |terms| terms.identifiers[0].columns.push("a\u{202e}b".to_owned())),
            ("identifier", |terms| terms.identifiers[0].normaliser = ESC.to_owned()),
            ("aggregate's column", |terms| terms.aggregates[0].column = ESC.to_owned()),
            ("no numbers", |terms| terms.aggregates[0].clip.as_mut().unwrap().min = ESC.to_owned()),
            ("no numbers", |terms| terms.aggregates[0].squares_max = Some("9".repeat(65))),
            ("no numbers", |terms| terms.aggregates[0].decimals = 77),
            ("asker's values", |terms| terms.requester_values.as_mut().unwrap().clip.max = String::new()),
            ("for filters", |terms| terms.filter_on.push(String::new())),
            ("lists too much", |terms| terms.filter_on = vec!["a".to_owned(); LIST_MAX + 1]),
            ("to group by", |terms| terms.group_by[0].column = ESC.to_owned()),
            ("label is none", |terms| terms.group_by[0].labels[0] = ESC.to_owned()),
            ("too many labels", |terms| terms.group_by[0].labels = vec!["a".to_owned(); LABELS_MAX + 1]),
            ("max_labels", |terms| terms.max_labels = 0),
            ("max_labels", |terms| terms.max_labels = LABELS_MAX as u32 + 1),
            ("max_parts", |terms| terms.max_parts = 0),
            ("max_parts", |terms| terms.max_parts = PARTS_MAX as u32 + 1),
            ("max_parts", |terms| terms.max_parts = u32::MAX),
            ("period", |terms| terms.period = ESC.to_owned()),
            ("its sizes", |terms| {
                terms.sizes = SizesTerms::Private { epsilon: -1.0, delta: None, queries: 1, columns: 1 };
            }),
            ("its sizes", |terms| {
                terms.sizes = SizesTerms::Private { epsilon: 1.0, delta: Some(1.0), queries: 1, columns: 1 };
            }),
            ("its outputs", |terms| {
                terms.outputs = OutputsTerms::Private {
                    per_query: "9".repeat(PER_QUERY_BYTES_MAX + 1),
                    epsilon: 4.0,
                    delta: None,
                    queries: 1,
                };
            }),
        ];
        for (reason, change) in changes {
            let mut changed = terms();
            change(&mut changed);
            let refused = changed.check_published().unwrap_err();
            assert!(refused.contains(reason) && is_plain(&refused), "{refused}");
        }
    }
}
