//! What this room's tests share.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::{
    super::{
        domain::{Binding, Bound, ValueOwner},
        share::WordWidth,
    },
    parameters::{FieldBits, Parameters},
};

/// The binding of all tests that do not vary it.
pub(super) const BINDING: Binding<'static> =
    Binding { session: b"a session's transcript", owner: ValueOwner::Responder, instance: 0 };

pub(super) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

pub(super) fn parameters(k: u8, rows: usize, words: &[WordWidth]) -> Parameters {
    Parameters::new(FieldBits::try_from(k).unwrap(), rows, words.to_vec()).unwrap()
}

pub(super) fn bound(parameters: &Parameters) -> Bound {
    parameters.bind(BINDING)
}
