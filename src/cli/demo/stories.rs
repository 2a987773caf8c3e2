//! Three stories of two parties each: folders with a policy and tables.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::generate::{self, Generated, write_parquet};
use super::refusals::Refused;
use crate::policy::{Budgets, Party};
use crate::transport::tls;

/// Two parties that have people in common.
#[derive(Debug)]
pub struct Story {
    /// Its name, which is its folder's.
    pub name: &'static str,
    /// A heading.
    pub title: &'static str,
    /// Who has what, and who wants to know what, in a sentence or two.
    pub about: &'static str,
    /// The parties.
    pub parties: [PartyOutline; 2],
    tables: fn(&mut generate::Draw, u64) -> anyhow::Result<Vec<Generated>>,
    /// One question of each kind that is refused here.
    pub(super) refused: &'static [Refused],
    /// Whose questions wait for the other side's approval, where the setting wants that.
    pub(super) approval_for: Option<&'static str>,
    /// Whom somebody asks who is not known there.
    pub(super) stranger_asks: Option<&'static str>,
}

/// A party of a story.
#[derive(Debug)]
pub struct PartyOutline {
    /// Its name, which is its folder's.
    pub name: &'static str,
    /// Its party.toml, with capitals where the setting goes.
    policy: &'static str,
}

/// What the files of a story depend on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Rows of a main table.
    pub rows: u64,
    /// For the invented data: equal seeds give equal data.
    pub seed: u64,
    /// Loopback ports of the parties, in their order.
    pub ports: [u16; 2],
    /// Epsilon of the noise on the numbers of matches.
    pub epsilon: f64,
    /// What the shares say of the noise on the answers, as TOML.
    pub outputs: &'static str,
    /// Whether one share wants to see new questions first: `required`, `none`.
    pub approval: &'static str,
    /// The least number of matches of an answered query.
    pub minimum_matched: u64,
}

/// The stories, in the order of their examples.
pub const STORIES: &[Story] = &[
    Story {
        name: "advertising",
        title: "Advertising",
        about: "A publisher knows who saw which advertisement, an advertiser who bought what. Did the advertisements \
                sell anything? Both know people by e-mail address, phone number and device, not always all three, and \
                in many spellings.",
        parties: [
            PartyOutline { name: "publisher", policy: include_str!("policies/publisher.toml") },
            PartyOutline { name: "advertiser", policy: include_str!("policies/advertiser.toml") },
        ],
        tables: generate::advertising,
        refused: &[
            Refused {
                why: "No row of a peer's table arrives here, not even one.",
                asks: "publisher",
                sql: "SELECT email, amount FROM advertiser.purchases",
                by_minimum: false,
            },
            Refused {
                why: "A filter is a question too: the share says on which columns.",
                asks: "publisher",
                sql: "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i\n\
                      JOIN advertiser.purchases p ON i.email = p.email WHERE p.amount > 200",
                by_minimum: false,
            },
            Refused {
                why: "Only columns with bounds for one person can be summed.",
                asks: "publisher",
                sql: "SELECT PRIVATE_INTERSECT_SUM(p.order_id) FROM impressions i\n\
                      JOIN advertiser.purchases p ON i.email = p.email",
                by_minimum: false,
            },
            Refused {
                why: "People are matched by the identifiers of the share and by nothing else.",
                asks: "publisher",
                sql: "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i\n\
                      JOIN advertiser.purchases p ON i.campaign = p.category",
                by_minimum: false,
            },
        ],
        approval_for: None,
        stranger_asks: None,
    },
    Story {
        name: "health",
        title: "Health",
        about: "An institute knows who takes part in its studies, an insurer who was in hospital. Does the treatment \
                help? They know people by insurance number, or by surname and date of birth together.",
        parties: [
            PartyOutline { name: "institute", policy: include_str!("policies/institute.toml") },
            PartyOutline { name: "insurer", policy: include_str!("policies/insurer.toml") },
        ],
        tables: generate::health,
        refused: &[Refused {
            why: "Values of the asker's own are summed over the matches only where the share says so.",
            asks: "institute",
            sql: "SELECT PRIVATE_INTERSECT_COUNT(p.arm) FROM participants p\n\
                  JOIN insurer.hospital_stays s ON p.insurance_number = s.insurance_number",
            by_minimum: false,
        }],
        approval_for: None,
        stranger_asks: None,
    },
    Story {
        name: "banks",
        title: "Banks",
        about: "Two banks watch some of their customers. How many do both watch, and how much money did these move? \
                Neither may tell the other whom it suspects.",
        parties: [
            PartyOutline { name: "westbank", policy: include_str!("policies/westbank.toml") },
            PartyOutline { name: "eastbank", policy: include_str!("policies/eastbank.toml") },
        ],
        tables: generate::banks,
        refused: &[
            Refused {
                why: "A question about too few people is not answered, by the noisy number of matches. It has cost a question.",
                asks: "westbank",
                sql: "SELECT PRIVATE_INTERSECT_COUNT(*) FROM (SELECT * FROM flagged LIMIT 5) f\n\
                      JOIN eastbank.flagged_accounts a ON f.tax_number = a.tax_number",
                by_minimum: true,
            },
            Refused {
                why: "What a party gives away when it asks has a budget as well: eastbank's is two questions, and used up.",
                asks: "eastbank",
                sql: "SELECT PRIVATE_INTERSECT_COUNT(*) FROM transfers t\n\
                      JOIN westbank.flagged f ON t.tax_number = f.tax_number",
                by_minimum: false,
            },
        ],
        approval_for: Some("eastbank"),
        stranger_asks: Some("westbank"),
    },
];

