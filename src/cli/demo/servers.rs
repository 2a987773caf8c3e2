//! The parties' servers: real processes of this binary, which never outlive the demo.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use crate::policy::Party;
use crate::sql::Keys;
use crate::transport::Deadlines;

/// How long a server may take until it answers: on a busy machine it opens its tables first.
const START_MAX: Duration = Duration::from_secs(30);
const START_PAUSE: Duration = Duration::from_millis(40);

/// Loopback ports that are free now. They are all held until the last is known, so that no two are the same.
pub(super) fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no loopback port is free")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// `datafusion-psi serve` for one party, stopped when this is dropped.
pub(super) struct Server {
    party: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it. Its log goes to `serve.log` beside the policy.
    pub(super) fn start(binary: &Path, policy: &Path, party: &str) -> anyhow::Result<Server> {
        let log = policy.with_file_name("serve.log");
        let output = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let child = Command::new(binary)
            .arg("serve")
            .arg("--config")
            .arg(policy)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .with_context(|| format!("'{party}' cannot be started: {} does not run", binary.display()))?;
        Ok(Server { party: party.to_owned(), child, log })
    }

    /// Waits until it answers `asker`, who is its peer.
    ///
    /// # Errors
    /// If it ends, or takes too long; with the last line of its log.
    pub(super) async fn answers(&mut self, asker: &Party) -> anyhow::Result<()> {
        let known =
            asker.peer(&self.party).with_context(|| format!("'{}' does not know '{}'", asker.name, self.party))?;
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!(
                    "the server of '{}' ended ({status}): {}",
                    self.party,
                    log.lines().last().unwrap_or("no word in its log")
                );
            }
            let peer = Keys::of(asker)?.link(asker, known, Deadlines::default())?;
            match peer.shares().await {
                Ok(_) => return Ok(()),
                Err(error) if began.elapsed() > START_MAX => {
                    return Err(anyhow!(error))
                        .with_context(|| format!("the server of '{}' does not answer", self.party));
                }
                Err(_) => tokio::time::sleep(START_PAUSE).await,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It keeps nothing on disk that an abrupt end could hurt; that it has ended already is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_all_different() {
        let ports = free_ports::<6>().unwrap();
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
            assert_eq!(ports.iter().filter(|other| **other == port).count(), 1);
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_server_that_ends_is_reported_with_its_last_words_and_one_that_runs_is_stopped() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let party = Party::parse(
            "[party]\nname = \"asker\"\n[[peer]]\nname = \"other\"\naddress = \"grpc://127.0.0.1:9\"\nplaintext = true\n",
            folder.path().join("party.toml"),
        )
        .unwrap();
        let script = |name: &str, body: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            path
        };
        let policy = folder.path().join("party.toml");
        let fails = script("fails.sh", "echo 'no such table' >&2\nexit 1");
        let error = Server::start(&fails, &policy, "other").unwrap().answers(&party).await.unwrap_err().to_string();
        assert!(error.contains("'other' ended") && error.contains("no such table"), "{error}");
        let waits = script("waits.sh", "exec sleep 600");
        let server = Server::start(&waits, &policy, "other").unwrap();
        let process = PathBuf::from(format!("/proc/{}", server.child.id()));
        let known = process.exists();
        drop(server);
        assert!(!known || !process.exists(), "it has been stopped and reaped");
        assert!(Server::start(&folder.path().join("missing"), &policy, "other").is_err());
    }
}
