//! Tags with their rows, sorted by radix: dealt into buckets as they arrive, each bucket sorted by itself, in place.

use std::ops::Range;

use rayon::prelude::*;

/// Bits that a row's number takes of an entry, the lowest.
const ROW_BITS: u32 = u32::BITS;
/// Most bits of a tag: 15 bytes, at which the buckets stand for up to 24 of them.
const TAG_BITS_MAX: u32 = 120;
/// Rows that a bucket is to hold at least: with its copy 128 to 256 KiB, and twice that for tags (of whose first bits one, the
/// lowest of an encoding, is always 0), which fits a second cache. The ends of the buckets of 10^6 rows fit a first one.
const BUCKET_ROWS: u64 = 1 << 12;
/// More buckets than these would be filled through caches that do not hold their ends.
const BUCKET_BITS_MAX: u32 = 12;
/// Rows of a block, at most: 4 KiB. The last block of a bucket is half empty in the mean.
const BLOCK_ROWS_MAX: u64 = 256;
const BLOCK_ROWS_MIN: u64 = 16;
/// Rows that have the same digit in a bucket, in the mean: few enough to be sorted by insertion.
const LEAF_ROWS: usize = 8;
const DIGIT_BITS_MAX: u32 = 12;
/// Rows with the same bucket and digit that more than one core sorts. Tags that are random never come to that.
const PARALLEL_ROWS: usize = 1 << 15;

/// Tags that arrive in any order, each with the number of its row: 16 bytes for one, and half a block of 4 KiB per bucket.
///
/// # How
/// A tag's first bits are its bucket's number. What a bucket holds of a row is one number of 128 bits: the tag, of which
/// the bits that the bucket stands for may be cut off, and the row behind it. Tags of up to 12 bytes are kept whole; for
/// each further byte there are 8 more bits of buckets. Buckets are lists of blocks, which are made when they are needed:
/// what a peer announces makes headers, what it sends makes blocks, and nothing is ever copied to grow.
///
/// [`sort`](Self::sort) takes the buckets in parallel. Each is dealt by its next few bits into a copy, in which few rows
/// are left to each value of these bits; these are sorted by comparison, and all goes back into the blocks. So of random
/// tags each is read and written some four times, wherever it stands in a bucket that fits the cache.
///
/// Measured as [the other verbs](super#speed), ns of a core's time per row, for 10^6 and 10^7 rows: 7 and 14 to push, 14 and
/// 14 to sort, shared evenly between the cores; 13 and 14 to compare with as many that arrive sorted. The standard
/// library's sort of pairs of tag and row, 32 bytes each, takes 38 and 44.
///
/// # Tags that are not random
/// The peer may have chosen them (it asks for tags of its own computing) or may have repeated one element n times. Then
/// one bucket may hold all rows, and one value of its digit too. Its sort is the standard library's, of
/// O(n log n) comparisons whatever the input, on all cores; its copy takes another 16 bytes per row meanwhile.
pub struct TagRows {
    tag_bits: u32,
    bucket_bits: u32,
    block_rows: usize,
    buckets: Vec<Bucket>,
    rows: usize,
}

/// Blocks of equal size, all of them full but the last.
type Bucket = Vec<Vec<u128>>;

/// What one core needs beside the bucket that it sorts.
#[derive(Default)]
struct Scratch {
    dealt: Vec<u128>,
    /// By digit: how many rows there are, then where the next one goes.
    places: Vec<usize>,
}

impl TagRows {
    /// For tags of `tag_bits` bits, of which some `rows` will come. The number is no limit, but time and memory are best
    /// where it is met: the buckets are by it.
    ///
    /// # Panics
    /// Where a tag has more than 120 bits, or none.
    pub fn new(tag_bits: u32, rows: u64) -> Self {
        assert!((1..=TAG_BITS_MAX).contains(&tag_bits), "tags have 1 to {TAG_BITS_MAX} bits, not {tag_bits}");
        let cut = (tag_bits + ROW_BITS).saturating_sub(u128::BITS);
        let wanted = (rows / BUCKET_ROWS).max(1).ilog2();
        let bucket_bits = wanted.min(BUCKET_BITS_MAX).max(cut).min(tag_bits);
        let block_rows = (rows >> bucket_bits >> 3).clamp(BLOCK_ROWS_MIN, BLOCK_ROWS_MAX) as usize;
        TagRows { tag_bits, bucket_bits, block_rows, buckets: vec![Vec::new(); 1 << bucket_bits], rows: 0 }
    }

