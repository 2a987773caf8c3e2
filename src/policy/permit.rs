//! What the owner of a table says to a question, decided from the question alone, whoever asks.

use arrow::datatypes::Schema;

use crate::dp;
use crate::psi::normalise::Normaliser;
use crate::psi::{self, FilteredRows, Question, WordTerms};

use super::books::{Account, Direction, Period};
use super::names;
use super::party::{Ask, Party, Peer, Share, Sizes};
use super::terms::{NotAllowed, check_parts, check_question, labels_of};

/// Leave to answer one question, and the rules for the answer.
///
/// There is no other way to get one than [`Party::permit`]. It does not look into the filter: whoever
/// evaluates it checks its expression against [`Permit::filter_on`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// The share that allows it.
    pub share: Share,
    /// The question's identifiers, in match order.
    pub identifiers: Vec<PermittedIdentifier>,
    /// The clip of each aggregate, scaled to integers, and the noise of its word, in the question's order.
    pub words: Vec<WordTerms>,
    /// The labels of the question's `group_by` column, in the order of the cells; none where it has no such column.
    pub labels: Vec<String>,
    /// The account that pays.
    pub account: Account,
}

/// One match column of a permitted question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermittedIdentifier {
    /// The share's name for it.
    pub name: String,
    /// The table's columns that it is made of.
    pub columns: Vec<String>,
    /// The normaliser of each.
    pub normaliser: Normaliser,
}

impl Permit {
    /// Columns that the filter may name.
    pub fn filter_on(&self) -> &[String] {
        &self.share.filter_on
    }

    /// Whether the question waits until its owner has approved its exact text and terms.
    pub fn needs_approval(&self) -> bool {
        self.share.approval
    }

    /// The least noisy number of matches of an answered query; 0 switches the rule off.
    pub fn minimum_matched(&self) -> u64 {
        self.share.minimum_matched
    }

    /// What the filter does to the announced length.
    pub fn filtered_rows(&self) -> FilteredRows {
        self.share.filtered_rows
    }

    /// The names of the normalisers, in match order, as the hello carries them.
    pub fn normalisers(&self) -> Vec<String> {
        self.identifiers.iter().map(|identifier| identifier.normaliser.to_string()).collect()
    }
}

/// A refused question: one text for the peer, one for the owner's log.
///
/// The peer's text says nothing that its own shares do not already show: a table that is not shared
/// with it is spoken of in the same words whether it exists or not, and so is a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the peer hears.
    pub peer: psi::Error,
    /// What the owner logs: who asked, why not, and which lines of the policy would allow it.
    pub owner: String,
}

impl From<Refusal> for psi::Error {
    /// What the peer hears; log the owner's text first.
    fn from(refusal: Refusal) -> Self {
        refusal.peer
    }
}

impl std::fmt::Display for Refusal {
    /// The owner's text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.owner)
    }
}

impl std::error::Error for Refusal {}

impl Party {
    /// The peer of that name.
    ///
    /// # Errors
    /// A refusal that says nothing but that the name is unknown.
    pub fn known_peer(&self, peer: &str) -> Result<&Peer, Refusal> {
        self.peer(peer).ok_or_else(|| {
            let peer = names::shown(peer);
            Refusal {
                peer: psi::Error::Refused(format!(
                    "'{}' knows no peer '{peer}': its owner would have to add a [[peer]] of that name",
                    self.name
                )),
                owner: format!(
                    "refused: '{peer}' is no peer; to know it, add at the end of {}: [[peer]], and in it: name = {}, \
                     address = \"grpc+tls://HOST:PORT\", certificate = \"tls/NAME.pem\"",
                    self.file.display(),
                    names::toml_text(&peer)
                ),
            }
        })
    }

    /// The share by which a peer sees a table.
    ///
    /// # Errors
    /// A refusal; its text for the peer does not depend on whether there is such a table.
    pub fn shared_table(&self, peer: &str, table: &str) -> Result<&Share, Refusal> {
        self.known_peer(peer)?;
        self.share(peer, table).ok_or_else(|| {
            let shown = names::shown(table);
            let file = self.file.display();
            let quoted = names::toml_text(&shown);
            let others: Vec<&Share> = self.shares.iter().filter(|share| share.table == table).collect();
            let known = self.table(table);
            let why = match known {
                None => "no [[table]] has that name".to_owned(),
                Some(table) if others.is_empty() => {
                    format!("it is the [[table]] of line {}, shared with nobody", table.line)
                }
                Some(table) => {
                    let others: Vec<String> = others
                        .iter()
                        .map(|share| {
                            let with = names::listed(share.with.iter().map(String::as_str));
                            format!("the [[share]] of line {} shows it to {with}", share.lines.share)
                        })
                        .collect();
                    format!("it is the [[table]] of line {}; {}", table.line, others.join("; "))
                }
            };
            let add = match others.first() {
                Some(share) => {
                    let with: Vec<String> =
                        share.with.iter().map(String::as_str).chain([peer]).map(names::toml_text).collect();
                    format!("to allow it by the same rules, write at {file}:{}: with = [{}]", share.lines.with, with.join(", "))
                }
                None => {
                    let table = match known {
                        Some(_) => String::new(),
                        None => format!("[[table]], and in it: name = {quoted}, location = \"FILES\"; "),
                    };
                    format!(
                        "to allow it, add at the end of {file}: {table}[[share]], and in it: table = {quoted}, with = [{}], \
                         identifiers = {{ COLUMN = \"exact/1\" }}; [share.budget], and in it: population = \"NAME\", queries = 10, \
                         sizes = {{ epsilon = 2.0 }}, outputs = {{ epsilon = 4.0 }}",
                        names::toml_text(peer)
                    )
                }
            };
            Refusal {
                peer: psi::Error::Refused(format!(
                    "'{}' shares no table '{shown}' with '{peer}'; to allow it, its owner would have to add to party.toml: \
                     [[share]] with table = {quoted}, with = [{}]",
                    self.name,
                    names::toml_text(peer)
                )),
                owner: format!("refused '{peer}': '{shown}' is not shared with it ({why}); {add}"),
            }
        })
    }

