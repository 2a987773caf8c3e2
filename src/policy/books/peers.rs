//! Chain heads between two parties: what each tells the other, and what it keeps of it. The argument is in the
//! document of the books.

use rusqlite::{Connection, OptionalExtension, params};

use super::audit::{self, Event};
use super::clock::millis;
use super::error::Trouble;
use super::{Budgets, CHAIN_LINKS_MAX, ChainLink, chain};
use crate::psi::{self, PeerMisbehaved};

/// How long a hello may be on its way while a later one overtakes it. Sessions between the same two parties run side
/// by side, in several processes, and nothing orders their hellos.
const LATE_MILLIS_MAX: i64 = 120_000;

impl Budgets {
    /// This party's chain about a peer, as its next hello tells it, newest first: the head, and every head that
    /// was told since the last one that the peer is known to have kept. At most [`CHAIN_LINKS_MAX`]: with that many
    /// unconfirmed, no newer one is told until one is confirmed, so that what the peer keeps is always among them.
    ///
    /// # Errors
    /// `Environment`: the ledger could not be read or written.
    pub fn chain(&self, peer: &str) -> Result<Vec<ChainLink>, psi::Error> {
        let ledger = self.ledger();
        let identity = &ledger.identity;
        let mut links = self.worded(ledger.read(|look| told(look, identity, peer)))?;
        if links.0.first() != Some(&links.1) && links.0.len() < CHAIN_LINKS_MAX {
            links = self.worded(ledger.write(|change| {
                let (mut links, head) = told(change, identity, peer)?;
                if links.first() != Some(&head) && links.len() < CHAIN_LINKS_MAX {
                    change.prepare("INSERT INTO told (peer, seq, hash) VALUES (?1, ?2, ?3)")?.execute(params![
                        peer,
                        head.seq as i64,
                        head.hash
                    ])?;
                    links.insert(0, head);
                }
                Ok((links, head))
            }))?;
        }
        Ok(links.0)
    }

    /// The peer has kept `link`, the newest of a chain that it was told: for the requester once the answer is there, for
    /// the responder once the confirmation is. Older ones need not be told again.
    ///
    /// # Errors
    /// `Environment`: the ledger could not be written.
    pub fn confirm_chain(&self, peer: &str, link: &ChainLink) -> Result<(), psi::Error> {
        let seq = link.seq as i64;
        let ledger = self.ledger();
        let older = "FROM told WHERE peer = ?1 AND seq < ?2 \
                     AND EXISTS (SELECT 1 FROM told AS kept WHERE kept.peer = ?1 AND kept.seq = ?2 AND kept.hash = ?3)";
        let any = ledger.read(|look| {
            Ok(look
                .query_row(&format!("SELECT 1 {older} LIMIT 1"), params![peer, seq, link.hash], |_| Ok(()))
                .optional()?)
        });
        if self.worded(any)?.is_some() {
            let deleted =
                ledger.write(|change| Ok(change.execute(&format!("DELETE {older}"), params![peer, seq, link.hash])?));
            self.worded(deleted)?;
        }
        Ok(())
    }

    /// Holds a peer's chain, as its hello tells it, against what it told before, and keeps the newest link.
    ///
    /// # Errors
    /// `Refused` where the chain lacks the newest link that this party keeps, or has another hash at a number
    /// that it told before: one of the two ledgers is not the one that it was. `Peer` where it is no chain.
    /// `Environment`: the ledger could not be read or written.
    pub fn keep_chain(&self, peer: &str, links: &[ChainLink]) -> Result<(), psi::Error> {
        let ordered = links.windows(2).all(|pair| pair[0].seq > pair[1].seq);
        let Some(newest) = links
            .first()
            .filter(|newest| ordered && links.len() <= CHAIN_LINKS_MAX && i64::try_from(newest.seq).is_ok())
        else {
            let reason = format!("is no chain of 1 to {CHAIN_LINKS_MAX} links, newest first");
            return Err(PeerMisbehaved::Hello { message: "hello", field: "chain".to_owned(), reason }.into());
        };
        let ledger = self.ledger();
        let known = ledger.read(|look| {
            let now = millis(ledger.now(look)?);
            check(&kept(look, peer)?, links, now).map_err(|seq| rolled_back(peer, seq).into())
        });
        if self.worded(known)? == Verdict::Known {
            return Ok(());
        }
        let done = ledger.write(|change| {
            let now = millis(ledger.now(change)?);
            check(&kept(change, peer)?, links, now).map_err(|seq| Trouble::from(rolled_back(peer, seq)))?;
            let mut insert = change
                .prepare("INSERT INTO kept (peer, seq, hash, at_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?;
            for link in links {
                insert.execute(params![peer, link.seq as i64, link.hash, now])?;
            }
            change.execute(
                "DELETE FROM kept WHERE peer = ?1 AND seq NOT IN \
                 (SELECT seq FROM kept WHERE peer = ?1 ORDER BY seq DESC LIMIT ?2)",
                params![peer, 2 * CHAIN_LINKS_MAX as i64],
            )?;
            Ok(())
        });
        self.worded(done)?;
        tracing::debug!(peer, seq = newest.seq, "kept the peer's chain");
        Ok(())
    }

    /// Accepts that a peer's ledger is another one: the next hello's chain is kept, whatever it is. The audit says so.
    ///
    /// # Errors
    /// `Environment`: the ledger could not be written.
    pub fn forgive_chain(&self, peer: &str) -> Result<(), psi::Error> {
        let ledger = self.ledger();
        let done = ledger.write(|change| {
            let forgotten = kept(change, peer)?.first().map_or(0, |kept| kept.link.seq);
            change.execute("DELETE FROM kept WHERE peer = ?1", [peer])?;
            let outcome = format!("the peer's chain, kept up to {forgotten}, may begin anew");
            audit::append(change, ledger, peer, Event::Forgiven, [("outcome", outcome.into())])
        });
        self.worded(done)
    }
}

/// What a peer was told and may keep, newest first, and the chain's head.
fn told(connection: &Connection, identity: &[u8; 32], peer: &str) -> Result<(Vec<ChainLink>, ChainLink), Trouble> {
    let head = chain::head(connection, identity, peer)?;
    let links = connection
        .prepare("SELECT seq, hash FROM told WHERE peer = ?1 ORDER BY seq DESC")?
        .query_map([peer], chain::read_link)?
        .collect::<Result<_, _>>()?;
    Ok((links, head))
}

/// A link that a peer told, and when it did.
struct Kept {
    link: ChainLink,
    at: i64,
}

/// What a peer told so far, newest first.
fn kept(connection: &Connection, peer: &str) -> Result<Vec<Kept>, Trouble> {
    let kept = connection
        .prepare("SELECT seq, hash, at_ms FROM kept WHERE peer = ?1 ORDER BY seq DESC")?
        .query_map([peer], |row| Ok(Kept { link: chain::read_link(row)?, at: row.get(2)? }))?
        .collect::<Result<_, _>>()?;
    Ok(kept)
}

/// What a chain says of the ledger behind it, beside that it is whole.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing new.
    Known,
    /// Links to keep.
    News,
}

