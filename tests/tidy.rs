//! The house's rules, held by reading the source: one direction of dependency between rooms, what a room must not
//! touch, files that fit a reader's head, and words that have no place here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

/// Which rooms a room may import. `cli` and the crate's root may import everything.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("crypto", &[]),
    ("dp", &[]),
    ("mpc", &["crypto"]),
    ("psi", &["mpc", "dp", "crypto"]),
    ("policy", &["psi", "dp"]),
    ("transport", &["psi"]),
    ("sql", &["transport", "policy", "psi", "dp"]),
];

/// Crates and modules that a room must not name.
const MUST_NOT_TOUCH: &[(&str, &[&str])] = &[
    ("crypto", &["tokio", "tonic", "datafusion", "std::fs", "std::net", "std::time", "tracing", "getrandom"]),
    ("dp", &["tokio", "tonic", "datafusion", "std::fs", "std::net", "std::time", "tracing", "getrandom"]),
    ("mpc", &["tokio", "tonic", "datafusion", "std::fs", "std::net", "std::time", "tracing", "getrandom", "serde"]),
    ("psi", &["tokio", "tonic", "datafusion", "std::fs", "std::net", "std::time", "tracing", "getrandom"]),
    ("policy", &["tokio", "tonic", "datafusion", "std::net::Tcp"]),
    ("transport", &["datafusion", "curve25519_dalek"]),
    ("sql", &["curve25519_dalek", "std::fs", "std::net"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The code of a file without its tests and comments: what is bound by the rules.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..tests]
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(i, line)| (i + 1, line))
}

fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        let stem = name.trim_end_matches(".rs");
        matches!(
            stem,
            "tests"
                | "testing"
                | "pair_tests"
                | "simulator"
                | "sensitivity"
                | "suite"
                | "naive"
                | "tamper"
                | "vectors"
                | "reference"
        )
    })
}

#[test]
fn rooms_import_only_what_stands_below_them() {
    let mut wrong = Vec::new();
    for (room, allowed) in MAY_IMPORT {
        for path in sources(&root().join("src").join(room)) {
            if is_test_file(&path) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for (number, line) in code_lines(&text) {
                for (at, _) in line.match_indices("crate::") {
                    let name: String =
                        line[at + 7..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                    let is_room = name == "cli" || MAY_IMPORT.iter().any(|(other, _)| *other == name);
                    if is_room && name != *room && !allowed.contains(&name.as_str()) {
                        wrong.push(format!("{}:{number}: {room} imports {name}", path.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_room_touches_what_its_row_of_the_table_forbids() {
    let mut wrong = Vec::new();
    for (room, forbidden) in MUST_NOT_TOUCH {
        for path in sources(&root().join("src").join(room)) {
            if is_test_file(&path) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for (number, line) in code_lines(&text) {
                for name in *forbidden {
                    let named = line.match_indices(name).any(|(at, _)| {
                        let before = line[..at].chars().next_back();
                        let after = line[at + name.len()..].chars().next();
                        !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
                            && (name.contains("::") || line[at + name.len()..].starts_with("::"))
                            && !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
                    });
                    if named {
                        wrong.push(format!("{}:{number}: {room} names {name}", path.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let mut long = Vec::new();
    for path in sources(&root().join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = code_lines(&text).count();
        if lines > 500 && !is_test_file(&path) {
            long.push(format!("{}: {lines} lines of code", path.display()));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn unsafe_code_is_nowhere_but_in_the_one_module_that_may_have_it() {
    for path in sources(&root().join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let found = code_lines(&text).find(|(_, line)| line.contains("unsafe ") || line.contains("allow(unsafe_code)"));
        assert!(found.is_none() || path.starts_with(root().join("src/crypto/simd")), "{}: {found:?}", path.display());
    }
}

#[test]
fn no_unfinished_business_is_left_in_the_code() {
    let marks = ["todo!", "unimplemented!", concat!("FIX", "ME"), concat!("X", "XX"), "dbg!("];
    for folder in ["src", "tests", "benches"] {
        for path in sources(&root().join(folder)) {
            if path.ends_with("tidy.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for mark in marks {
                assert!(!text.contains(mark), "{}: {mark}", path.display());
            }
        }
    }
}
