//! The ideal functionality: a dealer that both trust. What the protocol must look like from
//! outside.

use rand_core::CryptoRng;

use super::{super::share::AdditiveShares, parameters::Parameters};

/// Shares of Σ v over the chosen rows, per word: the Sender's is uniform, the Receiver's the rest.
/// No message tells more than its holder's share, which is all that either side may learn.
///
/// `values` are by word, then by row.
pub(super) fn deal(
    parameters: &Parameters,
    choices: &[bool],
    values: &[Vec<i128>],
    rng: &mut impl CryptoRng,
) -> (AdditiveShares, AdditiveShares) {
    let mut sender = vec![];
    let mut receiver = vec![];
    for values in values {
        let mut mask = [0; 16];
        rng.fill_bytes(&mut mask);
        let mask = u128::from_le_bytes(mask);
        let chosen = values.iter().zip(choices).filter(|(_, chosen)| **chosen);
        let sum = chosen.fold(0u128, |sum, (value, _)| sum.wrapping_add(*value as u128));
        sender.push(mask.wrapping_neg());
        receiver.push(mask.wrapping_add(sum));
    }
    let shares = |words| AdditiveShares::new(parameters.words().to_vec(), words).unwrap();
    (shares(sender), shares(receiver))
}
