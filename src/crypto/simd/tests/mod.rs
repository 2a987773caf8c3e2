//! The kernel against curve25519-dalek byte for byte, its field against big integers, its bounds at their edges.
//!
//! On a machine without the instructions these tests pass by doing nothing, and say so.

#![allow(clippy::print_stdout, reason = "tests that were passed over say so; times are there to be read")]

use curve25519_dalek::scalar::Scalar;
use rand_core::{Rng, SeedableRng};

use super::*;
use crate::crypto::kernel::{BLOCK_ROWS, Dalek};
use crate::crypto::{ChaCha20Rng, HashDomain};

mod arithmetic;
mod figures;
mod fuzz;
mod numbers;
mod oracle;
mod secrets;

/// The kernel where there is one.
fn kernel() -> Option<Ifma> {
    let kernel = Ifma::detect();
    if kernel.is_none() {
        println!("passed over: no AVX-512 IFMA");
    }
    kernel
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn uniform(rows: usize, rng: &mut ChaCha20Rng) -> Vec<Uniform> {
    let mut uniform = vec![[0; 64]; rows];
    uniform.iter_mut().for_each(|bytes| rng.fill_bytes(bytes));
    uniform
}
