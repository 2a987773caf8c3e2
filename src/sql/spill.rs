//! A session's memory, set aside in the engine's pool, and files of the engine's for what there is no room for.
//!
//! A session that fits into the pool is all in memory. One that does not, but would without the columns that it can put into
//! files, gets files; any other is refused. What decides are lengths and the question's shape ([`Footprint`]).
//!
//! Files are the engine's temporary ones: they lie where its disk manager puts them (the system's folder for temporary files,
//! `TMPDIR` on Unix, unless the embedding program says otherwise), count against its bound, are readable by this user alone, and
//! are gone with the session. On Unix they have no name from the moment that they are open: a process that is killed leaves an
//! empty folder. They hold elements that the peer has sent, blinded by it ([`Spill`]). The engine reads its files
//! from the beginning to the end only, so this one file of the room opens them itself: a session reads rows in a secret order.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{DiskManager, SpillFile as EngineFile, SpillWriter};

use crate::psi::{Error, Footprint, SessionId, Spill, SpillFile};

/// What one session has set aside, until it is dropped.
pub(super) struct SessionMemory {
    held: MemoryReservation,
    disk: Arc<DiskManager>,
    party: String,
}

impl SessionMemory {
    /// Nothing yet. `party` is this one's name.
    pub(super) fn new(runtime: &RuntimeEnv, session: SessionId, party: &str) -> Self {
        SessionMemory {
            held: MemoryConsumer::new(format!("session {session}")).register(&runtime.memory_pool),
            disk: Arc::clone(&runtime.disk_manager),
            party: party.to_owned(),
        }
    }

    /// Sets aside what the session takes, in place of what was; with files where it takes them. Before that, `make_room` is
    /// asked for so many bytes more in the pool, and says whether that is worth another try.
    ///
    /// # Errors
    /// [`Error::Environment`] where the pool has not so much left; without a number, since a table's length would follow
    /// from it, and that may not have been paid for yet.
    pub(super) fn fit(
        &self,
        footprint: &Footprint,
        make_room: impl Fn(usize) -> bool,
    ) -> Result<Option<Arc<dyn Spill>>, Error> {
        let set_aside = |spilled: bool| {
            let bytes = usize::try_from(footprint.bytes(spilled)).unwrap_or(usize::MAX);
            loop {
                match self.held.try_resize(bytes) {
                    Err(_) if make_room(bytes.saturating_sub(self.held.size())) => {}
                    done => return done,
                }
            }
        };
        let Err(reason) = set_aside(false) else { return Ok(None) };
        if footprint.can_spill() && self.disk.tmp_files_enabled() && set_aside(true).is_ok() {
            tracing::info!(session = self.held.consumer().name(), "columns go to the disk");
            return Ok(Some(Arc::new(Files { disk: Arc::clone(&self.disk), party: self.party.clone() })));
        }
        tracing::error!(session = self.held.consumer().name(), %reason, "no memory for a session");
        Err(Error::Environment(format!(
            "'{}' has not the memory for this session at the moment: ask later, or about fewer people; its operator may raise \
             memory_mb in [limits]",
            self.party
        )))
    }
}

/// Makes a session's files.
struct Files {
    disk: Arc<DiskManager>,
    party: String,
}

impl Spill for Files {
    fn create(&self) -> Result<Box<dyn SpillFile>, Error> {
        let failed = |reason: String| failed(&self.party, &reason);
        let file = self.disk.create_tmp_file("a private query's columns").map_err(|error| failed(error.to_string()))?;
        let path =
            file.path().ok_or_else(|| failed("the engine's temporary files are not on this machine".to_owned()))?;
        let reader = File::open(path).map_err(|error| failed(error.to_string()))?;
        let writer = file.open_writer().map_err(|error| failed(error.to_string()))?;
        forget_name(path);
        Ok(Box::new(DiskFile { party: self.party.clone(), writer: Mutex::new(writer), reader, _file: file }))
    }
}

/// A temporary file of the engine's. Fields are dropped in their order: closed first, then deleted where it still has a name.
struct DiskFile {
    party: String,
    /// Holds to the engine's bound for temporary files. The lock is never waited for: whoever appends has the whole file.
    writer: Mutex<Box<dyn SpillWriter>>,
    reader: File,
    _file: Arc<dyn EngineFile>,
}

