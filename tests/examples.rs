//! Every example of `examples/` runs to its end: what an embedder copies has to work as it stands.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::Command;

/// Cargo builds the examples for a test run beside the tests: `target/PROFILE/examples`.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

#[test]
fn every_example_runs_and_prints_an_answer() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    assert_eq!(names, ["custom_catalog", "dataframe", "own_server", "session"], "a new example needs its answer below");
    for name in names {
        let path = example(&name);
        // `cargo test --test examples` alone builds none.
        assert!(path.is_file(), "{} is not built: run `cargo build --examples` first", path.display());
        let output = Command::new(path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let answer = if matches!(name.as_str(), "own_server" | "dataframe") { "mean_sale" } else { "buyers" };
        assert!(text.contains(answer), "{name}: {text}");
    }
}
