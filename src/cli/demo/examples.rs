//! The files of sql-examples/, the stories that they belong to, and the truth to compare them with.
//!
//! Public for the test that runs every example; of no use to whoever embeds the engine.

use anyhow::{Context, bail, ensure};
use datafusion::arrow::array::RecordBatch;

pub use super::stories::{STORIES, Setting, Story};
pub use super::truth::{Measure, compare, truth};

/// One file of sql-examples/, and its truth beside it.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// The file's name without its ending.
    pub name: &'static str,
    /// The private query, comments included.
    pub text: &'static str,
    /// The same question in plain SQL over both parties' tables.
    pub truth: &'static str,
}

macro_rules! examples {
    ($($name:literal),+ $(,)?) => {
        &[$(Example {
            name: $name,
            text: include_str!(concat!("../../../sql-examples/", $name, ".sql")),
            truth: include_str!(concat!("../../../sql-examples/", $name, ".truth.sql")),
        }),+]
    };
}

/// All examples, in their order.
pub const EXAMPLES: &[Example] = examples![
    "01_reach_of_a_campaign",
    "02_revenue_from_exposed_customers",
    "03_revenue_by_email_or_phone",
    "04_revenue_by_three_identifiers",
    "05_average_basket",
    "06_return_on_advertising",
    "07_subscribers_who_saw_a_video",
    "08_mean_hospital_days",
    "09_treatment_and_control",
    "10_flagged_at_both_banks",
    "11_sums_moved",
    "12_the_other_way_round",
    "13_moved_by_risk_and_direction",
];

/// What an example's comment and SQL say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its title.
    pub title: &'static str,
    /// The story's name.
    pub story: &'static str,
    /// The party that asks.
    pub asks: &'static str,
    /// What a person wants to know, in words, on one line.
    pub words: String,
    /// The statements: the last one is the question, those before it prepare it.
    pub sql: &'static str,
}

impl Example {
    /// Reads the comment at the top: a title, a line `-- asks: STORY/PARTY`, then the words.
    ///
    /// # Errors
    /// What is missing, with the file's name.
    pub fn question(&self) -> anyhow::Result<Question> {
        let text = self.text;
        let start = text
            .match_indices('\n')
            .map(|(end, _)| end + 1)
            .find(|start| !text[*start..].starts_with("--"))
            .with_context(|| format!("{} has no SQL below its comment", self.name))?;
        let (comment, sql) = text.split_at(start);
        let mut lines = comment.lines().map(|line| line.trim_start_matches('-').trim());
        let title = lines.next().filter(|title| !title.is_empty());
        let title = title.with_context(|| format!("{} does not begin with a title in a comment", self.name))?;
        let asks = lines.next().and_then(|line| line.strip_prefix("asks: ")).and_then(|who| who.split_once('/'));
        let Some((story, asks)) = asks else {
            bail!("the second line of {} is not '-- asks: STORY/PARTY'", self.name);
        };
        let words = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        ensure!(!words.is_empty(), "the comment of {} does not say what is asked", self.name);
        ensure!(!sql.trim().is_empty(), "{} has no SQL below its comment", self.name);
        Ok(Question { title, story, asks, words, sql: sql.trim() })
    }

    /// The story, checked to exist and to have the asking party.
    ///
    /// # Errors
    /// Which name is unknown.
    pub fn story(&self) -> anyhow::Result<&'static Story> {
        let question = self.question()?;
        let story = STORIES.iter().find(|story| story.name == question.story);
        let story =
            story.with_context(|| format!("{} is of a story '{}' that there is not", self.name, question.story))?;
        ensure!(
            story.parties.iter().any(|party| party.name == question.asks),
            "{} is asked by '{}', who is no party of the story '{}'",
            self.name,
            question.asks,
            story.name
        );
        Ok(story)
    }
}

/// Runs the statements of an example in the asking party's session; the result is the last one's.
///
/// # Errors
/// The first statement that fails.
pub async fn run(ctx: &datafusion::prelude::SessionContext, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
    Ok(super::ask::ask(ctx, sql).await?.batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(text: &'static str) -> Example {
        Example { name: "00_test", text, truth: "" }
    }

    #[test]
    fn every_example_says_who_asks_and_why() {
        for example in EXAMPLES {
            let question = example.question().unwrap();
            assert!(question.words.ends_with(['.', '?']), "{}", example.name);
            assert!(question.sql.contains("PRIVATE_INTERSECT_") && !question.sql.contains("--"), "{}", example.name);
            example.story().unwrap();
        }
    }

    #[test]
    fn the_stories_examples_follow_each_other() {
        let stories: Vec<_> = EXAMPLES.iter().map(|example| example.story().unwrap().name).collect();
        let mut once = stories.clone();
        once.dedup();
        assert_eq!(once, STORIES.iter().map(|story| story.name).collect::<Vec<_>>(), "each story is started once");
    }

    #[test]
    fn comments_that_lack_something_are_named() {
        for (text, words) in [
            ("SELECT 1", "no SQL below"),
            ("-- Title\n-- asks: banks\n--\n-- Why?\nSELECT 1", "asks: STORY/PARTY"),
            ("-- Title\n-- asks: banks/westbank\nSELECT 1", "does not say what is asked"),
            ("-- Title\n-- asks: banks/westbank\n-- Why?\n \n", "no SQL below"),
        ] {
            let error = example(text).question().unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("00_test"), "{error}");
        }
        for (text, words) in [
            ("-- T\n-- asks: shops/westbank\n-- Why?\nSELECT 1", "'shops'"),
            ("-- T\n-- asks: banks/publisher\n-- Why?\nSELECT 1", "'publisher'"),
        ] {
            assert!(example(text).story().unwrap_err().to_string().contains(words));
        }
    }
}