    /// Whether a peer may ask a question, and the rules for the answer.
    ///
    /// `table` is the schema of the table that the question names (empty if there is none; it is then
    /// not looked at), `normalisers` those that the offer names, one per identifier, and `parts` how many groups of its own
    /// the asker has formed: 1 for a question without.
    ///
    /// # Errors
    /// A refusal, decided by the question, the policy and the columns' types alone: `Refused`,
    /// or `Incompatible` where the two sides would normalise differently.
    pub fn permit(
        &self,
        peer: &str,
        question: &Question,
        table: &Schema,
        normalisers: &[String],
        parts: usize,
    ) -> Result<Permit, Refusal> {
        let share = self.shared_table(peer, &question.table)?;
        let refused = |reason: &NotAllowed| self.refuse(share, peer, reason);
        let terms = share.terms();
        let words = check_question(&terms, question, table).map_err(|reason| refused(&reason))?;
        let formed = u32::try_from(parts).unwrap_or(u32::MAX);
        check_parts(&terms, formed).map_err(|reason| refused(&reason))?;
        self.check_columns(share, table).map_err(|error| Refusal {
            peer: psi::Error::Refused(format!(
                "'{}' cannot answer: its table '{}' no longer fits the terms by which it is shared; its owner's log says where",
                self.name, share.table
            )),
            owner: format!("refused '{peer}': {error}"),
        })?;
        for (aggregate, word) in question.aggregates.iter().zip(&words) {
            let fits = dp::Clip::new(word.min, word.max).map_err(|reason| reason.to_string()).and_then(|clip| {
                dp::word_width(share.persons_max, clip, word.noise.tail()).map_err(|reason| reason.to_string())
            });
            if let Err(reason) = fits {
                return Err(refused(&NotAllowed {
                    what: format!("{} over '{}': {reason}", aggregate.aggregate.in_words(), share.table),
                    remedy: None,
                }));
            }
        }
        let identifiers = self.match_columns(share, peer, question, normalisers)?;
        Ok(Permit {
            identifiers,
            words,
            labels: labels_of(&terms, question).to_vec(),
            account: Account::answering(peer, &share.budget.population),
            share: share.clone(),
        })
    }

    /// The question's identifiers, each with the normaliser that both sides use.
    fn match_columns(
        &self,
        share: &Share,
        peer: &str,
        question: &Question,
        normalisers: &[String],
    ) -> Result<Vec<PermittedIdentifier>, Refusal> {
        if normalisers.len() != question.identifiers.len() {
            let reason = format!("{} normalisers for {} identifiers", normalisers.len(), question.identifiers.len());
            return Err(self.refuse(share, peer, &NotAllowed { what: reason, remedy: None }));
        }
        let mut identifiers = Vec::with_capacity(normalisers.len());
        for (name, theirs) in question.identifiers.iter().zip(normalisers) {
            let Some(identifier) = share.identifier(name) else {
                let what = format!("'{}' may not be matched by '{}'", share.table, names::shown(name));
                return Err(self.refuse(share, peer, &NotAllowed { what, remedy: None }));
            };
            let ours = identifier.normaliser;
            if !theirs.parse::<Normaliser>().is_ok_and(|theirs| same_spelling(theirs, ours)) {
                let theirs = names::shown(theirs);
                return Err(Refusal {
                    peer: psi::Error::Incompatible(format!(
                        "'{}' normalises '{}' of '{}' by {ours}, the query by '{theirs}': equal identifiers would not match; \
                         use {ours} on both sides",
                        self.name, identifier.name, share.table
                    )),
                    owner: format!(
                        "refused '{peer}': it normalises '{}' of '{}' by '{theirs}', {}:{} by {ours}",
                        identifier.name,
                        share.table,
                        self.file.display(),
                        identifier.line
                    ),
                });
            }
            identifiers.push(PermittedIdentifier {
                name: name.clone(),
                columns: identifier.columns.clone(),
                normaliser: ours,
            });
        }
        Ok(identifiers)
    }

