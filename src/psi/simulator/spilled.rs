//! Sessions whose later columns lie in files: nobody but the files can tell, and a file that fails ends the session in words.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::*;

/// Files in memory, which count what is done with them and fail when they are told to.
#[derive(Default)]
pub(crate) struct MemoryFiles(Arc<Counts>);

#[derive(Default)]
struct Counts {
    trouble: Option<Trouble>,
    open: AtomicUsize,
    created: AtomicUsize,
    appends: AtomicUsize,
    reads: AtomicUsize,
    written: AtomicUsize,
}

/// What fails: making a file, or the n-th time that any is written or read, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Create,
    Append(usize),
    Read(usize),
}

impl MemoryFiles {
    pub(crate) fn sound() -> Self {
        Self::default()
    }

    pub(crate) fn with(trouble: Trouble) -> Self {
        MemoryFiles(Arc::new(Counts { trouble: Some(trouble), ..Counts::default() }))
    }

    /// Files that are there.
    pub(crate) fn open(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    /// Bytes written to all files that ever were.
    pub(crate) fn written(&self) -> usize {
        self.0.written.load(Ordering::SeqCst)
    }
}

impl Counts {
    fn fails(&self, trouble: Trouble) -> Result<(), Error> {
        match self.trouble {
            Some(planned) if planned == trouble => Err(Error::Environment(format!("planned: {trouble:?}"))),
            _ => Ok(()),
        }
    }
}

impl Spill for MemoryFiles {
    fn create(&self) -> Result<Box<dyn SpillFile>, Error> {
        self.0.fails(Trouble::Create)?;
        self.0.created.fetch_add(1, Ordering::SeqCst);
        self.0.open.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(MemoryFile { bytes: Mutex::default(), counts: Arc::clone(&self.0) }))
    }
}

struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
    counts: Arc<Counts>,
}

impl SpillFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.counts.fails(Trouble::Append(self.counts.appends.fetch_add(1, Ordering::SeqCst)))?;
        self.counts.written.fetch_add(bytes.len(), Ordering::SeqCst);
        self.bytes.get_mut().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        self.counts.fails(Trouble::Read(self.counts.reads.fetch_add(1, Ordering::SeqCst)))?;
        let held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.copy_from_slice(&held[offset as usize..][..bytes.len()]);
        Ok(())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::SeqCst);
    }
}

type Files = Option<Arc<MemoryFiles>>;
type Messages = Vec<(Role, Phase, RecordBatch)>;

fn spill(files: &Files) -> Option<Arc<dyn Spill>> {
    files.clone().map(|files| files as Arc<dyn Spill>)
}

/// A run in which the two sides have those files: all its messages, and how it ended.
fn observed(setting: &Setting, requester_s: &Files, responder_s: &Files) -> (Messages, Result<(), Error>) {
    let mut messages = Vec::new();
    let found = spill(requester_s);
    let mut requester = setting.requester().unwrap().with_room(Box::new(move |_| Ok(found)));
    let Ok(Output::Batch(offer)) = requester.poll_output() else { panic!("no offer") };
    let responder = setting.responder(&Offer::from_batch(&offer).unwrap()).unwrap();
    let mut responder = responder.with_spill(spill(responder_s));
    let ended = drive(&mut requester, &mut responder, &mut |role, phase, _, batch| {
        messages.push((role, phase, batch.clone()));
        vec![batch]
    });
    (messages, ended.map_err(Failure::error))
}

/// Tables of which some match in each column.
pub(super) fn tables(columns: usize, requester: usize, responder: usize) -> Setting {
    let table = |side: &str, rows: usize| -> Rows {
        let id = |k: usize, i: usize| match i % (columns + 2) {
            common if common == k => format!("common-{k}-{i}"),
            _ => format!("{side}-{k}-{i}"),
        };
        (0..rows).map(|i| ((0..columns).map(|k| Some(id(k, i))).collect(), i as i128 % 50)).collect()
    };
    Setting::new(columns, table("a", requester), table("b", responder))
}

