//! Trees of seeds, of which the other side learns all leaves but one: (2^k − 1)-of-2^k OT from k
//! base OTs.
//!
//! SoftSpokenOT (Roy, CRYPTO 2022, eprint 2022/192), figures 13 (build and evaluate) and 14 (prove
//! and verify); the tree is that of Goldreich, Goldwasser and Micali. Tree j has leaves s_x, x in
//! 0..2^k, and the evaluator learns every leaf but x = Δ_j, bits jk..jk+k of Δ. The level that
//! decides bit b of x uses base OT jk + b, in which the evaluator chose the complement of that bit.
//!
//! *Build:* the top level's two nodes are base OT's two seeds. Below, every node s gives AES_s(0),
//! AES_s(1); the builder sends, per level, the XOR of all left and of all right children, each
//! hidden under a seed of the level's base OT. The evaluator opens the sum of the side that Δ_j
//! does not take and finds the one child there that it is missing.
//! *Prove:* SHA-512 of each leaf gives 32 bytes s̃_x and the 16 bytes that are used from there on.
//! The builder sends ⊕ s̃_x and a digest of all s̃_x. The evaluator completes its missing s̃ from
//! the first and compares the second. As s̃ binds its leaf (collision resistance), wrong sums leave
//! at most a set of Δ_j for which the check passes: a builder that is caught with probability 1 −
//! 2^−e has narrowed Δ by e bits if it is not. That is the selective failure which the paper's
//! functionality grants; an abort ends the run and Δ with it.
//!
//! The evaluator keeps nodes at y = x ⊕ Δ_j: the missing one is always y = 0, so that no index and
//! no branch depends on Δ. The extension wants the leaves in that order too.