    /// What the terms of a share say against a question, as a refusal: the peer hears the rule and the key to ask
    /// for, the owner's log the lines to write and where.
    pub fn refuse(&self, share: &Share, peer: &str, reason: &NotAllowed) -> Refusal {
        let owner = match &reason.remedy {
            None => String::new(),
            Some(remedy) => {
                let (lines, text, key) = (&share.lines, &remedy.text, remedy.key);
                let (there, grows) = match key {
                    "identifiers" => (Some(lines.identifiers), true),
                    "aggregates" => (lines.aggregates, true),
                    "group_by" => (lines.group_by, true),
                    "requester_values" => (lines.requester_values, false),
                    "filter_on" => (lines.filter_on, false),
                    "max_parts" => (lines.max_parts, false),
                    _ => (None, false),
                };
                let file = self.file.display();
                match there {
                    Some(line) if grows => format!("; to allow it, add to {key} at {file}:{line}: {text}"),
                    Some(line) => format!("; to allow it, write at {file}:{line}: {text}"),
                    None => {
                        let line = if grows { format!("{key} = {{ {text} }}") } else { text.clone() };
                        format!("; to allow it, add to the [[share]] at {file}:{}: {line}", lines.share)
                    }
                }
            }
        };
        Refusal {
            peer: psi::Error::Refused(format!("'{}' refuses: {reason}", self.name)),
            owner: format!("refused '{peer}': {}{owner}", reason.what),
        }
    }

    /// That a question waits for its owner's approval, known by `id` until then.
    pub fn hold(&self, share: &Share, peer: &str, id: &str) -> Refusal {
        let (table, id) = (&share.table, names::shown(id));
        let file = self.file.display();
        let line = share.lines.approval.unwrap_or(share.lines.share);
        Refusal {
            peer: psi::Error::Refused(format!(
                "'{}' answers questions about '{table}' only once its operator has approved their exact text and terms: this one \
                 waits as {id}; ask again once it is approved (`datafusion-psi approve --config party.toml {id}` there)",
                self.name
            )),
            owner: format!(
                "held a question of '{peer}' about '{table}' as {id}, by {file}:{line}: approval = \"required\"; to allow this one: \
                 datafusion-psi approve --config {file} {id}; to allow all, write at {file}:{line}: approval = \"none\""
            ),
        }
    }

    /// Which lines of the policy would give an account more: for its owner, and `None` for an account that the policy
    /// lacks.
    pub fn more_budget(&self, account: &Account) -> Option<String> {
        let budget = match account.direction {
            Direction::Answering => {
                let mut shares = self.shares_with(&account.peer);
                shares.find(|share| share.budget.population == account.population).map(|share| &share.budget)
            }
            Direction::Asking => {
                let mut asks = self.asks.iter().filter(|ask| ask.of.contains(&account.peer));
                asks.find(|ask| ask.budget.population == account.population).map(|ask| &ask.budget)
            }
        }?;
        let mut private = Vec::new();
        if budget.sizes != Sizes::Exact {
            private.push("sizes");
        }
        if account.direction == Direction::Answering && budget.written.is_some() {
            private.push("outputs");
        }
        let epsilon = match private.is_empty() {
            true => String::new(),
            false => format!(", with a larger epsilon in {}", private.join(" and ")),
        };
        let renew = match budget.period {
            Period::Forever => ", or add period = \"month\", so that it renews",
            _ => "",
        };
        Some(format!(
            "to allow more, write at {}:{}: queries = {}{epsilon}{renew}",
            self.file.display(),
            budget.queries_line,
            budget.queries.saturating_mul(2)
        ))
    }

    /// What this party gives away when it asks a peer.
    ///
    /// # Errors
    /// `Refused`, by this party's own policy, with the lines to add.
    pub fn may_ask(&self, peer: &str) -> Result<&Ask, psi::Error> {
        self.asks.iter().find(|ask| ask.of.iter().any(|of| of == peer)).ok_or_else(|| {
            psi::Error::Refused(format!(
                "this party's own policy does not let it ask '{}'; to allow it, add at the end of {}: [[ask]], and in it: of = [{}], \
                 population = \"NAME\"; [ask.budget], and in it: queries = 100, sizes = {{ epsilon = 2.0 }}",
                names::shown(peer),
                self.file.display(),
                names::toml_text(&names::shown(peer))
            ))
        })
    }
}

/// Whether two normalisers spell the same identifier alike. The region of `phone/1` is each side's own:
/// it completes numbers that lack a country code, and the result names its country either way.
fn same_spelling(one: Normaliser, other: Normaliser) -> bool {
    matches!((one, other), (Normaliser::Phone(_), Normaliser::Phone(_))) || one == other
}