#[test]
fn what_travels_is_the_same_wherever_columns_lie() {
    let small = (1..=4).map(|columns| Setting { fillers: (2, 3), dummies: (2, 4), ..tables(columns, 23, 31) });
    // Of more than one batch.
    let settings: Vec<Setting> = small.chain([tables(2, 4200, 4300)]).collect();
    for setting in &settings {
        let (plain, ended) = observed(setting, &None, &None);
        ended.unwrap();
        for (one, other) in [(true, false), (false, true), (true, true)] {
            let files = |wanted: bool| wanted.then(|| Arc::new(MemoryFiles::sound()));
            let (requester_s, responder_s) = (files(one), files(other));
            let (spilled, ended) = observed(setting, &requester_s, &responder_s);
            ended.unwrap();
            assert!(spilled == plain, "{} columns, {one} {other}: other messages", setting.columns);
            for files in [&requester_s, &responder_s].into_iter().flatten() {
                assert_eq!(files.open(), 0, "files are gone with their columns");
            }
            // A later column each, and at the requester the padded elements of it.
            let later = setting.columns - 1;
            let created = |files: &Files| files.as_ref().map(|files| files.0.created.load(Ordering::SeqCst));
            assert_eq!(created(&requester_s), one.then_some(2 * later));
            assert_eq!(created(&responder_s), other.then_some(later));
            let dummies = setting.columns * setting.dummies.0.max(setting.dummies.1) as usize;
            let rows = setting.requester.len() + setting.fillers.0 as usize + dummies;
            assert!(responder_s.is_none_or(|files| files.written() == 32 * later * rows));
        }
    }
}

#[test]
fn a_file_that_fails_at_any_time_ends_the_session_in_its_own_words() {
    let setting = tables(3, 9, 12);
    for requester_s in [true, false] {
        let sides = |files: MemoryFiles| {
            let files = Some(Arc::new(files));
            if requester_s { (files, None) } else { (None, files) }
        };
        let (requester_files, responder_files) = sides(MemoryFiles::sound());
        observed(&setting, &requester_files, &responder_files).1.unwrap();
        let counts = &requester_files.or(responder_files).unwrap().0;
        let (appends, reads) = (counts.appends.load(Ordering::SeqCst), counts.reads.load(Ordering::SeqCst));
        assert!(appends > 1 && reads > 20, "{appends} appends, {reads} reads");
        let troubles = (0..appends).map(Trouble::Append).chain((0..reads).map(Trouble::Read));
        for trouble in troubles.chain([Trouble::Create]) {
            let (requester_files, responder_files) = sides(MemoryFiles::with(trouble));
            match observed(&setting, &requester_files, &responder_files).1 {
                Err(Error::Environment(words)) => assert!(words.contains("planned"), "{words}"),
                other => panic!("{trouble:?}: {other:?}"),
            }
            let files = requester_files.or(responder_files).unwrap();
            assert_eq!(files.open(), 0, "{trouble:?}: files are gone with the session");
        }
    }
}

#[test]
fn a_file_that_gives_other_bytes_is_this_machines_fault_and_not_the_peers() {
    /// Files that forget what was written.
    struct Blank;
    struct BlankFile;
    impl Spill for Blank {
        fn create(&self) -> Result<Box<dyn SpillFile>, Error> {
            Ok(Box::new(BlankFile))
        }
    }
    impl SpillFile for BlankFile {
        fn append(&mut self, _: &[u8]) -> Result<(), Error> {
            Ok(())
        }
        fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
            // Each row another, so that none is there twice; no canonical encoding.
            for (row, element) in (offset / 32..).zip(bytes.chunks_mut(32)) {
                element.fill(0xff);
                element[1..9].copy_from_slice(&row.to_le_bytes());
            }
            Ok(())
        }
    }
    let setting = tables(2, 9, 12);
    let mut requester = setting.requester().unwrap();
    let Ok(Output::Batch(offer)) = requester.poll_output() else { panic!("no offer") };
    let offer = Offer::from_batch(&offer).unwrap();
    let mut responder = setting.responder(&offer).unwrap().with_spill(Some(Arc::new(Blank)));
    let error = drive(&mut requester, &mut responder, &mut pass).map_err(Failure::error).unwrap_err();
    assert!(matches!(&error, Error::Environment(words) if words.contains("disk")), "{error}");
}

#[test]
fn a_requester_asks_for_room_by_both_tables_rows_and_ends_without_it_before_an_element_leaves() {
    let setting = Setting { fillers: (2, 3), dummies: (2, 4), ..tables(2, 23, 31) };
    let mut requester = setting.requester().unwrap().with_room(Box::new(|rows| {
        assert_eq!(rows, SessionRows { own: 23 + 2 + 2 * 4, peer: 31 + 3 + 2 * 4 });
        Err(Error::Environment("no room".to_owned()))
    }));
    let Ok(Output::Batch(offer)) = requester.poll_output() else { panic!("no offer") };
    let mut responder = setting.responder(&Offer::from_batch(&offer).unwrap()).unwrap();
    let mut phases = Vec::new();
    let ended = drive(&mut requester, &mut responder, &mut |_, phase, _, batch| {
        phases.push(phase);
        vec![batch]
    });
    assert!(matches!(ended.map_err(Failure::error), Err(Error::Environment(words)) if words == "no room"));
    assert!(phases.iter().all(|phase| *phase == Phase::Hello), "{phases:?}");
}