use aes::{
    Aes128Enc,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use rayon::prelude::*;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use super::{
    super::{
        domain::{Bound, Label},
        error::PeerMisbehaved,
    },
    parameters::FieldBits,
};

/// Bytes of s̃ and of a digest: twice the security parameter, as collisions must not be found.
pub(super) const PROOF_BYTES: usize = 32;

/// What the evaluator needs for one tree, public.
#[derive(Clone)]
pub(super) struct TreeMessage {
    /// Sums of left and right children, levels from the second one down: k − 1.
    pub(super) sums: Vec<[u128; 2]>,
    /// ⊕ s̃_x.
    pub(super) proof_sum: [u8; PROOF_BYTES],
    /// Digest of all s̃_x.
    pub(super) proof_digest: [u8; PROOF_BYTES],
}

/// All trees' leaves, tree by tree: 2^k per tree by x, and what to send.
pub(super) fn build(
    bound: &Bound,
    field_bits: FieldBits,
    seeds: &[[u128; 2]],
) -> (Zeroizing<Vec<u128>>, Vec<TreeMessage>) {
    let k = field_bits.bits();
    let mut leaves = Zeroizing::new(vec![0; field_bits.trees() * field_bits.leaves()]);
    let messages = (leaves.par_chunks_mut(field_bits.leaves()), seeds.par_chunks(k))
        .into_par_iter()
        .enumerate()
        .map(|(tree, (leaves, seeds))| {
            leaves[..2].copy_from_slice(&seeds[k - 1]);
            let mut sums = Vec::with_capacity(k - 1);
            for bit in (0..k - 1).rev() {
                let count = 1 << (k - 1 - bit);
                let mut sum = seeds[bit];
                // From the end, as the children of node y go where nodes 2y and 2y + 1 were.
                for node in (0..count).rev() {
                    let children = children(leaves[node]);
                    sum[0] ^= children[0];
                    sum[1] ^= children[1];
                    leaves[2 * node..2 * node + 2].copy_from_slice(&children[..]);
                }
                sums.push(sum);
            }
            let mut proofs = Zeroizing::new(vec![[0; PROOF_BYTES]; leaves.len()]);
            let mut proof_sum = [0; PROOF_BYTES];
            for (leaf, proof) in leaves.iter_mut().zip(proofs.iter_mut()) {
                finish_leaf(bound, tree, leaf, proof);
                xor_into(&mut proof_sum, proof);
            }
            TreeMessage { sums, proof_sum, proof_digest: digest(bound, tree, &proofs) }
        })
        .collect();
    (leaves, messages)
}

/// All trees' leaves but one each, tree by tree: 2^k − 1 per tree, by y − 1 where y = x ⊕ Δ_j.
/// `seeds` are the base OTs' at the complement of `delta`.
pub(super) fn evaluate(
    bound: &Bound,
    field_bits: FieldBits,
    delta: u128,
    seeds: &[u128],
    messages: &[TreeMessage],
) -> Result<Zeroizing<Vec<u128>>, PeerMisbehaved> {
    let k = field_bits.bits();
    let known = field_bits.leaves() - 1;
    let mut leaves = Zeroizing::new(vec![0; field_bits.trees() * known]);
    let consistent = (leaves.par_chunks_mut(known), seeds.par_chunks(k), messages)
        .into_par_iter()
        .enumerate()
        .map(|(tree, (leaves, seeds, message))| {
            let delta = Zeroizing::new((delta >> (tree * k)) as u8 & known as u8);
            evaluate_tree(bound, field_bits, tree, *delta, seeds, message, leaves)
        })
        .reduce(|| Choice::from(1), |a, b| a & b);
    // One answer for all trees: which of them failed stays untold.
    if bool::from(consistent) { Ok(leaves) } else { Err(PeerMisbehaved::TreeCheck) }
}

fn evaluate_tree(
    bound: &Bound,
    field_bits: FieldBits,
    tree: usize,
    delta: u8,
    seeds: &[u128],
    message: &TreeMessage,
    out: &mut [u128],
) -> Choice {
    let k = field_bits.bits();
    let on_path = |bit: usize| Choice::from(delta >> bit & 1);
    let mut nodes = Zeroizing::new(vec![0u128; field_bits.leaves()]);
    nodes[1] = seeds[k - 1];
    for (bit, sums) in (0..k - 1).rev().zip(&message.sums) {
        let count = 1 << (k - 1 - bit);
        // The child off the path: its side's sum, less all the others of that side.
        let mut missing = seeds[bit] ^ u128::conditional_select(&sums[1], &sums[0], on_path(bit));
        for node in (1..count).rev() {
            let mut children = children(nodes[node]);
            let (left, right) = children.split_at_mut(1);
            u128::conditional_swap(&mut left[0], &mut right[0], on_path(bit));
            missing ^= children[1];
            nodes[2 * node..2 * node + 2].copy_from_slice(&children[..]);
        }
        (nodes[0], nodes[1]) = (0, missing);
        missing.zeroize();
    }
    let mut proofs = Zeroizing::new(vec![[0; PROOF_BYTES]; nodes.len()]);
    let (missing, known) = proofs.split_at_mut(1);
    missing[0] = message.proof_sum;
    for (node, proof) in nodes[1..].iter_mut().zip(known) {
        finish_leaf(bound, tree, node, proof);
        xor_into(&mut missing[0], proof);
    }
    // From y to x = y ⊕ delta, bit by bit.
    for bit in 0..k {
        for low in (0..proofs.len()).filter(|y| y >> bit & 1 == 0) {
            let (left, right) = proofs.split_at_mut(low + (1 << bit));
            <[u8; PROOF_BYTES]>::conditional_swap(&mut left[low], &mut right[0], on_path(bit));
        }
    }
    out.copy_from_slice(&nodes[1..]);
    digest(bound, tree, &proofs).ct_eq(&message.proof_digest)
}

/// G(s) = AES_s(0) ‖ AES_s(1): AES as a pseudorandom function.
fn children(node: u128) -> Zeroizing<[u128; 2]> {
    let cipher = Aes128Enc::new(&node.to_le_bytes().into());
    let mut blocks = [0u128.to_le_bytes().into(), 1u128.to_le_bytes().into()];
    cipher.encrypt_blocks(&mut blocks);
    let children = Zeroizing::new(blocks.map(|block: aes::Block| u128::from_le_bytes(block.into())));
    blocks.iter_mut().for_each(|block| block.0.zeroize());
    children
}

/// Replaces the leaf by the seed that is used, and gives s̃.
fn finish_leaf(bound: &Bound, tree: usize, leaf: &mut u128, proof: &mut [u8; PROOF_BYTES]) {
    let encoded = Zeroizing::new(leaf.to_le_bytes());
    let hash = bound.hash(Label::TreeLeaf, &[&[tree as u8], &encoded[..]]);
    proof.copy_from_slice(&hash[..PROOF_BYTES]);
    let mut seed = Zeroizing::new([0; 16]);
    seed.copy_from_slice(&hash[PROOF_BYTES..PROOF_BYTES + 16]);
    *leaf = u128::from_le_bytes(*seed);
}

fn digest(bound: &Bound, tree: usize, proofs: &[[u8; PROOF_BYTES]]) -> [u8; PROOF_BYTES] {
    let hash = bound.hash(Label::TreeDigest, &[&[tree as u8], proofs.as_flattened()]);
    let mut digest = [0; PROOF_BYTES];
    digest.copy_from_slice(&hash[..PROOF_BYTES]);
    digest
}

fn xor_into(sum: &mut [u8; PROOF_BYTES], summand: &[u8; PROOF_BYTES]) {
    sum.iter_mut().zip(summand).for_each(|(sum, summand)| *sum ^= summand);
}

#[cfg(test)]
mod tests {
    use super::{
        super::{parameters::COLUMNS, testing::*},
        *,
    };
    use rand_core::Rng;

    fn blocks(seed: u8, count: usize) -> Vec<u128> {
        let mut rng = rng(seed);
        (0..count)
            .map(|_| {
                let mut block = [0; 16];
                rng.fill_bytes(&mut block);
                u128::from_le_bytes(block)
            })
            .collect()
    }

    fn base() -> (Vec<[u128; 2]>, u128, Vec<u128>) {
        let pairs: Vec<[u128; 2]> = blocks(3, 2 * COLUMNS).chunks(2).map(|pair| [pair[0], pair[1]]).collect();
        let delta = blocks(4, 1)[0];
        let chosen = pairs.iter().enumerate().map(|(i, pair)| pair[1 - (delta >> i) as usize % 2]).collect();
        (pairs, delta, chosen)
    }

    /// The leaf at x by its own path from the root: a second, slower way.
    fn leaf_by_path(bound: &Bound, k: usize, tree: usize, seeds: &[[u128; 2]], x: usize) -> u128 {
        let mut node = seeds[tree * k + k - 1][x >> (k - 1)];
        for bit in (0..k - 1).rev() {
            let cipher = Aes128Enc::new(&node.to_le_bytes().into());
            let mut block = [0; 16];
            block[0] = (x >> bit) as u8 & 1;
            let mut block = aes::Block::from(block);
            cipher.encrypt_block(&mut block);
            node = u128::from_le_bytes(block.into());
        }
        let hash = bound.hash(Label::TreeLeaf, &[&[tree as u8], &node.to_le_bytes()]);
        u128::from_le_bytes(hash[32..48].try_into().unwrap())
    }

    #[test]
    fn every_leaf_is_where_its_path_leads_and_the_evaluator_lacks_exactly_delta() {
        let (pairs, delta, chosen) = base();
        for k in [1, 2, 4, 8] {
            let field_bits = FieldBits::try_from(k).unwrap();
            let bound = bound(&parameters(k, 0, &[]));
            let (leaves, messages) = build(&bound, field_bits, &pairs);
            let known = evaluate(&bound, field_bits, delta, &chosen, &messages).unwrap();
            let q = field_bits.leaves();
            for tree in 0..field_bits.trees() {
                let delta = (delta >> (tree * k as usize)) as usize % q;
                for x in 0..q {
                    let leaf = leaves[tree * q + x];
                    assert_eq!(leaf, leaf_by_path(&bound, k as usize, tree, &pairs, x), "k {k} tree {tree} leaf {x}");
                    match x ^ delta {
                        0 => assert!(!known.contains(&leaf), "k {k} tree {tree}: the missing leaf is known"),
                        y => assert_eq!(known[tree * (q - 1) + y - 1], leaf, "k {k} tree {tree} leaf {x}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_wrong_sum_on_the_opened_side_and_any_wrong_proof_fail_the_check() {
        let (pairs, delta, chosen) = base();
        for k in [2, 4, 8] {
            let field_bits = FieldBits::try_from(k).unwrap();
            let bound = bound(&parameters(k, 0, &[]));
            let (_, messages) = build(&bound, field_bits, &pairs);
            let tree = field_bits.trees() - 1;
            let fails = |change: &dyn Fn(&mut TreeMessage)| {
                let mut wrong = messages.clone();
                change(&mut wrong[tree]);
                evaluate(&bound, field_bits, delta, &chosen, &wrong).err()
            };
            for (level, bit) in (0..k as usize - 1).rev().enumerate() {
                let opened = 1 - (delta >> (tree * k as usize + bit)) as usize % 2;
                assert_eq!(fails(&|tree| tree.sums[level][opened] ^= 1), Some(PeerMisbehaved::TreeCheck));
                // The selective failure that the paper grants: the side that stays closed is not
                // looked at.
                assert_eq!(fails(&|tree| tree.sums[level][1 - opened] ^= 1), None);
            }
            assert_eq!(fails(&|tree| tree.proof_sum[7] ^= 16), Some(PeerMisbehaved::TreeCheck));
            assert_eq!(fails(&|tree| tree.proof_digest[31] ^= 1), Some(PeerMisbehaved::TreeCheck));
        }
    }
}
