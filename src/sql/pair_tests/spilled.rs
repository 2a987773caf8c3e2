//! Runs whose memory pools have no room for all columns: from SQL down to the temporary files, at either side.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::DiskManager;
use datafusion::execution::disk_manager::DiskManagerMode;
use datafusion::execution::memory_pool::{MemoryPool, MemoryReservation, UnboundedMemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};

use super::kit::{IMPRESSIONS, OPEN_ASK, OPEN_SHARE, PURCHASES, Pair};

const BY_THREE: &str = "SELECT PRIVATE_INTERSECT_COUNT(*), PRIVATE_INTERSECT_SUM(p.amount) FROM impressions i \
     JOIN advertiser.purchases p ON i.email = p.email OR i.phone = p.phone OR (i.surname = p.surname AND i.born = p.born)";

/// A pool that has room for everything but for a private session of more than `most` bytes.
struct Tight {
    all: UnboundedMemoryPool,
    most: usize,
    largest: AtomicUsize,
    refused: AtomicUsize,
}

impl Tight {
    fn new(most: usize) -> Arc<Tight> {
        let all = UnboundedMemoryPool::default();
        Arc::new(Tight { all, most, largest: AtomicUsize::new(0), refused: AtomicUsize::new(0) })
    }
}

impl fmt::Debug for Tight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tight({} bytes)", self.most)
    }
}

impl fmt::Display for Tight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tight({} bytes)", self.most)
    }
}

impl MemoryPool for Tight {
    fn name(&self) -> &str {
        "tight"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.all.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.all.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if reservation.consumer().name().starts_with("session ") {
            let wanted = reservation.size() + additional;
            if wanted > self.most {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(DataFusionError::ResourcesExhausted(format!("{wanted} bytes")));
            }
            self.largest.fetch_max(wanted, Ordering::Relaxed);
        }
        self.all.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.all.reserved()
    }
}

fn runtime(pool: &Arc<Tight>, disk: Option<u64>) -> Arc<RuntimeEnv> {
    let mode = if disk.is_some() { DiskManagerMode::OsTmpDirectory } else { DiskManagerMode::Disabled };
    let files = DiskManager::builder().with_mode(mode).with_max_temp_directory_size(disk.unwrap_or(1 << 20));
    let builder = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(pool) as Arc<dyn MemoryPool>);
    builder.with_disk_manager_builder(files).build_arc().unwrap()
}

async fn pair(pools: [&Arc<Tight>; 2], disks: [Option<u64>; 2]) -> Pair {
    let runtimes = [runtime(pools[0], disks[0]), runtime(pools[1], disks[1])];
    Pair::within(PURCHASES, IMPRESSIONS, OPEN_SHARE, OPEN_ASK, runtimes).await
}

/// What each side sets aside where there is room for all of it.
async fn whole() -> [usize; 2] {
    let roomy = [Tight::new(usize::MAX), Tight::new(usize::MAX)];
    pair([&roomy[0], &roomy[1]], [None, None]).await.row(BY_THREE).await;
    roomy.map(|pool| pool.largest.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_question_without_room_for_all_columns_has_the_same_answer_by_files_at_either_side() {
    let whole = whole().await;
    let truth = Pair::open().await.row(BY_THREE).await;
    for tight in [[true, false], [false, true], [true, true]] {
        let most = |side: usize| if tight[side] { whole[side] - 1 } else { usize::MAX };
        let pools = [Tight::new(most(0)), Tight::new(most(1))];
        let pair = pair([&pools[0], &pools[1]], [Some(1 << 20); 2]).await;
        assert_eq!(pair.row(BY_THREE).await, truth);
        for (pool, tight) in pools.iter().zip(tight) {
            assert_eq!(pool.refused.load(Ordering::Relaxed) > 0, tight, "{pool}");
        }
        drop(pair);
    }
}

#[tokio::test]
async fn a_disk_without_room_for_the_columns_either_ends_the_question_in_words_that_name_the_side() {
    let whole = whole().await;
    for (side, party) in ["publisher", "advertiser"].into_iter().enumerate() {
        let mut most = [usize::MAX; 2];
        most[side] = whole[side] - 1;
        let pools = most.map(Tight::new);
        // Room for one row of 32 bytes: the file is made, and cannot take a column.
        let pair = pair([&pools[0], &pools[1]], [Some(40), Some(40)]).await;
        let error = pair.error(BY_THREE).await;
        assert!(error.contains(&format!("'{party}'")) && error.contains("temporary files"), "{error}");
        // Both have paid: elements had left.
        assert_eq!((pair.paid(), pair.charged()), (1, 1));
    }
}

#[tokio::test]
async fn without_temporary_files_a_question_that_does_not_fit_is_refused_before_an_element_leaves() {
    let whole = whole().await;
    for (side, party) in ["publisher", "advertiser"].into_iter().enumerate() {
        let mut most = [usize::MAX; 2];
        most[side] = whole[side] - 1;
        let pools = most.map(Tight::new);
        let pair = pair([&pools[0], &pools[1]], [None, None]).await;
        let error = pair.error(BY_THREE).await;
        assert!(error.contains(&format!("'{party}'")) && error.contains("memory_mb"), "{error}");
    }
}
