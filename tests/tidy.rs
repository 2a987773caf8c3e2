//! The house's rules, held by reading the source: one direction of dependency between rooms, what a room must not
//! touch, files that fit a reader's head, and words that have no place here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

/// Which rooms a room may import. `cli` and the crate's root may import everything.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("crypto", &[]),
    ("dp", &[]),
    ("mpc", &["crypto"]),
    ("psi", &["mpc", "dp", "crypto"]),
    ("policy", &["psi", "dp"]),
    ("transport", &["psi"]),
    ("sql", &["transport", "policy", "psi", "dp"]),
    ("flight_sql", &["sql", "transport", "policy", "psi"]),
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
    ("flight_sql", &["curve25519_dalek", "std::fs", "std::net"]),
];

/// What a single file may name all the same: the engine's temporary files can be read only from the beginning to the end by
/// the engine's own means, and a session reads them in a secret order.
const MAY_TOUCH: &[(&str, &str)] = &[("src/sql/spill.rs", "std::fs")];

/// Files that give on names of a room below their own: what those above may have of it, though they may not import it.
const MAY_PASS_ON: &[(&str, &str)] = &[
    // How long the curve's operations take, for estimates before a run.
    ("src/psi/mod.rs", "crypto"),
    ("src/policy/books/mod.rs", "psi"),
    ("src/sql/catalog.rs", "transport"),
];

/// A source file: its path from the crate's root, with slashes, and its text. All checks are functions of these, so that
/// where the checkout lies has no say, and so that a test can plant a violation.
struct Source {
    path: String,
    text: String,
    /// A file of tests, or what only they use: not bound by the rules of rooms. See [`find_tests`].
    is_test: bool,
}

impl Source {
    /// The room that it belongs to; none outside `src`, and for the crate's root files.
    fn room(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split_once('/').map(|(room, _)| room)
    }

    /// Its code without tests and comments: what is bound by the rules. Numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        self.text[..tests]
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(i, line)| (i + 1, line))
    }

    /// How many times `super::` leads from its module to the crate's root.
    fn depth(&self) -> usize {
        let parts = self.path.trim_start_matches("src/").trim_end_matches(".rs").split('/');
        parts.filter(|part| *part != "mod").count()
    }
}

/// Marks the files of modules that stand under `#[cfg(test)]`, and all below them. A name makes no test: production code may be
/// called `vectors` too.
fn find_tests(files: &mut [Source]) {
    let mut modules = Vec::new();
    for file in files.iter() {
        let folder = match file.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder,
            _ => file.path.trim_end_matches(".rs"),
        };
        let mut for_tests = false;
        for line in file.text.lines() {
            if for_tests
                && let Some((visible, name)) = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod "))
                && (visible.is_empty() || visible.starts_with("pub"))
            {
                modules.push(format!("{folder}/{name}"));
            }
            // Other attributes and comments may stand between.
            for_tests = line == "#[cfg(test)]" || for_tests && (line.starts_with("#[") || line.starts_with("//"));
        }
    }
    for file in files {
        file.is_test = modules.iter().any(|module| {
            file.path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
    }
}

/// All files of a folder of this crate.
fn sources(folder: &str) -> Vec<Source> {
    fn walk(root: &Path, folder: &Path, files: &mut Vec<Source>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let parts = path.strip_prefix(root).unwrap().iter().map(|part| part.to_str().unwrap());
                let relative = parts.collect::<Vec<_>>().join("/");
                let text = std::fs::read_to_string(&path).unwrap();
                files.push(Source { path: relative, text, is_test: false });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(root, &root.join(folder), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    find_tests(&mut files);
    assert!(!files.is_empty(), "{folder} has no source files");
    files
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The names that a path of the crate's root goes on with: `psi` of `psi::Error`, all of `{psi::Error, policy}`.
fn first_names(path: &str) -> Vec<&str> {
    let name = |text: &str| text.find(|c| !is_name(c)).unwrap_or(text.len());
    let Some(group) = path.strip_prefix('{') else { return vec![&path[..name(path)]] };
    let (mut names, mut depth, mut due) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => due = true,
            c if is_name(c) && due => {
                let rest = &group[at..];
                names.push(&rest[..name(rest)]);
                due = false;
            }
            _ => {}
        }
    }
    names
}

/// One path from a room's code to the crate's root and down again.
struct Import<'s> {
    line: usize,
    /// The room that it leads to, another than its own.
    room: &'s str,
    /// Whether it gives the name on, by `pub use`.
    passes_on: bool,
}

/// All paths from a room's code into other rooms.
fn imports(source: &Source) -> Vec<Import<'static>> {
    let Some(own) = source.room().filter(|_| !source.is_test) else { return Vec::new() };
    let mut found = Vec::new();
    // A group goes on over lines, so the code is one text; its line is that of the path's beginning.
    let mut code = String::new();
    let mut lines = Vec::new();
    for (number, line) in source.code() {
        lines.push((code.len(), number));
        code.push_str(line);
        code.push('\n');
    }
    let to_root = "super::".repeat(source.depth());
    for prefix in ["crate::", to_root.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            // `super::` once more on the left would be another path.
            if code[..at].ends_with(|c: char| is_name(c) || c == ':') {
                continue;
            }
            let line = lines.iter().rev().find(|(start, _)| *start <= at).map_or(0, |(_, number)| *number);
            let before = code[..at].rsplit('\n').next().unwrap_or_default().trim_start();
            let passes_on = before.starts_with("pub") && before.ends_with("use ");
            for name in first_names(&code[at + prefix.len()..]) {
                let rooms = MAY_IMPORT.iter().map(|(room, _)| *room).chain(["cli"]);
                let led = rooms.into_iter().find(|room| *room == name && *room != own);
                found.extend(led.map(|room| Import { line, room, passes_on }));
            }
        }
    }
    found
}

