//! Tables that are blinded for the next question while nobody is being answered.
//!
//! Once a peer has asked about a table, a task of the source's blinds its identifiers under a fresh scalar ([`BlindingAhead`]),
//! some thousand rows at a time, and stops between two steps for as long as any question is being answered. The next question
//! about the very same prepared table takes the result along and blinds nothing but its dummies. One result is kept for a table,
//! the tables asked about last first, in what `blind_ahead_mb` allows of the engine's pool. Whatever finds no room there, a session or
//! the reading of a table, gets this: nobody is refused, no column goes to the disk and no prepared table is dropped for what lies
//! here until it is used. A session that takes it holds its memory until its own columns are sent.
//!
//! What a peer can see of it is how fast its answer comes: that since its last question this party had time and memory to spare.
//! It does not see which other tables were asked about, nor by whom; results are, like prepared tables, kept for each peer by
//! itself. Nothing is decided by them: they are looked for after the charge, and found or not found.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, LargeBinaryArray};
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use tokio::sync::Notify;

use super::run::seeded;
use crate::psi::{BlindedAhead, BlindingAhead};
use crate::transport::offload;

/// What a source has blinded ahead, and the task that does it.
pub(super) struct Ahead {
    shared: Arc<Shared>,
    /// From the first question on; aborted with the source.
    maker: OnceLock<SpawnedTask<()>>,
}

struct Shared {
    /// The most bytes for all tables; 0: nothing is blinded ahead.
    bytes_max: usize,
    /// Those that are set aside.
    bytes: Arc<AtomicUsize>,
    pool: Arc<dyn MemoryPool>,
    /// Questions that are being answered.
    answering: AtomicUsize,
    /// The tables that were asked about, the latest first.
    asked: Mutex<Vec<Weak<TableAhead>>>,
    /// There may be something to do, or to see.
    changed: Notify,
}

/// One prepared table, and what is blinded of it.
pub(super) struct TableAhead {
    /// Its name, for the log.
    name: String,
    /// Shared with the prepared table.
    identifiers: Vec<LargeBinaryArray>,
    stage: Mutex<Stage>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Nothing,
    /// Between two steps.
    Begun(Box<Begun>, Held),
    /// In a step: the maker has it.
    Away(Held),
    Made(BlindedAhead, Held),
}

struct Begun {
    making: BlindingAhead,
    /// The time that its steps took.
    took: Duration,
}

/// Memory that is set aside for one table, in the pool and of what the policy allows.
struct Held {
    size: usize,
    all: Arc<AtomicUsize>,
    _reservation: MemoryReservation,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.size, Ordering::SeqCst);
    }
}

/// A question that is being answered: nothing is blinded ahead meanwhile, but for the step that has begun.
pub(super) struct Answering(Arc<Shared>);