    /// Takes one more.
    ///
    /// # Panics
    /// Where `tag` has more bits than tags have.
    pub fn push(&mut self, tag: u128, row: u32) {
        let bucket = &mut self.buckets[bucket_of(tag, self.tag_bits - self.bucket_bits)];
        let entry = tag << ROW_BITS | u128::from(row);
        match bucket.last_mut() {
            Some(block) if block.len() < self.block_rows => block.push(entry),
            _ => {
                let mut block = Vec::with_capacity(self.block_rows);
                block.push(entry);
                bucket.push(block);
            }
        }
        self.rows += 1;
    }

    /// How many have come.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether none has come.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// All of them in ascending order, in parallel; or the lowest tag's first two rows that occurs more than once.
    pub fn sort(mut self) -> Result<SortedTagRows, [u32; 2]> {
        let tag_bits_left = self.tag_bits - self.bucket_bits;
        let sort = |scratch: &mut Scratch, bucket: &mut Bucket| {
            sort_bucket(bucket, tag_bits_left, scratch);
            repeated(bucket)
        };
        if let Some(rows) = self.buckets.par_iter_mut().map_init(Scratch::default, sort).find_map_first(|rows| rows) {
            return Err(rows);
        }
        let starts = self.buckets.iter().scan(0, |end, bucket| {
            let start = *end;
            *end += rows_of(bucket);
            Some(start)
        });
        Ok(SortedTagRows { starts: starts.collect(), tags: self })
    }
}

/// Tags with their rows, in ascending order, none twice.
pub struct SortedTagRows {
    tags: TagRows,
    /// How many rows are before each bucket.
    starts: Vec<usize>,
}

impl SortedTagRows {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.tags.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tags.rows == 0
    }

    /// Those at `places` of the order, as far as there are so many.
    pub fn range(&self, places: Range<usize>) -> impl Iterator<Item = (u128, u32)> {
        // Of buckets that begin at the same place all but the last are empty.
        let first = self.starts.partition_point(|start| *start <= places.start).saturating_sub(1);
        let within = places.start - self.starts[first];
        let (block, skipped) = (within / self.tags.block_rows, within % self.tags.block_rows);
        let low_bits = self.tags.tag_bits - self.tags.bucket_bits;
        let buckets = self.tags.buckets.iter().enumerate().skip(first);
        let entries = buckets.flat_map(move |(number, blocks)| {
            let blocks = &blocks[if number == first { block.min(blocks.len()) } else { 0 }..];
            // The bits that the bucket stands for are in the entry, too, where there was room for them.
            let high = (number as u128) << low_bits;
            blocks.iter().flatten().map(move |entry| (high | entry >> ROW_BITS, *entry as u32))
        });
        entries.skip(skipped).take(places.len())
    }

    /// Looks for tags in ascending order, in one pass over both.
    pub fn cursor(self) -> TagCursor {
        TagCursor { sorted: self, bucket: 0, block: 0, place: 0 }
    }
}

/// Where a search in ascending order has come to.
pub struct TagCursor {
    sorted: SortedTagRows,
    bucket: usize,
    block: usize,
    place: usize,
}

impl TagCursor {
    /// The row of `tag`, which is not below any that was looked for before.
    ///
    /// # Panics
    /// Where `tag` has more bits than tags have.
    pub fn find(&mut self, tag: u128) -> Option<u32> {
        let tags = &self.sorted.tags;
        let bucket = bucket_of(tag, tags.tag_bits - tags.bucket_bits);
        if bucket != self.bucket {
            (self.bucket, self.block, self.place) = (bucket, 0, 0);
        }
        let blocks = &tags.buckets[bucket];
        let wanted = tag << ROW_BITS;
        while let Some(block) = blocks.get(self.block) {
            while let Some(entry) = block.get(self.place) {
                if *entry >= wanted {
                    return (entry >> ROW_BITS == wanted >> ROW_BITS).then_some(*entry as u32);
                }
                self.place += 1;
            }
            (self.block, self.place) = (self.block + 1, 0);
        }
        None
    }
}

fn bucket_of(tag: u128, low_bits: u32) -> usize {
    (tag >> low_bits) as usize
}