/// A table that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenTable {
    /// The party's name.
    pub party: &'static str,
    /// The table's name.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
}

impl Story {
    /// The party.toml of a party, where `root` is the demo's folder.
    pub fn policy(&self, root: &Path, party: &str) -> PathBuf {
        self.folder(root, party).join("party.toml")
    }

    fn folder(&self, root: &Path, party: &str) -> PathBuf {
        root.join(self.name).join(party)
    }

    /// The party of the story that is not `party`.
    pub fn other(&self, party: &str) -> &'static str {
        let [one, two] = [self.parties[0].name, self.parties[1].name];
        if party == one { two } else { one }
    }

    /// Writes both parties' folders: keys, policies, empty ledgers and tables. What an earlier demo left of keys and
    /// ledgers is removed.
    ///
    /// # Errors
    /// The file that cannot be written.
    pub fn write(&self, root: &Path, setting: &Setting) -> anyhow::Result<Vec<WrittenTable>> {
        for party in &self.parties {
            let folder = self.folder(root, party.name);
            for old in ["tls", "state"].map(|name| folder.join(name)) {
                if old.exists() {
                    std::fs::remove_dir_all(&old).with_context(|| format!("{} cannot be removed", old.display()))?;
                }
            }
            let keys = folder.join("tls");
            std::fs::create_dir_all(&keys).with_context(|| format!("{} cannot be created", keys.display()))?;
            tls::write(&keys, party.name)?;
        }
        for party in &self.parties {
            let (own, other) = (self.folder(root, party.name), self.other(party.name));
            let certificate = format!("{other}.pem");
            let from = self.folder(root, other).join("tls").join(&certificate);
            std::fs::copy(&from, own.join("tls").join(&certificate))
                .with_context(|| format!("{} cannot be given to '{}'", from.display(), party.name))?;
        }
        let [one, two] = setting.ports;
        for (party, own, peer) in [(&self.parties[0], one, two), (&self.parties[1], two, one)] {
            let path = self.policy(root, party.name);
            let policy = party
                .policy
                .replace("OWN_PORT", &own.to_string())
                .replace("PEER_PORT", &peer.to_string())
                .replace("MINIMUM", &setting.minimum_matched.to_string())
                .replace("SHARE_EPSILON", &format!("{:?}", setting.epsilon))
                .replace("OUTPUTS", setting.outputs)
                .replace("APPROVAL", setting.approval)
                // Half of it is for the padded number of persons.
                .replace("ASK_EPSILON", &format!("{:?}", 2.0 * setting.epsilon));
            std::fs::write(&path, policy).with_context(|| format!("{} cannot be written", path.display()))?;
            Budgets::create(&Party::load(&path)?)?;
        }
        let mut written = Vec::new();
        for Generated { party, table, rows } in (self.tables)(&mut generate::Draw::new(setting.seed), setting.rows)? {
            write_parquet(&root.join(self.name).join(party).join("data").join(table), &rows)?;
            written.push(WrittenTable { party, table, rows: rows.num_rows() as u64 });
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_one_that_serve_accepts_and_names_the_tables_that_are_written() {
        let root = tempfile::tempdir().unwrap();
        let setting = Setting {
            rows: 500,
            seed: 1,
            ports: [50_051, 50_052],
            epsilon: 2.0,
            outputs: "{ epsilon = 20.0 }",
            approval: "required",
            minimum_matched: 50,
        };
        for story in STORIES {
            let written = story.write(root.path(), &setting).unwrap();
            for (index, outline) in story.parties.iter().enumerate() {
                let party = Party::load(story.policy(root.path(), outline.name)).unwrap();
                assert_eq!(party.name, outline.name);
                assert_eq!(party.server.as_ref().unwrap().listen.port(), setting.ports[index]);
                assert_eq!(party.peers[0].name, story.other(outline.name));
                let named: Vec<_> = party.tables.iter().map(|table| table.name.as_str()).collect();
                let tables: Vec<_> = written.iter().filter(|table| table.party == outline.name).collect();
                assert_eq!(named, tables.iter().map(|table| table.table).collect::<Vec<_>>());
                assert!(tables.iter().all(|table| table.rows >= 100), "{tables:?}");
            }
        }
    }
}