/// Whether a chain goes on from what is kept; if not, the number of the link that it lacks or contradicts.
fn check(kept: &[Kept], links: &[ChainLink], now: i64) -> Result<Verdict, u64> {
    for link in links {
        if kept.iter().any(|kept| kept.link.seq == link.seq && kept.link.hash != link.hash) {
            return Err(link.seq);
        }
    }
    let Some(newest) = kept.first() else { return Ok(Verdict::News) };
    if !links.contains(&newest.link) {
        let late = (0..LATE_MILLIS_MAX).contains(&now.saturating_sub(newest.at));
        if !(late && links.iter().all(|link| link.seq < newest.link.seq)) {
            return Err(newest.link.seq);
        }
    }
    let known = |link: &ChainLink| kept.iter().any(|kept| kept.link == *link);
    // Links below all that is kept would be dropped again.
    let floor = kept.last().map_or(0, |oldest| oldest.link.seq);
    let news = links.iter().any(|link| !known(link) && (link.seq > floor || kept.len() < 2 * CHAIN_LINKS_MAX));
    Ok(if news { Verdict::News } else { Verdict::Known })
}

fn rolled_back(peer: &str, seq: u64) -> psi::Error {
    psi::Error::Refused(format!(
        "the ledger of '{peer}' is not the one that told its entry {seq}: it was rolled back to an old copy or made anew, \
         or the ledger of this party was. Ask the operator of '{peer}' why; to go on with the ledgers as they are, run \
         `datafusion-psi ledger --config party.toml --forgive {peer}` here"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(seq: u64, branch: u8) -> ChainLink {
        ChainLink { seq, hash: [branch; 32] }
    }

    fn kept(links: &[(u64, u8)], at: i64) -> Vec<Kept> {
        links.iter().map(|(seq, branch)| Kept { link: link(*seq, *branch), at }).collect()
    }

    #[test]
    fn a_chain_that_goes_on_is_news_and_one_that_was_told_is_not() {
        let before = kept(&[(3, 0), (1, 0)], 0);
        assert_eq!(check(&before, &[link(5, 0), link(3, 0)], 0), Ok(Verdict::News));
        assert_eq!(check(&before, &[link(3, 0), link(1, 0)], i64::MAX), Ok(Verdict::Known));
        assert_eq!(check(&[], &[link(9, 0)], 0), Ok(Verdict::News));
    }

    #[test]
    fn an_overtaken_hello_is_no_rollback_and_an_old_one_is() {
        let before = kept(&[(3, 0), (1, 0)], 1000);
        assert_eq!(check(&before, &[link(1, 0)], 1000), Ok(Verdict::Known));
        assert_eq!(check(&before, &[link(2, 0), link(1, 0)], 1000 + LATE_MILLIS_MAX - 1), Ok(Verdict::News));
        assert_eq!(check(&before, &[link(2, 0), link(1, 0)], 1000 + LATE_MILLIS_MAX), Err(3));
        assert_eq!(check(&before, &[link(1, 0)], 999), Err(3), "nor where the clock ran back");
    }

    #[test]
    fn a_fork_shows_at_once() {
        let before = kept(&[(3, 0), (1, 0)], 1000);
        assert_eq!(check(&before, &[link(3, 7), link(1, 0)], 1000), Err(3), "another entry of the same number");
        assert_eq!(
            check(&before, &[link(4, 7), link(1, 0)], 1000),
            Err(3),
            "a newer one that does not go on from ours"
        );
        assert_eq!(check(&before, &[link(5, 0), link(3, 0), link(1, 7)], 1000), Err(1));
    }
}