fn rows_of(bucket: &Bucket) -> usize {
    bucket.iter().map(Vec::len).sum()
}

/// Sorts entries that differ in their last `tag_bits_left` bits of tag, and in the rows.
fn sort_bucket(bucket: &mut Bucket, tag_bits_left: u32, scratch: &mut Scratch) {
    if let [] | [_] = &bucket[..] {
        bucket.iter_mut().for_each(|block| block.sort_unstable());
        return;
    }
    let rows = rows_of(bucket);
    let digit_bits = (rows / LEAF_ROWS).max(1).ilog2().min(DIGIT_BITS_MAX).min(tag_bits_left);
    let (shift, digits) = (tag_bits_left + ROW_BITS - digit_bits, 1usize << digit_bits);
    let digit = |entry: &u128| (entry >> shift) as usize & (digits - 1);

    let Scratch { dealt, places } = scratch;
    places.clear();
    places.resize(digits, 0);
    bucket.iter().flatten().for_each(|entry| places[digit(entry)] += 1);
    let mut end = 0;
    for place in places.iter_mut() {
        (*place, end) = (end, end + *place);
    }
    if dealt.len() < rows {
        *dealt = vec![0; rows];
    }
    let dealt = &mut dealt[..rows];
    for entry in bucket.iter().flatten() {
        let place = &mut places[digit(entry)];
        dealt[*place] = *entry;
        *place += 1;
    }
    // Each place is now where the next digit's rows begin.
    let mut rest = &mut *dealt;
    let mut start = 0;
    for end in places.iter() {
        let (leaf, behind) = rest.split_at_mut(end - start);
        if leaf.len() >= PARALLEL_ROWS {
            leaf.par_sort_unstable()
        } else {
            leaf.sort_unstable()
        }
        (rest, start) = (behind, *end);
    }
    let mut sorted = &*dealt;
    for block in bucket {
        let (front, behind) = sorted.split_at(block.len());
        block.copy_from_slice(front);
        sorted = behind;
    }
}

