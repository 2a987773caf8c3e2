//! Files that are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::psi::Error;

/// A file whose last change is younger may change again within the clock's grain, unseen: it is read again.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What tells one content of a file from the next, without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    /// A file that was moved into place, or restored with its old time and length, shows by these.
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

impl Stamp {
    /// `None` where there is no such file.
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Stamp {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: {
                use std::os::unix::fs::MetadataExt;
                (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
            },
        })
    }

    fn settled(&self, now: SystemTime) -> bool {
        self.modified.and_then(|modified| now.duration_since(modified).ok()).is_some_and(|age| age >= SETTLED_AFTER)
    }
}

/// How a value is read from its files.
type Load<T> = Box<dyn Fn(&[PathBuf]) -> Result<T, Error> + Send + Sync>;

/// A value that stands in files: what they last said that made sense.
pub(super) struct Reloading<T> {
    paths: Vec<PathBuf>,
    load: Load<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    stamps: Vec<Option<Stamp>>,
    settled: bool,
    value: Arc<T>,
    /// What was logged last about the files as they are.
    complaint: Option<String>,
}

fn look(paths: &[PathBuf]) -> (Vec<Option<Stamp>>, bool) {
    let now = SystemTime::now();
    let stamps: Vec<_> = paths.iter().map(|path| Stamp::of(path)).collect();
    let settled = stamps.iter().all(|stamp| stamp.as_ref().is_none_or(|stamp| stamp.settled(now)));
    (stamps, settled)
}

impl<T> Reloading<T> {
    /// Reads the files for the first time.
    pub(super) fn new(
        paths: Vec<PathBuf>,
        load: impl Fn(&[PathBuf]) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        // Stamped before they are read: a change meanwhile is seen at the next look.
        let (stamps, settled) = look(&paths);
        let value = Arc::new(load(&paths)?);
        let state = Mutex::new(State { stamps, settled, value, complaint: None });
        Ok(Reloading { paths, load: Box::new(load), state })
    }

    /// The value as the files say now, or as they last said where they cannot be used. Blocks on the disk.
    pub(super) fn current(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (stamps, settled) = look(&self.paths);
        if state.settled && state.stamps == stamps {
            return Arc::clone(&state.value);
        }
        let changed = state.stamps != stamps;
        (state.stamps, state.settled) = (stamps, settled);
        match (self.load)(&self.paths) {
            Ok(value) => {
                state.value = Arc::new(value);
                if changed || state.complaint.is_some() {
                    tracing::info!(files = ?self.paths, "read again after a change");
                }
                state.complaint = None;
            }
            Err(error) => {
                let complaint = error.to_string();
                if state.complaint.as_ref() != Some(&complaint) {
                    tracing::error!("{complaint}; what it held before stays in force");
                    state.complaint = Some(complaint);
                }
            }
        }
        Arc::clone(&state.value)
    }

    /// The value as it was last read.
    pub(super) fn last(&self) -> Arc<T> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).value)
    }

    /// Why the files, as they were last seen, are not in force.
    #[cfg(test)]
    pub(super) fn complaint(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).complaint.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn number(path: &Path) -> (Reloading<u64>, Arc<AtomicUsize>) {
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reads);
        let load = move |paths: &[PathBuf]| {
            counted.fetch_add(1, Ordering::Relaxed);
            let text = std::fs::read_to_string(&paths[0]).map_err(|error| Error::Caller(error.to_string()))?;
            text.parse().map_err(|_| Error::Caller(format!("'{text}' is no number")))
        };
        (Reloading::new(vec![path.to_owned()], load).unwrap(), reads)
    }

    fn old(path: &Path) {
        let hour = SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(hour).unwrap();
    }

    #[test]
    fn an_unchanged_file_is_not_read_again_and_a_changed_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n");
        std::fs::write(&path, "1").unwrap();
        old(&path);
        let (value, reads) = number(&path);
        assert_eq!((*value.current(), *value.current(), reads.load(Ordering::Relaxed)), (1, 1, 1));
        // The same length, and a time as old: only the system's own change time tells.
        std::fs::write(&path, "2").unwrap();
        old(&path);
        assert_eq!((*value.current(), *value.last()), (2, 2));
        // Moved into place.
        let other = folder.path().join("m");
        std::fs::write(&other, "3").unwrap();
        old(&other);
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(*value.current(), 3);
    }

    #[test]
    fn a_file_that_changes_twice_within_the_clocks_grain_is_read_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n");
        for n in 0..200u64 {
            std::fs::write(&path, "1").unwrap();
            let (value, _) = number(&path);
            std::fs::write(&path, (2 + n % 8).to_string()).unwrap();
            assert_eq!(*value.current(), 2 + n % 8);
        }
    }

    #[test]
    fn a_broken_or_missing_file_keeps_the_old_value_until_it_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n");
        std::fs::write(&path, "1").unwrap();
        let (value, _) = number(&path);
        std::fs::write(&path, "one").unwrap();
        assert_eq!(*value.current(), 1);
        assert_eq!(value.complaint().unwrap(), "'one' is no number");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(*value.current(), 1);
        std::fs::write(&path, "4").unwrap();
        assert_eq!((*value.current(), value.complaint()), (4, None));
    }
}
