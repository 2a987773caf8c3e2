//! The extension a second time, as slowly and plainly as the documents read: booleans, one AES
//! block at a time, no shared code with the kernels. From leaf seeds on; base OTs and trees have
//! their own second ways beside them.

use aes::{
    Aes128,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use sha2::{Digest, Sha256, Sha512};

/// What a run is made from.
pub(super) struct Inputs<'a> {
    pub(super) k: usize,
    /// Tree by tree, 2^k each, by x.
    pub(super) leaf_seeds: &'a [u128],
    pub(super) delta: u128,
    /// One per OT, the filling and the extra block included.
    pub(super) choices: &'a [bool],
    pub(super) rows: usize,
    /// Bytes per word.
    pub(super) word_bytes: &'a [usize],
    /// By row, then by word.
    pub(super) values: &'a [Vec<i128>],
    pub(super) challenge: [u8; 16],
    /// Blocks of a full `Corrections` chunk: the transcript is hashed by message.
    pub(super) chunk_blocks: usize,
    /// The binding's digest, the only thing taken from the fast side.
    pub(super) bound: [u8; 32],
}

/// What a run gives.
pub(super) struct Outputs {
    pub(super) corrections: Vec<u8>,
    pub(super) check: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) sender_shares: Vec<u128>,
    pub(super) receiver_shares: Vec<u128>,
    pub(super) random_zero: Vec<u128>,
    pub(super) random_one: Vec<u128>,
    pub(super) random_chosen: Vec<u128>,
}

fn aes(key: u128, block: u128) -> u128 {
    let mut block = block.to_le_bytes().into();
    Aes128::new(&key.to_le_bytes().into()).encrypt_block(&mut block);
    u128::from_le_bytes(block.into())
}

fn bit(number: u128, index: usize) -> bool {
    number >> index & 1 == 1
}

fn key(label: &str, bound: &[u8; 32], rest: &[&[u8]]) -> u128 {
    let mut hash = Sha512::new();
    for part in ["datafusion-psi/mpc/v1", label] {
        hash.update([part.len() as u8]);
        hash.update(part);
    }
    hash.update(bound);
    rest.iter().for_each(|part| hash.update(part));
    u128::from_le_bytes(hash.finalize()[..16].try_into().unwrap())
}

fn tmmo(key: u128, x: u128, usage: u128, index: usize, row: usize) -> u128 {
    let tweak = usage << 120 | (index as u128) << 64 | row as u128;
    aes(key, aes(key, x) ^ tweak) ^ aes(key, x)
}

/// Word `index` of row's pad: the stream's bytes at the word's offset.
fn pad_word(key: u128, x: u128, row: usize, word_bytes: &[usize], index: usize) -> u128 {
    let total: usize = word_bytes.iter().sum();
    let stream: Vec<u8> = (0..total.div_ceil(16)).flat_map(|block| tmmo(key, x, 1, block, row).to_le_bytes()).collect();
    let offset: usize = word_bytes[..index].iter().sum();
    let mut word = [0; 16];
    word[..word_bytes[index]].copy_from_slice(&stream[offset..offset + word_bytes[index]]);
    u128::from_le_bytes(word)
}