impl SpillFile for DiskFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        let written = writer.write_all(bytes).and_then(|()| writer.flush());
        written.map_err(|error| failed(&self.party, &error.to_string()))
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        read_exact_at(&self.reader, offset, bytes).map_err(|error| failed(&self.party, &error.to_string()))
    }
}

/// Takes the file out of its folder: whoever has it open keeps it, and nobody finds it after this process, however that ends.
/// The engine's own deletion finds nothing then, which it does not mind; what a file takes of its bound is counted by
/// what was written, and given back when the file is dropped.
#[cfg(unix)]
fn forget_name(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, "a temporary file keeps its name until its session ends");
    }
}

/// An open file keeps its name here.
#[cfg(not(unix))]
fn forget_name(_: &Path) {}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// One at a time: a file has one place to read at here.
#[cfg(not(unix))]
fn read_exact_at(mut file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};

    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

/// What both sides hear of a file that fails: no path. The reason goes to the log.
fn failed(party: &str, reason: &str) -> Error {
    tracing::error!(reason, "a temporary file of a session failed");
    Error::Environment(format!(
        "'{party}' has not the memory for this session, and cannot keep its columns on the disk either: its operator may make \
         room in the folder for temporary files, or raise memory_mb in [limits]; its log says more"
    ))
}

#[cfg(test)]
mod tests {
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    use super::*;
    use crate::psi::{Role, SessionRows};

    const SESSION: SessionId = SessionId([5; 16]);

    fn runtime(memory: usize, disk: u64) -> Arc<RuntimeEnv> {
        let builder = RuntimeEnvBuilder::new().with_memory_limit(memory, 1.0);
        builder.with_max_temp_directory_size(disk).build_arc().unwrap()
    }

    fn no_more(_: usize) -> bool {
        false
    }

    fn footprint(columns: u64) -> Footprint {
        let rows = SessionRows { own: 1000, peer: 1000 };
        Footprint { role: Role::Responder, columns, parts: 1, values: 1, rows, identifiers: 0 }
    }

    #[test]
    fn a_session_is_in_memory_where_it_fits_with_files_where_it_fits_so_and_else_refused() {
        let (whole, spilled) = (footprint(3).bytes(false) as usize, footprint(3).bytes(true) as usize);
        for (memory, files) in
            [(whole, Some(false)), (whole - 1, Some(true)), (spilled, Some(true)), (spilled - 1, None)]
        {
            let runtime = runtime(memory, 1 << 20);
            let session = SessionMemory::new(&runtime, SESSION, "advertiser");
            match (session.fit(&footprint(3), no_more), files) {
                (Ok(found), Some(files)) => assert_eq!(found.is_some(), files, "{memory} bytes"),
                (Err(Error::Environment(words)), None) => assert!(words.contains("memory_mb"), "{words}"),
                (found, _) => panic!("{memory} bytes: {:?}", found.err()),
            }
            let held = match files {
                Some(false) => whole,
                Some(true) => spilled,
                None => 0,
            };
            assert_eq!(runtime.memory_pool.reserved(), held);
            drop(session);
            assert_eq!(runtime.memory_pool.reserved(), 0);
        }
    }

    #[test]
    fn whoever_makes_room_is_asked_for_what_is_lacking_until_it_says_no_and_only_then_are_there_files() {
        let (whole, spilled) = (footprint(3).bytes(false) as usize, footprint(3).bytes(true) as usize);
        let runtime = runtime(whole + 100, 1 << 20);
        let others: Vec<_> = (0..4).map(|_| MemoryConsumer::new("other").register(&runtime.memory_pool)).collect();
        others.iter().for_each(|other| other.try_grow(100).unwrap());
        let session = SessionMemory::new(&runtime, SESSION, "advertiser");
        let dropped = std::cell::Cell::new(0);
        let make_room = |more: usize| {
            assert_eq!(more, whole);
            let other = others.get(dropped.get());
            dropped.set(dropped.get() + 1);
            other.is_some_and(|other| other.free() > 0)
        };
        assert!(session.fit(&footprint(3), make_room).unwrap().is_none());
        assert_eq!(dropped.get(), 3, "no more than it takes");
        drop(session);
        others[0].try_grow(whole + 100 - 100 - spilled).unwrap();
        let session = SessionMemory::new(&runtime, SESSION, "advertiser");
        assert!(session.fit(&footprint(3), no_more).unwrap().is_some());
    }