/// What a room imports that its row of the table does not allow.
fn wrong_imports(source: &Source) -> Vec<String> {
    let Some((room, allowed)) = MAY_IMPORT.iter().find(|(room, _)| source.room() == Some(room)) else {
        return Vec::new();
    };
    let wrong = imports(source).into_iter().filter(|import| !allowed.contains(&import.room));
    wrong.map(|Import { line, room: other, .. }| format!("{}:{line}: {room} imports {other}", source.path)).collect()
}

/// What a room gives on of another: whoever imports the one then has the other, and its row of the table does not say so.
fn passed_on(source: &Source) -> Vec<String> {
    let Some((room, _)) = MAY_IMPORT.iter().find(|(room, _)| source.room() == Some(room)) else {
        return Vec::new();
    };
    let may = |import: &Import<'_>| MAY_PASS_ON.contains(&(source.path.as_str(), import.room));
    let wrong = imports(source).into_iter().filter(|import| import.passes_on && !may(import));
    wrong.map(|Import { line, room: other, .. }| format!("{}:{line}: {room} passes on {other}", source.path)).collect()
}

/// What a room names that its row of the table forbids.
fn forbidden_names(source: &Source) -> Vec<String> {
    let Some((room, forbidden)) = MUST_NOT_TOUCH.iter().find(|(room, _)| source.room() == Some(room)) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    if source.is_test {
        return wrong;
    }
    for (number, line) in source.code() {
        for name in forbidden.iter().filter(|name| !MAY_TOUCH.contains(&(source.path.as_str(), **name))) {
            let named = line.match_indices(name).any(|(at, _)| {
                let (before, after) = (&line[..at], &line[at + name.len()..]);
                let imported = before.trim_start() == "use " && after.starts_with([';', ' ']);
                let whole = !before.ends_with(is_name) && !after.starts_with(is_name);
                // `std::net::Tcp` stands for all names that begin with it.
                let begins = name.contains("::") && !before.ends_with(is_name);
                begins || whole && (after.starts_with("::") || imported)
            });
            if named {
                wrong.push(format!("{}:{number}: {room} names {name}", source.path));
            }
        }
    }
    wrong
}

/// The most lines of code of one file.
const LINES_MAX: usize = 500;

fn too_long(source: &Source) -> Option<String> {
    let lines = source.code().count();
    (lines > LINES_MAX && !source.is_test).then(|| format!("{}: {lines} lines of code", source.path))
}

fn unsafe_code(source: &Source) -> Option<String> {
    if source.path.starts_with("src/crypto/simd") {
        return None;
    }
    let found = source.code().find(|(_, line)| line.contains("unsafe ") || line.contains("allow(unsafe_code)"));
    found.map(|(number, line)| format!("{}:{number}: {line}", source.path))
}

fn unfinished(source: &Source) -> Vec<String> {
    // Written so that this file does not find itself.
    let marks = [
        concat!("to", "do!"),
        concat!("unim", "plemented!"),
        concat!("FIX", "ME"),
        concat!("X", "XX"),
        concat!("d", "bg!("),
    ];
    let found = marks.iter().filter(|mark| source.text.contains(**mark));
    found.map(|mark| format!("{}: {mark}", source.path)).collect()
}

