//! The kernels against curve25519-dalek byte for byte, their field against big integers, their bounds at their edges.
//!
//! On a machine without a kernel's instructions its tests pass by doing nothing, and say so.

#![allow(clippy::print_stdout, reason = "tests that were passed over say so; times are there to be read")]

use curve25519_dalek::scalar::Scalar;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha512};

use super::*;
use crate::crypto::kernel::{BLOCK_ROWS, Dalek};
use crate::crypto::{ChaCha20Rng, HashDomain};

/// Each function as a test of each machine.
macro_rules! on_each_machine {
    ($($(#[$attribute:meta])* $test:ident;)*) => {
        mod ifma {
            $(#[test] $(#[$attribute])* fn $test() {
                crate::crypto::simd::tests::on::<crate::crypto::simd::Ifma>(super::$test);
            })*
        }
        mod avx2 {
            $(#[test] $(#[$attribute])* fn $test() {
                crate::crypto::simd::tests::on::<crate::crypto::simd::Avx2>(super::$test);
            })*
        }
    };
}

mod arithmetic;
mod figures;
mod fuzz;
mod numbers;
mod oracle;
mod secrets;

/// Runs a test, if this processor has the instructions.
fn on<M: numbers::Open>(test: impl FnOnce(M)) {
    match M::detect() {
        Some(machine) => test(machine),
        None => println!("passed over: no {}", M::NAME),
    }
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn uniform(rows: usize, rng: &mut ChaCha20Rng) -> Vec<Uniform> {
    let mut uniform = vec![[0; 64]; rows];
    uniform.iter_mut().for_each(|bytes| rng.fill_bytes(bytes));
    uniform
}
