//! Flight descriptor paths: `["psi/1", SESSION, PHASE]`, `["psi/1", SESSION, "control"]`, `["psi/1", "share", TABLE]`.

use crate::psi::{Error, Phase, SessionId};

/// The first part of every path: the version of the exchanges' framing.
pub const VERSION_PATH: &str = "psi/1";

const CONTROL: &str = "control";
const SHARE: &str = "share";

/// Which exchange of a session a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A phase's.
    Phase(Phase),
    /// The one that is open as long as the session, see [`flight`](super::super::flight).
    Control,
}

/// The path of one exchange of a session.
pub(crate) fn session_path(session: SessionId, step: Step) -> Vec<String> {
    let last = match step {
        Step::Phase(phase) => phase.to_string(),
        Step::Control => CONTROL.to_owned(),
    };
    vec![VERSION_PATH.to_owned(), session.to_string(), last]
}

/// The path of a shared table.
pub(crate) fn share_path(table: &str) -> Vec<String> {
    vec![VERSION_PATH.to_owned(), SHARE.to_owned(), table.to_owned()]
}

fn version(path: &[String]) -> Result<&[String], Error> {
    match path.split_first() {
        Some((version, rest)) if version == VERSION_PATH => Ok(rest),
        first => {
            let theirs = first
                .map_or(String::new(), |(version, _)| super::sanitise(&version.chars().take(40).collect::<String>()));
            Err(Error::Incompatible(format!(
                "this side speaks {VERSION_PATH} (datafusion-psi {}), the peer asked for '{theirs}': install the same version on both sides",
                env!("CARGO_PKG_VERSION")
            )))
        }
    }
}

/// Reads the path of an exchange.
pub(crate) fn step(path: &[String]) -> Result<(SessionId, Step), Error> {
    let unknown =
        |what: &str| Error::Incompatible(format!("the path of the exchange names no {what} of {VERSION_PATH}"));
    let [session, last] = version(path)? else { return Err(unknown("session and phase")) };
    let session = SessionId::parse(session).ok_or_else(|| unknown("session"))?;
    if last == CONTROL {
        return Ok((session, Step::Control));
    }
    last.parse().map(|phase| (session, Step::Phase(phase))).map_err(|_| unknown("phase"))
}

/// Reads the path of a shared table.
pub(crate) fn share_table(path: &[String]) -> Result<&str, Error> {
    match version(path)? {
        [kind, table] if kind == SHARE => Ok(table),
        _ => Err(Error::Incompatible(format!("the path names no shared table of {VERSION_PATH}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    #[test]
    fn paths_are_read_back() {
        let session = SessionId([0xab; 16]);
        for wanted in [Step::Phase(Phase::Hello), Step::Phase(Phase::Elements(8)), Step::Control] {
            assert_eq!(step(&session_path(session, wanted)), Ok((session, wanted)));
        }
        assert_eq!(share_table(&share_path("purchases")), Ok("purchases"));
    }

    #[test]
    fn another_version_is_named_and_other_paths_are_refused() {
        let session = SessionId([1; 16]).to_string();
        let error = step(&texts(&["psi/2", &session, "hello"])).unwrap_err().to_string();
        assert!(error.contains("psi/1") && error.contains("'psi/2'"), "{error}");
        for path in [
            texts(&[]),
            texts(&["psi/1"]),
            texts(&["psi/1", &session]),
            texts(&["psi/1", &session, "hello", "x"]),
            texts(&["psi/1", "xyz", "hello"]),
            texts(&["psi/1", &session, "goodbye"]),
            texts(&["psi/1", &session.to_uppercase(), "nothing"]),
        ] {
            assert!(matches!(step(&path), Err(Error::Incompatible(_))), "{path:?}");
        }
        assert!(share_table(&texts(&["psi/1", "table", "t"])).is_err());
    }
}
