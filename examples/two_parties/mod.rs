//! What every example needs first: two parties with a few rows each, one of them serving.
//!
//! On one machine and in plain text, as the policies say in words; the README shows the same with certificates.

#![allow(dead_code, reason = "each example uses a part of it")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion_psi::{Asker, Budgets, Party, SystemClock, peer_server};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The folders of an advertiser, which serves its purchases for as long as this lives, and of a publisher, which asks.
pub(crate) struct TwoParties {
    folder: tempfile::TempDir,
    /// The advertiser's address.
    port: u16,
    /// Its server, which ends with this.
    servers: JoinSet<Result<(), datafusion_psi::psi::Error>>,
}

impl TwoParties {
    /// Writes both folders and starts the advertiser's server.
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let mut parties = TwoParties::on_disk().await?;
        let (advertiser, budgets) = parties.party("advertiser")?;
        let listener = TcpListener::bind(("127.0.0.1", parties.port)).await?;
        parties.servers.spawn(peer_server(&advertiser, budgets)?.serve(listener, std::future::pending()));
        Ok(parties)
    }

    /// Writes both folders; nobody serves yet.
    pub(crate) async fn on_disk() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let purchases: String =
            (0..200).map(|i| format!("shopper{i}@example.org,{}.50,{}\n", i % 90, ["toys", "books"][i % 2])).collect();
        let impressions: String = (100..300).map(|i| format!("Shopper{i}@Example.org,spring\n")).collect();
        write(folder.path(), "advertiser/purchases.csv", &format!("email,amount,category\n{purchases}"))?;
        write(folder.path(), "publisher/impressions.csv", &format!("email,campaign\n{impressions}"))?;
        write(folder.path(), "advertiser/party.toml", &ADVERTISER.replace("PORT", &port.to_string()))?;
        write(folder.path(), "publisher/party.toml", &PUBLISHER.replace("PORT", &port.to_string()))?;
        for name in ["advertiser", "publisher"] {
            Budgets::create(&Party::load(folder.path().join(name).join("party.toml"))?)?;
        }
        Ok(TwoParties { folder, port, servers: JoinSet::new() })
    }

    /// A party's policy and its books.
    pub(crate) fn party(&self, name: &str) -> Result<(Arc<Party>, Budgets), Box<dyn Error>> {
        let party = Arc::new(Party::load(self.file(name, "party.toml"))?);
        let budgets = Budgets::load(&party, Arc::new(SystemClock))?;
        Ok((party, budgets))
    }

    /// The publisher as one that asks.
    pub(crate) fn asker(&self) -> Result<Arc<Asker>, Box<dyn Error>> {
        let (publisher, budgets) = self.party("publisher")?;
        Ok(Arc::new(Asker::new(publisher, budgets)?))
    }

    /// A file of a party's folder.
    pub(crate) fn file(&self, name: &str, file: &str) -> PathBuf {
        self.folder.path().join(name).join(file)
    }
}

fn write(folder: &Path, file: &str, text: &str) -> std::io::Result<()> {
    let path = folder.join(file);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
}

const ADVERTISER: &str = r#"
[party]
name = "advertiser"

[server]
listen = "127.0.0.1:PORT"
plaintext = true

[[table]]
name = "purchases"
location = "purchases.csv"

[[peer]]
name = "publisher"
address = "grpc://127.0.0.1:1"
plaintext = true

[[share]]
table = "purchases"
with = ["publisher"]
identifiers = { email = "email/1" }
aggregates = { amount = { min = 0, max = 100, max_rows = 5, decimals = 2 } }
filter_on = ["category"]
minimum_matched = 10
[share.budget]
population = "shoppers"
queries = 10
sizes = { epsilon = 2.0 }
outputs = { epsilon = 4.0 }
"#;

const PUBLISHER: &str = r#"
[party]
name = "publisher"

[[table]]
name = "impressions"
location = "impressions.csv"

[[peer]]
name = "advertiser"
address = "grpc://127.0.0.1:PORT"
plaintext = true

[[ask]]
of = ["advertiser"]
population = "readers"
[ask.budget]
queries = 10
sizes = { epsilon = 2.0 }
"#;