/// The first two rows of the lowest tag that a sorted bucket holds twice.
fn repeated(bucket: &Bucket) -> Option<[u32; 2]> {
    let mut last: Option<u128> = None;
    for entry in bucket.iter().flatten() {
        // Entries of one tag ascend by row.
        if let Some(last) = last.filter(|last| last >> ROW_BITS == entry >> ROW_BITS) {
            return Some([last as u32, *entry as u32]);
        }
        last = Some(*entry);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_core::{Rng, SeedableRng};

    use super::super::random::ChaCha20Rng;
    use super::*;

    fn tag_rows(tag_bits: u32, announced: u64, tags: &[u128]) -> TagRows {
        let mut rows = TagRows::new(tag_bits, announced);
        tags.iter().zip(0..).for_each(|(tag, row)| rows.push(*tag, row));
        assert_eq!((rows.len(), rows.is_empty()), (tags.len(), tags.is_empty()));
        rows
    }

    fn random(count: usize, tag_bits: u32) -> Vec<u128> {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        (0..count)
            .map(|_| (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())) >> (128 - tag_bits))
            .collect()
    }

    /// Against the standard library's sort: order, rows, ranges, repeats, and what a cursor finds.
    fn agrees(tag_bits: u32, announced: u64, tags: &[u128]) {
        let mut expected: Vec<(u128, u32)> = tags.iter().copied().zip(0..).collect();
        expected.sort_unstable();
        let repeated = expected.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| [pair[0].1, pair[1].1]);
        let sorted = match (tag_rows(tag_bits, announced, tags).sort(), repeated) {
            (Ok(sorted), None) => sorted,
            (Err(rows), Some(repeated)) => return assert_eq!(rows, repeated),
            (found, expected) => panic!("{:?} for {expected:?}", found.err()),
        };
        assert_eq!((sorted.len(), sorted.is_empty()), (tags.len(), tags.is_empty()));
        assert_eq!(sorted.range(0..tags.len()).collect::<Vec<_>>(), expected);
        for start in (0..tags.len()).step_by(tags.len() / 7 + 1) {
            let end = (start + 300).min(tags.len());
            assert_eq!(sorted.range(start..end).collect::<Vec<_>>(), expected[start..end]);
        }
        assert_eq!(sorted.range(tags.len()..tags.len() + 5).count(), 0);
        let mut cursor = sorted.cursor();
        let most = u128::MAX >> (128 - tag_bits);
        let near = expected.iter().flat_map(|(tag, _)| [tag.saturating_sub(1), *tag, (tag + 1).min(most), *tag]);
        let mut wanted: Vec<u128> = near.chain([0, most]).collect();
        wanted.sort_unstable();
        for tag in wanted {
            let there = expected.binary_search_by_key(&tag, |(tag, _)| *tag).ok().map(|place| expected[place].1);
            assert_eq!(cursor.find(tag), there, "{tag:x}");
        }
    }

    #[test]
    fn random_tags_of_every_length_are_sorted_whatever_was_announced() {
        for bytes in 7..=13 {
            for announced in [0, 5000, 1 << 20] {
                agrees(8 * bytes, announced, &random(5000, 8 * bytes));
            }
        }
        // So many that each bucket has several blocks, and a digit.
        agrees(96, 70_000, &random(70_000, 96));
        agrees(104, 70_000, &random(70_000, 104));
        // The longest: 16 and 24 bits of buckets.
        agrees(112, 3000, &random(3000, 112));
        agrees(120, 300, &random(300, 120));
    }

    #[test]
    fn tags_that_a_peer_has_chosen_are_sorted_too() {
        let count = 3 * PARALLEL_ROWS as u128;
        let most = (1 << 96) - 1;
        let cases: [Vec<u128>; 6] = [
            // One prefix, ascending and descending; the highest prefix.
            (0..count).collect(),
            (0..count).rev().collect(),
            (0..count).map(|tag| most - tag.reverse_bits() % (1 << 40)).collect(),
            // One row apart from all others.
            (1..count).chain([most]).collect(),
            // Up and down.
            (0..count).map(|tag| if tag % 2 == 0 { tag } else { 2 * count - tag }).collect(),
            // One bucket, all digits.
            random(1 << 15, 85),
        ];
        for tags in &cases {
            for announced in [0, tags.len() as u64] {
                agrees(96, announced, tags);
            }
        }
    }

    #[test]
    fn repeats_are_found_by_their_first_rows_however_many_there_are() {
        for count in [2, 300, 2 * PARALLEL_ROWS] {
            assert_eq!(tag_rows(96, count as u64, &vec![7 << 80; count]).sort().err(), Some([0, 1]));
        }
        let mut tags = random(50_000, 104);
        (tags[49_999], tags[3]) = (tags[17], tags[30_000]);
        agrees(104, 50_000, &tags);
    }

    #[test]
    fn an_announcement_alone_takes_no_room_for_rows() {
        let rows = TagRows::new(96, 1 << 40);
        assert!(rows.buckets.len() <= 1 << BUCKET_BITS_MAX);
        assert!(rows.buckets.iter().all(|bucket| bucket.capacity() == 0));
    }

    #[test]
    fn a_row_takes_sixteen_bytes_and_some_hundredths() {
        for (count, tag_bits) in [(1_000_000, 96), (200_000, 104)] {
            let rows = tag_rows(tag_bits, count as u64, &random(count, tag_bits));
            let blocks = rows.buckets.iter().flatten();
            let bytes: usize = blocks.map(|block| 16 * block.capacity() + size_of_val(block)).sum();
            let headers = rows.buckets.len() * size_of::<Bucket>();
            assert!(bytes + headers < count * 20, "{} bytes for {count} rows", bytes + headers);
        }
    }

    #[test]
    #[should_panic(expected = "tags have 1 to 120 bits, not 128")]
    fn a_tag_that_leaves_no_room_for_buckets_is_a_bug() {
        TagRows::new(128, 1);
    }

    proptest! {
        #[test]
        fn sorts_as_the_standard_library_does(
            bytes in 7u32..=13,
            announced in prop_oneof![Just(0u64), 0u64..100_000],
            draws in prop::collection::vec((any::<u128>(), 0u32..104), 0..1500),
        ) {
            // Shifted by a draw of its own, a tag may have any number of zeros in front: buckets of all sizes, and repeats.
            let bits = 8 * bytes;
            let tags: Vec<u128> = draws.into_iter().map(|(draw, zeros)| draw >> (128 - bits) >> zeros.min(bits)).collect();
            agrees(bits, announced, &tags);
        }
    }
}
