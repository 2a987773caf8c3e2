//! Transposition of 128 × 128 bits, as words: no unsafe code, no secret-dependent branch or index.

/// A row of 128 bits as two halves, low one first: shifts stay inside 64 bits, which the compiler
/// turns into vector instructions, as it does not with 128-bit shifts.
type Row = [u64; 2];

/// Bit c of row r becomes bit r of row c.
///
/// Eklundh's recursion (Warren, Hacker's Delight, section 7-3): swap the off-diagonal quarters,
/// then do the same in each quarter; seven passes.
pub(super) fn transpose(rows: &mut [Row; 128]) {
    // Quarters of 64 × 64: whole halves change places.
    let (low, high) = rows.split_at_mut(64);
    for (low, high) in low.iter_mut().zip(high) {
        std::mem::swap(&mut low[1], &mut high[0]);
    }
    pass::<32>(rows, 0x0000_0000_ffff_ffff);
    pass::<16>(rows, 0x0000_ffff_0000_ffff);
    pass::<8>(rows, 0x00ff_00ff_00ff_00ff);
    pass::<4>(rows, 0x0f0f_0f0f_0f0f_0f0f);
    pass::<2>(rows, 0x3333_3333_3333_3333);
    pass::<1>(rows, 0x5555_5555_5555_5555);
}

/// Swaps the blocks of `SIZE` × `SIZE` beside the diagonal. `mask` has the low `SIZE` of every
/// 2·`SIZE` bits.
#[inline(always)]
fn pass<const SIZE: usize>(rows: &mut [Row; 128], mask: u64) {
    for pair in rows.chunks_exact_mut(2 * SIZE) {
        let (low, high) = pair.split_at_mut(SIZE);
        for (low, high) in low.iter_mut().zip(high) {
            for half in 0..2 {
                let moved = (low[half] >> SIZE ^ high[half]) & mask;
                high[half] ^= moved;
                low[half] ^= moved << SIZE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpc::ot::testing::rng;
    use rand_core::Rng;

    #[test]
    fn every_bit_lands_where_its_coordinates_swap() {
        let mut rng = rng(9);
        for _ in 0..4 {
            let matrix: Box<[Row; 128]> = Box::new(std::array::from_fn(|_| [rng.next_u64(), rng.next_u64()]));
            let mut turned = matrix.clone();
            transpose(&mut turned);
            let bit = |matrix: &[Row; 128], row: usize, column: usize| matrix[row][column / 64] >> (column % 64) & 1;
            for row in 0..128 {
                for column in 0..128 {
                    assert_eq!(bit(&turned, column, row), bit(&matrix, row, column), "({row}, {column})");
                }
            }
        }
    }
}
