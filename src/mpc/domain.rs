//! Domain separation: every hash of this room goes through [`Bound::hash`], with a label from one
//! list.

use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

/// Names this room's wire version; a change of any message or derivation changes it.
const VERSION: &[u8] = b"datafusion-psi/mpc/v1";

/// The uses of the hash. Each has its own input space, whatever follows.
#[derive(Clone, Copy)]
pub(super) enum Label {
    /// Session, owner, instance and parameters into the digest that all other uses start from.
    Binding,
    /// A base-OT element to the group.
    BaseHashToGroup,
    /// A base-OT shared element to a seed.
    BaseSeed,
    /// A leaf of a tree to its check value and the seed that is used.
    TreeLeaf,
    /// All check values of a tree to one digest.
    TreeDigest,
    /// The challenge to the key of the check's random matrix.
    CheckMatrix,
    /// The key of the permutation behind the pads.
    PadKey,
}

impl Label {
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Binding => b"binding",
            Self::BaseHashToGroup => b"base-hash-to-group",
            Self::BaseSeed => b"base-seed",
            Self::TreeLeaf => b"tree-leaf",
            Self::TreeDigest => b"tree-digest",
            Self::CheckMatrix => b"check-matrix",
            Self::PadKey => b"pad-key",
        }
    }
}

/// Whose values a run is about. (Who plays [`Sender`](super::Sender) is the caller's choice, the same for both: the
/// owner, or, where the other side's bit is multiplied by the bits of a value, that other side.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ValueOwner {
    /// The requester's own column is summed.
    Requester = 1,
    /// The responder's column is summed.
    Responder = 2,
}

/// What a run is tied to. Both ends must give the same, else the checks fail.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The session's transcript hash up to here; any length.
    pub session: &'a [u8],
    /// Whose values these are: runs about the one and about the other share no hash.
    pub owner: ValueOwner,
    /// Tells apart several runs of one session about one owner's values; 0 where there is one.
    pub instance: u32,
}

/// A [`Binding`] with the run's parameters, hashed: the prefix of every hash of the run. Not
/// secret.
#[derive(Clone)]
pub(super) struct Bound {
    digest: [u8; 32],
}

impl Bound {
    pub(super) fn new(binding: Binding<'_>, parameters: &[u8]) -> Self {
        let mut hash = start(Label::Binding);
        hash.update((binding.session.len() as u64).to_le_bytes());
        hash.update(binding.session);
        hash.update([binding.owner as u8]);
        hash.update(binding.instance.to_le_bytes());
        hash.update((parameters.len() as u64).to_le_bytes());
        hash.update(parameters);
        let full: [u8; 64] = hash.finalize().into();
        let mut digest = [0; 32];
        digest.copy_from_slice(&full[..32]);
        Self { digest }
    }

    #[cfg(test)]
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// SHA-512 over version, label, run and `parts`. The parts of one label have fixed widths or
    /// fixed counts for a run, so their concatenation is injective.
    pub(super) fn hash(&self, label: Label, parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
        let mut hash = start(label);
        hash.update(self.digest);
        for part in parts {
            hash.update(part);
        }
        Zeroizing::new(hash.finalize().into())
    }

    /// The first 16 bytes of [`Self::hash`], little-endian.
    pub(super) fn hash_block(&self, label: Label, parts: &[&[u8]]) -> Zeroizing<u128> {
        let full = self.hash(label, parts);
        let mut block = Zeroizing::new([0; 16]);
        block.copy_from_slice(&full[..16]);
        Zeroizing::new(u128::from_le_bytes(*block))
    }
}

fn start(label: Label) -> Sha512 {
    let mut hash = Sha512::new();
    for part in [VERSION, label.bytes()] {
        // Lengths first: no label is another one's beginning plus input.
        hash.update([part.len() as u8]);
        hash.update(part);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Binding<'static> = Binding { session: b"transcript", owner: ValueOwner::Responder, instance: 0 };

    fn seed_of(binding: Binding<'_>, parameters: &[u8]) -> u128 {
        *Bound::new(binding, parameters).hash_block(Label::PadKey, &[])
    }

    #[test]
    fn every_part_of_the_binding_changes_every_hash() {
        let base = seed_of(SESSION, b"p");
        let others = [
            seed_of(Binding { session: b"transcripT", ..SESSION }, b"p"),
            seed_of(Binding { owner: ValueOwner::Requester, ..SESSION }, b"p"),
            seed_of(Binding { instance: 1, ..SESSION }, b"p"),
            seed_of(SESSION, b"q"),
            seed_of(Binding { session: b"transcrip", ..SESSION }, b"tp"),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(base, *other, "variation {index}");
        }
    }

    #[test]
    fn labels_are_distinct_so_no_use_can_answer_for_another() {
        let bound = Bound::new(SESSION, b"p");
        let labels = [
            Label::Binding,
            Label::BaseHashToGroup,
            Label::BaseSeed,
            Label::TreeLeaf,
            Label::TreeDigest,
            Label::CheckMatrix,
            Label::PadKey,
        ];
        let mut seen: Vec<u128> = labels.iter().map(|label| *bound.hash_block(*label, &[b"x"])).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), labels.len());
    }
}
