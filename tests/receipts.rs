//! Receipts as an auditor meets them: two real parties with certificates, one answer, and years of key changes.
//!
//! Goal: what both have signed is found to hold by the ledger and by three files alone, also after each side has
//! replaced its certificate, and a changed receipt is found. Method: `init` makes the keys, `serve` and `sql` the
//! receipt, `verify` looks at it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use datafusion_psi::{Budgets, Party};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_datafusion-psi")).current_dir(folder).args(arguments).output().unwrap()
}

/// Runs, and demands success or failure; both streams.
fn said(folder: &Path, arguments: &[&str], succeeds: bool) -> String {
    let output = run(folder, arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), succeeds, "{arguments:?}: {text}");
    text
}

/// Two parties that know each other's certificates: `shop` shares, `paper` asks.
fn parties(folder: &Path, port: u16) {
    for name in ["shop", "paper"] {
        said(folder, &["init", name], true);
        fs::create_dir_all(folder.join(name).join("data")).unwrap();
        let rows: String = (0..30).map(|i| format!("person{i}@example.org,{i}\n")).collect();
        fs::write(folder.join(name).join("data/people.csv"), format!("email,amount\n{rows}")).unwrap();
    }
    for (name, other) in [("shop", "paper"), ("paper", "shop")] {
        fs::copy(
            folder.join(other).join(format!("tls/{other}.pem")),
            folder.join(name).join(format!("tls/{other}.pem")),
        )
        .unwrap();
        let rest = match name {
            "shop" => {
                "[[share]]\ntable = \"people\"\nwith = [\"paper\"]\nidentifiers = { email = \"email/1\" }\nminimum_matched = 0\n\
                 [share.budget]\npopulation = \"all\"\nqueries = 10\nsizes = { epsilon = 2.0 }\noutputs = { epsilon = 4.0 }\n"
            }
            _ => {
                "[[ask]]\nof = [\"shop\"]\npopulation = \"all\"\n[ask.budget]\nqueries = 10\nsizes = { epsilon = 2.0 }\n"
            }
        };
        let text = format!(
            "[party]\nname = \"{name}\"\n[server]\nlisten = \"127.0.0.1:{}\"\ncertificate = \"tls/{name}.pem\"\n\
             key = \"tls/{name}.key\"\n[[table]]\nname = \"people\"\nlocation = \"data/people.csv\"\n[[peer]]\n\
             name = \"{other}\"\naddress = \"grpc+tls://127.0.0.1:{port}\"\ncertificate = \"tls/{other}.pem\"\n{rest}",
            if name == "shop" { port } else { 0 }
        );
        fs::write(folder.join(name).join("party.toml"), text).unwrap();
        let party = Party::load(folder.join(name).join("party.toml")).unwrap();
        // `init` has made a ledger, or not: either is fine.
        let _ = Budgets::create(&party);
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(folder: &Path) -> Server {
    let mut child = Command::new(env!("CARGO_BIN_EXE_datafusion-psi"))
        .current_dir(folder)
        .args(["serve", "--config", "shop/party.toml"])
        .env("RUST_LOG", "info")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let listening = log.by_ref().map_while(Result::ok).find(|line| line.contains("answers at"));
    assert!(listening.is_some(), "the server has ended");
    // What it goes on to say is read, or it would wait for a reader.
    std::thread::spawn(move || log.for_each(drop));
    Server(child)
}

/// Gives a party new keys; the old certificate's file.
fn replace_certificate(folder: &Path, name: &str) -> PathBuf {
    let again = folder.join("again");
    fs::create_dir_all(&again).unwrap();
    said(&again, &["init", name], true);
    let old = folder.join(format!("{name}-old.pem"));
    fs::rename(folder.join(name).join(format!("tls/{name}.pem")), &old).unwrap();
    for file in ["pem", "key"] {
        let made = again.join(name).join(format!("tls/{name}.{file}"));
        let own = folder.join(name).join(format!("tls/{name}.{file}"));
        let _ = fs::remove_file(&own);
        fs::rename(made, own).unwrap();
    }
    for other in ["shop", "paper"] {
        if other != name {
            let pinned = folder.join(other).join(format!("tls/{name}.pem"));
            fs::copy(folder.join(name).join(format!("tls/{name}.pem")), pinned).unwrap();
        }
    }
    old
}

#[test]
fn a_receipt_holds_for_an_auditor_also_after_both_sides_have_replaced_their_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    parties(folder, port);
    let server = serve(folder);
    let question = "SELECT PRIVATE_INTERSECT_COUNT(*) FROM people p JOIN shop.people s ON p.email = s.email";
    said(folder, &["sql", "--config", "paper/party.toml", "-c", question], true);
    drop(server);

    for name in ["paper", "shop"] {
        let config = format!("{name}/party.toml");
        let all = said(folder, &["verify", "--config", &config, "--export", &format!("{name}-receipts")], true);
        assert!(all.contains("1 receipts hold"), "{all}");
    }
    let receipt = fs::read_dir(folder.join("paper-receipts")).unwrap().next().unwrap().unwrap().path();
    let exported = fs::read_to_string(&receipt).unwrap();
    let theirs = folder.join("shop-receipts").join(receipt.file_name().unwrap());
    assert_eq!(exported, fs::read_to_string(theirs).unwrap(), "both sides hold the same text and signatures");

    let (paper, shop) = (replace_certificate(folder, "paper"), replace_certificate(folder, "shop"));
    let (paper, shop) = (paper.to_str().unwrap(), shop.to_str().unwrap());
    let (paper_before, shop_before) = (format!("paper={paper}"), format!("shop={shop}"));
    for name in ["paper", "shop"] {
        let config = format!("{name}/party.toml");
        let verify =
            |extra: &[&str], succeeds| said(folder, &[&["verify", "--config", &config], extra].concat(), succeeds);
        let today = verify(&[], false);
        assert!(today.contains(&format!("--replaced {name}=PEM")), "it says what is missing: {today}");
        let half = verify(&["--replaced", if name == "paper" { &paper_before } else { &shop_before }], false);
        let other = if name == "paper" { "shop" } else { "paper" };
        assert!(half.contains(&format!("--replaced {other}=PEM")), "{half}");
        let swapped = [format!("paper={shop}"), format!("shop={paper}")];
        verify(&["--replaced", &swapped[0], "--replaced", &swapped[1]], false);
        let both = verify(&["--replaced", &paper_before, "--replaced", &shop_before], true);
        assert!(both.contains("1 receipts hold"), "{both}");
        let stranger = verify(&["--replaced", &format!("nobody={paper}")], false);
        assert!(stranger.contains("'nobody' is neither"), "{stranger}");
    }

    let file = receipt.to_str().unwrap();
    let one = said(folder, &["verify", "--receipt", file, "--requester", paper, "--responder", shop], true);
    assert!(one.contains("paper asked shop"), "{one}");
    said(folder, &["verify", "--receipt", file, "--requester", shop, "--responder", paper], false);
    fs::write(&receipt, exported.replace("size 1 ", "size 1 1")).unwrap();
    let changed = said(folder, &["verify", "--receipt", file, "--requester", paper, "--responder", shop], false);
    assert!(changed.starts_with("error: "), "{changed}");
}