fn none(wrong: impl Iterator<Item = String>) {
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_import_only_what_stands_below_them() {
    none(sources("src").iter().flat_map(wrong_imports));
}

#[test]
fn no_room_gives_on_another_unless_it_is_said() {
    let files = sources("src");
    none(files.iter().flat_map(passed_on));
    for (path, room) in MAY_PASS_ON {
        let file = files.iter().find(|file| file.path == *path);
        assert!(
            file.is_some_and(|file| imports(file).iter().any(|import| import.passes_on && import.room == *room)),
            "{path}"
        );
    }
}

#[test]
fn no_room_touches_what_its_row_of_the_table_forbids() {
    none(sources("src").iter().flat_map(forbidden_names));
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    none(sources("src").iter().filter_map(too_long));
}

#[test]
fn unsafe_code_is_nowhere_but_in_the_one_module_that_may_have_it() {
    none(sources("src").iter().filter_map(unsafe_code));
}

#[test]
fn no_unfinished_business_is_left_in_the_code() {
    none(["src", "tests", "benches"].iter().flat_map(|folder| sources(folder)).flat_map(|source| unfinished(&source)));
}

#[test]
fn every_room_has_a_row_and_every_row_a_room() {
    let rooms: std::collections::BTreeSet<String> =
        sources("src").iter().filter_map(|source| source.room().map(str::to_owned)).collect();
    let mut rows: Vec<&str> = MAY_IMPORT.iter().map(|(room, _)| *room).chain(["cli"]).collect();
    rows.sort_unstable();
    assert!(rooms.iter().eq(rows.iter()), "{rooms:?} against {rows:?}");
    assert!(MUST_NOT_TOUCH.iter().map(|(room, _)| room).eq(MAY_IMPORT.iter().map(|(room, _)| room)));
}

/// Planted violations: a checker that cannot fail keeps nothing.
mod planted {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned(), is_test: false }
    }

    /// The files of these that are tests.
    fn tests_of(files: &[(&str, &str)]) -> Vec<String> {
        let mut files: Vec<Source> = files.iter().map(|(path, text)| source(path, text)).collect();
        find_tests(&mut files);
        files.into_iter().filter(|file| file.is_test).map(|file| file.path).collect()
    }

    #[test]
    fn an_import_against_the_direction_is_found_however_it_is_written() {
        let found = |path: &str, text: &str| wrong_imports(&source(path, text));
        for (path, text) in [
            ("src/crypto/blind.rs", "use crate::psi::Error;\n"),
            ("src/psi/hello.rs", "// A comment.\n\nuse crate::{dp::Clip, policy::Party};\n"),
            ("src/psi/hello.rs", "use crate::{\n    dp::{Clip, Total},\n    policy::Party,\n};\n"),
            ("src/transport/flight/client.rs", "fn f() { crate::policy::load() }\n"),
            ("src/policy/party.rs", "use super::super::transport::Peer;\n"),
            ("src/policy/mod.rs", "use super::transport::Peer;\n"),
            ("src/policy/parse/mod.rs", "pub use super::super::sql;\n"),
            ("src/sql/rule/mod.rs", "use crate::cli;\n"),
        ] {
            assert_eq!(found(path, text).len(), 1, "{path}: {text}");
        }
        let line = found("src/psi/hello.rs", "// A comment.\n\nuse crate::{dp::Clip, policy::Party};\n");
        assert_eq!(line, ["src/psi/hello.rs:3: psi imports policy"]);
        for (path, text) in [
            ("src/psi/hello.rs", "use crate::{dp::Clip, crypto::Element, mpc};\n"),
            ("src/psi/hello.rs", "use crate::psi::Error;\nuse super::policy_of;\n"),
            ("src/psi/prepare/rank.rs", "use super::super::sql;\n"),
            ("src/psi/hello.rs", "//! use crate::policy::Party;\n"),
            ("src/psi/hello.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::policy::Party;\n}\n"),
            ("src/cli/sql.rs", "use crate::sql::Asker;\n"),
            ("src/main.rs", "use crate::cli;\n"),
        ] {
            assert_eq!(found(path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn a_name_that_a_room_must_not_touch_is_found() {
        let found = |path: &str, text: &str| forbidden_names(&source(path, text)).len();
        assert_eq!(found("src/psi/run.rs", "use tokio::sync::mpsc;\n"), 1);
        assert_eq!(found("src/psi/run.rs", "    let now = std::time::Instant::now();\n"), 1);
        assert_eq!(found("src/dp/noise.rs", "getrandom::fill(&mut seed)?;\n"), 1);
        assert_eq!(found("src/transport/local.rs", "use datafusion;\n"), 1);
        assert_eq!(found("src/policy/party.rs", "use std::net::TcpStream;\n"), 1);
        assert_eq!(found("src/sql/run.rs", "use std::fs::File;\n"), 1);
        assert_eq!(found("src/sql/spill.rs", "use std::fs::File;\n"), 0);
        assert_eq!(found("src/sql/spill.rs", "use std::net::TcpStream;\n"), 1);
        assert_eq!(found("src/psi/run.rs", "// as tokio::spawn would\nlet my_tokio = 1; not_tokio::x();\n"), 0);
        assert_eq!(found("src/policy/party.rs", "use std::net::SocketAddr;\n"), 0);
        assert_eq!(found("src/transport/driver.rs", "use tokio::sync::mpsc;\n"), 0);
    }

    #[test]
    fn tests_are_what_is_compiled_for_tests_alone_whatever_it_is_called() {
        let files = [
            (
                "src/mpc/ot/mod.rs",
                "mod vectors;\n#[cfg(test)]\nmod ideal;\nmod tests;\n#[cfg(test)]\n/// Kit.\npub(crate) mod kit;\n",
            ),
            ("src/mpc/ot/vectors.rs", ""),
            ("src/mpc/ot/tests.rs", ""),
            ("src/mpc/ot/ideal.rs", "mod inner;\n"),
            ("src/mpc/ot/ideal/inner.rs", ""),
            ("src/mpc/ot/ideals.rs", ""),
            ("src/mpc/ot/kit/mod.rs", ""),
            ("src/mpc/share.rs", "#[cfg(test)]\nuse crate::dp;\n\nmod reference;\n\n#[cfg(test)]\nmod naive;\n"),
            ("src/mpc/share/reference.rs", ""),
            ("src/mpc/share/naive.rs", ""),
            ("src/mpc/naive.rs", ""),
        ];
        let expected = ["ot/ideal.rs", "ot/ideal/inner.rs", "ot/kit/mod.rs", "share/naive.rs"];
        assert_eq!(tests_of(&files), expected.map(|path| format!("src/mpc/{path}")));
        // And only they are not bound.
        let wrong = "use crate::policy::Party;\n";
        assert_eq!(wrong_imports(&source("src/mpc/ot/vectors.rs", wrong)).len(), 1);
        let tests = Source { is_test: true, ..source("src/mpc/ot/ideal.rs", wrong) };
        assert_eq!(wrong_imports(&tests), [""; 0]);
    }

    #[test]
    fn a_room_that_gives_on_another_is_found() {
        let found = |path: &str, text: &str| passed_on(&source(path, text));
        let line = found("src/psi/mod.rs", "use crate::mpc::Share;\npub use crate::dp::Clip;\n");
        assert_eq!(line, ["src/psi/mod.rs:2: psi passes on dp"]);
        assert_eq!(found("src/psi/hello/mod.rs", "pub(crate) use crate::crypto::Element;\n").len(), 1);
        assert_eq!(found("src/sql/mod.rs", "pub use super::{policy::Party, psi};\n").len(), 2);
        assert_eq!(found("src/psi/mod.rs", "pub use crate::crypto::CurveMicros;\npub use hello::Offer;\n"), [""; 0]);
    }

    #[test]
    fn where_the_checkout_lies_has_no_say() {
        assert!(sources("src").iter().all(|source| source.path.starts_with("src/") && !source.path.contains('\\')));
        assert!(sources("src").iter().any(|source| !source.is_test && source.room() == Some("psi")));
    }

    #[test]
    fn a_file_past_the_limit_unsafe_code_and_unfinished_business_are_found() {
        let lines = |count| source("src/psi/run.rs", &"let x = 1;\n".repeat(count));
        assert!(too_long(&lines(LINES_MAX)).is_none());
        assert!(too_long(&lines(LINES_MAX + 1)).is_some());
        let risky = "fn f() {\n    unsafe { g() }\n}\n";
        assert!(unsafe_code(&source("src/psi/run.rs", risky)).is_some_and(|found| found.contains("run.rs:2")));
        assert!(unsafe_code(&source("src/psi/run.rs", "#![allow(unsafe_code)]\n")).is_some());
        assert!(unsafe_code(&source("src/crypto/simd/ifma.rs", risky)).is_none());
        assert!(unsafe_code(&source("src/psi/run.rs", "// no unsafe here\n")).is_none());
        for text in [concat!("to", "do!()"), concat!("// FIX", "ME later"), concat!("d", "bg!(x)")] {
            assert_eq!(unfinished(&source("src/psi/run.rs", text)).len(), 1, "{text}");
        }
        assert_eq!(unfinished(&source("src/psi/run.rs", "fn done() {}\n")), [""; 0]);
    }
}
