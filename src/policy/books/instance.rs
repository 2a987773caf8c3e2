//! Which process runs a session, so that the next start can tell which sessions a crash has ended.
//!
//! Each process that charges holds a lock on a file of its own beside the ledger. Whoever gets the lock of
//! another knows that it is gone; the operating system drops locks with their process, however it ends. Files
//! are made and tried only inside write transactions of the ledger, so that no two processes do so at once.
//! A mistake here (a file that was deleted, a file system without locks) never touches a budget: a session that is
//! taken for ended costs what it cost, and can no longer be refunded.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::chain;
use super::error::{Trouble, file_trouble};
use super::schema::private;

/// One process's life with one ledger.
#[derive(Debug)]
pub(super) struct Instance {
    ledger: Option<PathBuf>,
    id: Option<[u8; 8]>,
    /// Locked for as long as it is open.
    lock: Option<(File, PathBuf)>,
}

impl Instance {
    pub(super) fn new(ledger: Option<PathBuf>) -> Self {
        Instance { ledger, id: None, lock: None }
    }

    /// This instance's name, with its lock taken. Call it inside a write transaction.
    pub(super) fn id(&mut self) -> Result<[u8; 8], Trouble> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let id = chain::random::<8>()?;
        if let Some(ledger) = &self.ledger {
            let path = lock_path(ledger, &id);
            let trouble = |error: std::io::Error| Trouble::Said(file_trouble(&path, &error));
            let file = private(OpenOptions::new().write(true).create_new(true)).open(&path).map_err(trouble)?;
            if let Err(error) = file.try_lock() {
                // Nobody else knows the name. Without locks nobody will get it either, and the session counts as running.
                tracing::debug!(%error, "no lock beside the ledger");
            }
            self.lock = Some((file, path));
        }
        self.id = Some(id);
        Ok(id)
    }

    /// Whether an instance of that name is gone, for sure. Its lock's file goes with it.
    pub(super) fn is_gone(&self, id: &[u8; 8]) -> bool {
        if self.id.as_ref() == Some(id) {
            return false;
        }
        let Some(ledger) = &self.ledger else { return false };
        try_remove(&lock_path(ledger, id))
    }

    /// Removes the files of instances that are gone and left nothing running. Call it inside a write transaction.
    pub(super) fn sweep(&self, running: &HashSet<[u8; 8]>) {
        let Some(ledger) = &self.ledger else { return };
        let (Some(folder), Some(name)) = (ledger.parent(), ledger.file_name().and_then(|name| name.to_str())) else {
            return;
        };
        let prefix = format!("{name}.run-");
        let own = self.lock.as_ref().map(|(_, path)| path);
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let rest = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(&prefix));
            let id = rest.and_then(|rest| u64::from_str_radix(rest, 16).ok()).map(u64::to_be_bytes);
            if id.is_some_and(|id| !running.contains(&id)) && own != Some(&path) {
                try_remove(&path);
            }
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some((file, path)) = self.lock.take() {
            let _ = fs::remove_file(path);
            drop(file);
        }
    }
}

fn lock_path(ledger: &Path, id: &[u8; 8]) -> PathBuf {
    let mut name = ledger.file_name().unwrap_or_default().to_owned();
    name.push(format!(".run-{:016x}", u64::from_be_bytes(*id)));
    ledger.with_file_name(name)
}

/// Whether nobody holds that lock; if so, its file is removed.
fn try_remove(path: &Path) -> bool {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return error.kind() == std::io::ErrorKind::NotFound,
    };
    match file.try_lock() {
        Ok(()) => {
            let _ = fs::remove_file(path);
            true
        }
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}