    #[test]
    fn by_one_identifier_there_is_nothing_to_put_into_files() {
        let bytes = footprint(1).bytes(false) as usize;
        let session = SessionMemory::new(&runtime(bytes - 1, 1 << 20), SESSION, "advertiser");
        assert!(matches!(session.fit(&footprint(1), no_more), Err(Error::Environment(_))));
    }

    #[test]
    fn what_is_set_aside_follows_what_is_known() {
        let runtime = runtime(1 << 30, 1 << 20);
        let session = SessionMemory::new(&runtime, SESSION, "publisher");
        for columns in [1, 4, 2] {
            assert!(session.fit(&footprint(columns), no_more).unwrap().is_none());
            assert_eq!(runtime.memory_pool.reserved() as u64, footprint(columns).bytes(false));
        }
    }

    #[test]
    fn a_file_is_read_where_one_likes_and_gone_when_it_is_dropped() {
        let runtime = runtime(footprint(2).bytes(true) as usize, 1 << 20);
        let session = SessionMemory::new(&runtime, SESSION, "advertiser");
        let files = session.fit(&footprint(2), no_more).unwrap().unwrap();
        let (mut one, mut other) = (files.create().unwrap(), files.create().unwrap());
        for start in [0u8, 100] {
            one.append(&(start..start + 100).collect::<Vec<_>>()).unwrap();
            other.append(&[start; 10]).unwrap();
        }
        for offset in [150u8, 0, 99] {
            let mut found = [0; 32];
            one.read_at(offset.into(), &mut found).unwrap();
            assert_eq!(found.to_vec(), (offset..offset + 32).collect::<Vec<_>>());
        }
        let mut found = [0; 20];
        other.read_at(0, &mut found).unwrap();
        assert_eq!(found.to_vec(), [[0; 10], [100; 10]].concat());
        // Past the end is an error, never other bytes.
        assert!(matches!(other.read_at(1, &mut found), Err(Error::Environment(_))));
        assert_eq!(runtime.disk_manager.used_disk_space(), 220);
        drop((one, other));
        assert_eq!(runtime.disk_manager.used_disk_space(), 0);
        assert_eq!(runtime.disk_manager.spilling_progress().active_files_count, 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_process_that_is_killed_leaves_no_file_since_an_open_one_has_no_name() {
        let runtime = runtime(footprint(2).bytes(true) as usize, 1 << 20);
        let session = SessionMemory::new(&runtime, SESSION, "advertiser");
        let files = session.fit(&footprint(2), no_more).unwrap().unwrap();
        let mut file = files.create().unwrap();
        let folders = runtime.disk_manager.temp_dir_paths();
        let named = || folders.iter().map(|folder| std::fs::read_dir(folder).unwrap().count()).sum::<usize>();
        assert_eq!((folders.len(), named()), (1, 0));
        file.append(&[7; 64]).unwrap();
        let mut found = [0; 32];
        file.read_at(32, &mut found).unwrap();
        assert_eq!((found, named()), ([7; 32], 0));
        assert_eq!(runtime.disk_manager.used_disk_space(), 64);
        drop(file);
        assert_eq!(runtime.disk_manager.used_disk_space(), 0);
        assert_eq!(runtime.disk_manager.spilling_progress().active_files_count, 0);
    }

    #[test]
    fn over_the_engines_bound_for_temporary_files_a_session_ends_in_words_without_a_path() {
        let runtime = runtime(footprint(2).bytes(true) as usize, 100);
        let session = SessionMemory::new(&runtime, SESSION, "advertiser");
        let files = session.fit(&footprint(2), no_more).unwrap().unwrap();
        let mut file = files.create().unwrap();
        file.append(&[7; 96]).unwrap();
        let Err(Error::Environment(words)) = file.append(&[7; 96]) else { panic!("over the bound") };
        assert!(words.starts_with("'advertiser'") && words.contains("temporary files"), "{words}");
        let folders = runtime.disk_manager.temp_dir_paths();
        assert!(folders.iter().all(|folder| !words.contains(&folder.display().to_string())), "{words}");
    }
}