pub(super) fn run(inputs: &Inputs<'_>) -> Outputs {
    let &Inputs { k, leaf_seeds, delta, choices, rows, word_bytes, values, .. } = inputs;
    let (trees, leaves, ots) = (128 / k, 1 << k, choices.len());
    let stream = |tree: usize, x: usize| -> Vec<bool> {
        let seed = leaf_seeds[tree * leaves + x];
        let blocks = (0..ots / 128).map(|block| aes(seed, block as u128));
        blocks.flat_map(|block| (0..128).map(move |row| bit(block, row))).collect()
    };

    // c = u_j ⊕ u, t from v, q from w ⊕ Δ·c.
    let mut corrections = vec![0u8; ots / 128 * trees * 16];
    let (mut t, mut q) = (vec![0u128; ots], vec![0u128; ots]);
    for tree in 0..trees {
        let delta_j = (delta >> (tree * k)) as usize % leaves;
        let mut u = vec![false; ots];
        for x in 0..leaves {
            for (ot, r) in stream(tree, x).into_iter().enumerate() {
                u[ot] ^= r;
                for b in 0..k {
                    t[ot] ^= u128::from(r && x >> b & 1 == 1) << (tree * k + b);
                    q[ot] ^= u128::from(r && (x ^ delta_j) >> b & 1 == 1) << (tree * k + b);
                }
            }
        }
        for ot in 0..ots {
            let c = u[ot] ^ choices[ot];
            let byte = ot / 128 * trees * 16 + tree * 16 + ot % 128 / 8;
            corrections[byte] |= u8::from(c) << (ot % 8);
            for b in 0..k {
                let column = tree * k + b;
                q[ot] ^= u128::from(c && bit(delta, column)) << column;
            }
        }
    }
    for ot in 0..ots {
        assert_eq!(q[ot], t[ot] ^ if choices[ot] { delta } else { 0 }, "q_i = t_i ⊕ b_i Δ at {ot}");
    }

    // The check, entry by entry of R. Messages before the corrections are none here.
    let mut transcript = Sha256::new();
    for chunk in corrections.chunks(inputs.chunk_blocks * trees * 16) {
        transcript.update((chunk.len() as u64).to_le_bytes());
        chunk.chunks(32768).for_each(|piece| transcript.update(Sha256::digest(piece)));
    }
    let matrix_key = key("check-matrix", &inputs.bound, &[&inputs.challenge, &transcript.finalize()]);
    let data = ots - 128;
    let words: Vec<Vec<u8>> = (0..data / 128)
        .map(|block| (0..64).flat_map(|index| aes(matrix_key, (block * 64 + index) as u128).to_le_bytes()).collect())
        .collect();
    let entry = |j: usize, ot: usize| {
        if ot >= data {
            return ot - data == j;
        }
        let place = (ot % 128 / 32 * 64 + j) * 4 + ot % 32 / 8;
        words[ot / 128][place] >> (ot % 8) & 1 == 1
    };
    let (mut bits, mut sums) = (0u64, [0u128; 64]);
    for (j, sum) in sums.iter_mut().enumerate() {
        let mut expected = 0;
        for ot in (0..ots).filter(|ot| entry(j, *ot)) {
            bits ^= u64::from(choices[ot]) << j;
            *sum ^= t[ot];
            expected ^= q[ot];
        }
        assert_eq!(expected, *sum ^ if bit(bits.into(), j) { delta } else { 0 }, "row {j} of the check");
    }
    let check = bits.to_le_bytes().into_iter().chain(sums.iter().flat_map(|sum| sum.to_le_bytes())).collect();

    let pads = key("pad-key", &inputs.bound, &[]);
    let mut payload = vec![];
    let (mut sender_shares, mut receiver_shares) = (vec![0u128; word_bytes.len()], vec![0u128; word_bytes.len()]);
    for row in 0..rows {
        for (word, bytes) in word_bytes.iter().enumerate() {
            let [zero, one, own] = [q[row], q[row] ^ delta, t[row]].map(|x| pad_word(pads, x, row, word_bytes, word));
            let masked = zero.wrapping_sub(one).wrapping_add(values[row][word] as u128);
            payload.extend_from_slice(&masked.to_le_bytes()[..*bytes]);
            sender_shares[word] = sender_shares[word].wrapping_sub(zero);
            let taken = if choices[row] { masked } else { 0 };
            receiver_shares[word] = receiver_shares[word].wrapping_add(own).wrapping_add(taken);
        }
    }
    for ((sender, receiver), bytes) in sender_shares.iter_mut().zip(&mut receiver_shares).zip(word_bytes) {
        if *bytes == 8 {
            (*sender, *receiver) = (*sender as u64 as u128, *receiver as u64 as u128);
        }
    }
    let random = |x: &dyn Fn(usize) -> u128| (0..rows).map(|row| tmmo(pads, x(row), 2, 0, row)).collect();
    Outputs {
        corrections,
        check,
        payload,
        sender_shares,
        receiver_shares,
        random_zero: random(&|row| q[row]),
        random_one: random(&|row| q[row] ^ delta),
        random_chosen: random(&|row| t[row]),
    }
}