impl Drop for Answering {
    fn drop(&mut self) {
        if self.0.answering.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

impl TableAhead {
    /// Nothing yet of a prepared table with these identifiers.
    pub(super) fn new(name: &str, identifiers: &[LargeBinaryArray]) -> Self {
        TableAhead { name: name.to_owned(), identifiers: identifiers.to_vec(), stage: Mutex::default() }
    }

    /// The table blinded, if all of it is, for one session, which has its memory from here on.
    pub(super) fn take(&self) -> Option<BlindedAhead> {
        let mut stage = self.stage();
        match std::mem::take(&mut *stage) {
            Stage::Made(made, held) => Some(made.holding(held)),
            other => {
                *stage = other;
                None
            }
        }
    }

    /// Lets go of what is kept, and of its memory. Whether there was any.
    fn give_up(&self) -> bool {
        let stage = std::mem::take(&mut *self.stage());
        let held = !matches!(stage, Stage::Nothing);
        match stage {
            // Wiping takes its time, and this may be one of the runtime's threads.
            Stage::Begun(begun, _) => rayon::spawn(move || drop(begun)),
            Stage::Made(made, _) => rayon::spawn(move || drop(made)),
            // Whoever has it finds its place taken.
            Stage::Away(_) | Stage::Nothing => {}
        }
        held
    }

    /// Bytes that are set aside for it now.
    fn held(&self) -> usize {
        match &*self.stage() {
            Stage::Nothing => 0,
            Stage::Begun(_, held) | Stage::Away(held) | Stage::Made(_, held) => held.size,
        }
    }

    /// Bytes that it takes.
    fn size(&self) -> usize {
        let rows = self.identifiers.first().map_or(0, Array::len) as u64;
        usize::try_from(BlindedAhead::bytes(rows, self.identifiers.len() as u64)).unwrap_or(usize::MAX)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        // Whole after every single operation.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TableAhead {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Ahead {
    /// Nothing yet. At most `mb` MB of the pool, and nothing ever with 0.
    pub(super) fn new(mb: u64, pool: &Arc<dyn MemoryPool>) -> Self {
        let shared = Shared {
            bytes_max: usize::try_from(mb.saturating_mul(1 << 20)).unwrap_or(usize::MAX),
            bytes: Arc::default(),
            pool: Arc::clone(pool),
            answering: AtomicUsize::new(0),
            asked: Mutex::default(),
            changed: Notify::new(),
        };
        Ahead { shared: Arc::new(shared), maker: OnceLock::new() }
    }

    /// Holds the maker back, until what is returned is dropped.
    pub(super) fn pause(&self) -> Answering {
        self.shared.answering.fetch_add(1, Ordering::SeqCst);
        Answering(Arc::clone(&self.shared))
    }

    /// Has a table blinded before the next question, as one was just put, and gives it for this one. To be called on a runtime.
    pub(super) fn asked_about(&self, table: &Arc<TableAhead>) -> Arc<TableAhead> {
        if self.shared.bytes_max > 0 {
            self.shared.note(table);
            self.maker.get_or_init(|| SpawnedTask::spawn(keep_making(Arc::clone(&self.shared))));
            self.shared.changed.notify_waiters();
        }
        Arc::clone(table)
    }

    /// Lets go of all that was blinded ahead and of its memory, which somebody needs now; not of what sessions have taken.
    /// Whether there was any.
    pub(super) fn give_up(&self) -> bool {
        self.shared.tables().iter().filter(|table| table.give_up()).count() > 0
    }

    /// Bytes that giving up would give back.
    pub(super) fn bytes(&self) -> usize {
        self.shared.tables().iter().map(|table| table.held()).sum()
    }

    /// Waits until so many tables are blinded to their end.
    #[cfg(test)]
    pub(super) async fn made(&self, tables: usize) {
        loop {
            let changed = self.shared.changed.notified();
            let is_made = |table: &&Arc<TableAhead>| matches!(*table.stage(), Stage::Made(..));
            if self.shared.tables().iter().filter(is_made).count() == tables {
                return;
            }
            changed.await;
        }
    }
}

/// Blinds whatever there is to blind, for as long as the source lives.
async fn keep_making(shared: Arc<Shared>) {
    loop {
        // Before the look, so that no change after it is missed.
        let changed = shared.changed.notified();
        let Some((table, begun)) = shared.next() else {
            changed.await;
            continue;
        };
        let (puts_back, lost) = (Arc::clone(&shared), Weak::clone(&table));
        let stepped = offload::compute(move || {
            let (mut begun, start) = (begun, Instant::now());
            let is_made = begun.making.step();
            begun.took += start.elapsed();
            puts_back.put_back(&table, begun, is_made);
        });
        if let Err(error) = stepped.await {
            tracing::error!(%error, "no table is blinded ahead any more; this is a bug, please report it");
            if let Some(table) = lost.upgrade() {
                table.give_up();
            }
            return;
        }
    }
}

impl Shared {
    /// Puts a table to the front of those that were asked about.
    fn note(&self, table: &Arc<TableAhead>) {
        let mut asked = self.asked();
        asked.retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(table)));
        asked.insert(0, Arc::downgrade(table));
    }

    /// What to go on with, of the table that was asked about last: it is away until it is put back. None while a question is
    /// being answered.
    fn next(&self) -> Option<(Weak<TableAhead>, Box<Begun>)> {
        if self.answering.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let tables = self.tables();
        for (rank, table) in tables.iter().enumerate() {
            if matches!(*table.stage(), Stage::Nothing) {
                let (size, older) = (table.size(), &tables[rank + 1..]);
                let newer = self.bytes.load(Ordering::SeqCst) - older.iter().map(|table| table.held()).sum::<usize>();
                if size == 0 || size > self.bytes_max.saturating_sub(newer) {
                    continue;
                }
                // Without room in the pool, or randomness, all wait: whatever was begun in this one's place would have to give way.
                let held = self.room(size, older)?;
                let making = BlindingAhead::new(&table.identifiers, seeded().ok()?);
                *table.stage() = Stage::Begun(Box::new(Begun { making, took: Duration::ZERO }), held);
            }
            let mut stage = table.stage();
            match std::mem::take(&mut *stage) {
                Stage::Begun(begun, held) => {
                    *stage = Stage::Away(held);
                    return Some((Arc::downgrade(table), begun));
                }
                other => *stage = other,
            }
        }
        None
    }

    /// Sets memory aside; what is kept of tables that were asked about before gives way, the oldest first. None where others
    /// than these have the pool's.
    fn room(&self, size: usize, older: &[Arc<TableAhead>]) -> Option<Held> {
        // Nobody else adds to it: there is one maker.
        for table in older.iter().rev() {
            if self.bytes.load(Ordering::SeqCst) <= self.bytes_max - size {
                break;
            }
            table.give_up();
        }
        let reservation = MemoryConsumer::new("tables blinded ahead").register(&self.pool);
        reservation.try_grow(size).ok()?;
        self.bytes.fetch_add(size, Ordering::SeqCst);
        Some(Held { size, all: Arc::clone(&self.bytes), _reservation: reservation })
    }

    /// What a step was made of, unless its table is gone or has given it up meanwhile.
    fn put_back(&self, table: &Weak<TableAhead>, begun: Box<Begun>, is_made: bool) {
        let Some(table) = table.upgrade() else { return };
        let mut stage = table.stage();
        match std::mem::take(&mut *stage) {
            Stage::Away(held) if !is_made => *stage = Stage::Begun(begun, held),
            Stage::Away(held) => {
                let took = begun.took;
                let Ok(made) = begun.making.finish() else { return };
                *stage = Stage::Made(made, held);
                let rows = table.identifiers.first().map_or(0, Array::len);
                tracing::info!(table = table.name, rows, seconds = took.as_secs_f64(), "blinded ahead");
                self.changed.notify_waiters();
            }
            other => *stage = other,
        }
    }

    /// The tables that were asked about and are still kept, the latest first.
    fn tables(&self) -> Vec<Arc<TableAhead>> {
        self.asked().iter().filter_map(Weak::upgrade).collect()
    }

    fn asked(&self) -> MutexGuard<'_, Vec<Weak<TableAhead>>> {
        // Whole after every single operation.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    /// Bytes of one step's rows, of which a MB has eight.
    const PIECE: usize = 1 << 17;

    fn pool(bytes: usize) -> Arc<dyn MemoryPool> {
        Arc::new(GreedyMemoryPool::new(bytes))
    }

    /// A table that takes so many pieces.
    fn table(pieces: usize) -> Arc<TableAhead> {
        let identifiers = (0..4096 * pieces).map(|person| Some(format!("person-{person}"))).collect();
        Arc::new(TableAhead::new("purchases", &[identifiers]))
    }

    /// Takes one step with a table, which has to be the one to go on with.
    fn step(ahead: &Ahead, table: &Arc<TableAhead>) {
        let (next, mut begun) = ahead.shared.next().expect("something to do");
        assert!(std::ptr::eq(next.as_ptr(), Arc::as_ptr(table)), "another table");
        let is_made = begun.making.step();
        ahead.shared.put_back(&next, begun, is_made);
    }

    #[tokio::test]
    async fn a_table_is_blinded_between_questions_and_serves_one_session() {
        let pool = pool(1 << 30);
        let ahead = Ahead::new(1, &pool);
        let table = table(2);
        for _ in 0..2 {
            let question = ahead.pause();
            ahead.asked_about(&table);
            assert!(table.take().is_none());
            drop(question);
            ahead.made(1).await;
            assert_eq!(pool.reserved(), 2 * PIECE);
            let taken = table.take();
            assert!(taken.is_some() && table.take().is_none(), "once only");
            assert!(!ahead.give_up(), "what a session has is not taken away");
            assert_eq!(pool.reserved(), 2 * PIECE, "until its rows are sent");
            drop(taken);
            assert_eq!(pool.reserved(), 0);
        }
    }

    #[tokio::test]
    async fn nothing_is_blinded_where_the_policy_allows_no_memory() {
        let pool = pool(1 << 30);
        let ahead = Ahead::new(0, &pool);
        let table = table(1);
        ahead.asked_about(&table);
        assert!(ahead.maker.get().is_none() && ahead.shared.next().is_none());
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn the_maker_stops_between_two_steps_for_as_long_as_any_question_is_answered() {
        let ahead = Ahead::new(1, &pool(1 << 30));
        let table = table(3);
        ahead.shared.note(&table);
        step(&ahead, &table);
        let questions = (ahead.pause(), ahead.pause());
        assert!(ahead.shared.next().is_none());
        drop(questions.0);
        assert!(ahead.shared.next().is_none());
        drop(questions.1);
        assert!(table.take().is_none(), "a part serves nobody");
        step(&ahead, &table);
        step(&ahead, &table);
        assert!(ahead.shared.next().is_none() && table.take().is_some());
    }

    #[test]
    fn the_table_asked_about_last_goes_first_and_older_ones_make_room_for_it_within_the_policy() {
        let pool = pool(1 << 30);
        let ahead = Ahead::new(1, &pool);
        let (first, second, third) = (table(5), table(4), table(4));
        ahead.shared.note(&first);
        step(&ahead, &first);
        assert_eq!(pool.reserved(), 5 * PIECE);
        ahead.shared.note(&second);
        step(&ahead, &second);
        assert_eq!((pool.reserved(), first.held()), (4 * PIECE, 0));
        ahead.shared.note(&third);
        step(&ahead, &third);
        assert_eq!((pool.reserved(), second.held()), (8 * PIECE, 4 * PIECE), "both fit");
        // Asked about again: it is begun anew, in the place of the oldest alone.
        ahead.shared.note(&second);
        for _ in 0..3 {
            step(&ahead, &second);
        }
        assert!(second.take().is_some());
        step(&ahead, &second);
        for _ in 0..3 {
            step(&ahead, &second);
        }
        // Then the others, as far as there is room for them beside it.
        step(&ahead, &third);
        assert_eq!((pool.reserved(), first.held()), (8 * PIECE, 0));
    }

    #[test]
    fn a_table_that_is_too_large_or_has_nobody_is_left_alone_and_the_next_one_is_not() {
        let pool = pool(1 << 30);
        let ahead = Ahead::new(1, &pool);
        let (small, large, empty) = (table(1), table(9), table(0));
        for table in [&small, &large, &empty] {
            ahead.shared.note(table);
        }
        step(&ahead, &small);
        assert!(ahead.shared.next().is_none());
        assert_eq!(pool.reserved(), PIECE);
    }

    #[test]
    fn all_is_given_up_at_once_when_a_session_needs_it_in_the_middle_of_a_step_too() {
        let pool = pool(1 << 30);
        let ahead = Ahead::new(1, &pool);
        let (made, away) = (table(1), table(2));
        ahead.shared.note(&made);
        step(&ahead, &made);
        ahead.shared.note(&away);
        let (next, begun) = ahead.shared.next().unwrap();
        assert_eq!(pool.reserved(), 3 * PIECE);
        assert_eq!(ahead.bytes(), 3 * PIECE);
        assert!(ahead.give_up() && !ahead.give_up());
        assert_eq!((pool.reserved(), ahead.shared.bytes.load(Ordering::SeqCst)), (0, 0));
        ahead.shared.put_back(&next, begun, false);
        assert!(made.take().is_none() && away.take().is_none());
        assert_eq!(pool.reserved(), 0);
        // And begun anew once there is time.
        step(&ahead, &away);
        assert_eq!(pool.reserved(), 2 * PIECE);
    }

    #[test]
    fn a_table_that_is_gone_takes_what_was_blinded_of_it_along() {
        let pool = pool(1 << 30);
        let ahead = Ahead::new(1, &pool);
        let (made, away) = (table(1), table(2));
        ahead.shared.note(&made);
        step(&ahead, &made);
        ahead.shared.note(&away);
        let (next, begun) = ahead.shared.next().unwrap();
        drop((made, away));
        assert_eq!(pool.reserved(), 0);
        ahead.shared.put_back(&next, begun, false);
        assert!(ahead.shared.next().is_none());
        assert_eq!((pool.reserved(), ahead.shared.bytes.load(Ordering::SeqCst)), (0, 0));
    }

    #[test]
    fn without_room_in_the_pool_nothing_is_begun_nor_given_up_for_it() {
        let pool = pool(4 * PIECE);
        let ahead = Ahead::new(1, &pool);
        let (small, large) = (table(1), table(3));
        ahead.shared.note(&small);
        step(&ahead, &small);
        let session = MemoryConsumer::new("session").register(&pool);
        session.try_grow(PIECE).unwrap();
        ahead.shared.note(&large);
        assert!(ahead.shared.next().is_none());
        assert_eq!((pool.reserved(), small.held()), (2 * PIECE, PIECE));
        drop(session);
        step(&ahead, &large);
        assert_eq!(pool.reserved(), 4 * PIECE);
    }
}
