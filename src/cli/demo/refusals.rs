//! What is refused, one question of each kind, asked for real: the error is what an analyst would read.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use datafusion::prelude::SessionContext;

use super::ask;
use super::print;
use super::report;
use super::stories::{Setting, Story};
use crate::cli::print::error_line;
use crate::policy::{Budgets, Party, SystemClock};
use crate::sql::Asker;
use crate::transport::tls;

/// A question that has to be refused.
#[derive(Debug)]
pub(super) struct Refused {
    /// The rule, in a sentence.
    pub(super) why: &'static str,
    /// Who asks.
    pub(super) asks: &'static str,
    pub(super) sql: &'static str,
    /// Whether it is refused by `minimum_matched`, which small demos do without.
    pub(super) by_minimum: bool,
}

/// Asks every question of a story that has to be refused.
///
/// # Errors
/// If one is answered.
pub(super) async fn all(
    story: &Story,
    setting: &Setting,
    sessions: &std::collections::BTreeMap<&str, SessionContext>,
) -> anyhow::Result<()> {
    for (number, refused) in
        story.refused.iter().filter(|refused| !refused.by_minimum || setting.minimum_matched > 0).enumerate()
    {
        let ctx = sessions.get(refused.asks).with_context(|| format!("'{}' has asked nothing", refused.asks))?;
        print(&report::refused(number == 0, refused.asks, story.other(refused.asks), refused.why, refused.sql))?;
        expect(ask::ask(ctx, refused.sql).await, refused.sql)?;
    }
    Ok(())
}

/// The question is held until the owner's operator has approved it, which this does in that operator's place.
///
/// # Errors
/// If it is not held, or cannot be approved.
pub(super) async fn held(
    story: &Story,
    folder: &Path,
    asks: &str,
    sql: &str,
    error: &anyhow::Error,
) -> anyhow::Result<()> {
    let owner = story.other(asks);
    let policy = story.policy(folder, owner);
    let budgets = Budgets::load(&Party::load(&policy)?, Arc::new(SystemClock))?;
    let pending = budgets.pending()?;
    let [held] = pending.as_slice() else {
        bail!("a question of '{asks}' was not answered: {}\n{sql}", error_line(error));
    };
    let approved = budgets.approve(&held.id)?;
    print(&report::held(asks, owner, &error_line(error), &approved.id, &policy))
}

/// Somebody whom the answering party does not know, with keys of its own.
///
/// # Errors
/// If it is answered.
pub(super) async fn stranger(story: &Story, folder: &Path) -> anyhow::Result<()> {
    let Some(asked) = story.stranger_asks else { return Ok(()) };
    let known = Party::load(story.policy(folder, story.other(asked)))?;
    let peer = known.peer(asked).with_context(|| format!("nobody knows '{asked}'"))?;
    let root = folder.join(story.name).join("stranger");
    let keys = root.join("tls");
    for old in [&keys, &root.join("state")] {
        if old.exists() {
            std::fs::remove_dir_all(old).with_context(|| format!("{} cannot be removed", old.display()))?;
        }
    }
    std::fs::create_dir_all(&keys).with_context(|| format!("{} cannot be created", keys.display()))?;
    tls::write(&keys, "stranger")?;
    let certificate = keys.join(format!("{asked}.pem"));
    let from = peer.certificates.first().context("the peer has a certificate")?;
    std::fs::copy(from, &certificate).with_context(|| format!("{} cannot be written", certificate.display()))?;
    let policy = root.join("party.toml");
    let text = format!(
        "# Knows {asked}'s address and certificate, and is not known there.\n\n[party]\nname = \"stranger\"\n\
         certificate = \"tls/stranger.pem\"\nkey = \"tls/stranger.key\"\n\n[[peer]]\nname = \"{asked}\"\n\
         address = \"{}\"\ncertificate = \"tls/{asked}.pem\"\n",
        peer.address
    );
    std::fs::write(&policy, text).with_context(|| format!("{} cannot be written", policy.display()))?;
    let party = Arc::new(Party::load(&policy)?);
    Budgets::create(&party)?;
    let why =
        format!("{asked} knows its peers by their certificates: whoever shows another one learns nothing at all.");
    print(&report::refused(false, "stranger", asked, &why, &format!("-- What does {asked} share?")))?;
    let asker = Asker::new(Arc::clone(&party), Budgets::load(&party, Arc::new(SystemClock))?)?;
    for (_, listed) in asker.ask_all_for_shares().await {
        match listed {
            Ok(_) => bail!("a stranger was told what '{asked}' shares"),
            Err(error) => print(&report::refusal(&error.to_string()))?,
        }
    }
    Ok(())
}

fn expect(asked: anyhow::Result<ask::Asked>, sql: &str) -> anyhow::Result<()> {
    match asked {
        Ok(_) => bail!("a question was answered that has to be refused: {sql}"),
        Err(error) => print(&report::refusal(&error_line(&error))),
    }
}
