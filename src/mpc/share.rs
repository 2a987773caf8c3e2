//! Additive shares: two words whose sum, mod 2⁶⁴ or 2¹²⁸, is the answer.

use zeroize::Zeroize;

use super::error::{Misuse, PeerMisbehaved};

/// The ring of one word: sums are mod 2^bits, read as two's complement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WordWidth {
    /// Mod 2⁶⁴, 8 bytes per row on the wire.
    Bits64,
    /// Mod 2¹²⁸, 16 bytes per row on the wire.
    Bits128,
}

impl WordWidth {
    /// Bytes of one word.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bits64 => 8,
            Self::Bits128 => 16,
        }
    }

    /// The representative in `0..2^bits`.
    const fn reduce(self, word: u128) -> u128 {
        match self {
            Self::Bits64 => word as u64 as u128,
            Self::Bits128 => word,
        }
    }

    /// The representative in `-2^(bits-1)..2^(bits-1)`.
    const fn signed(self, word: u128) -> i128 {
        match self {
            Self::Bits64 => word as u64 as i64 as i128,
            Self::Bits128 => word as i128,
        }
    }
}

/// One party's shares of all words of a run. Each word alone is uniform; zeroized on drop.
#[derive(PartialEq, Eq)]
pub struct AdditiveShares {
    widths: Vec<WordWidth>,
    words: Vec<u128>,
}

impl AdditiveShares {
    /// Shares from words, each reduced to its ring. `words` and `widths` pair up by index.
    ///
    /// # Errors
    /// [`Misuse::ShareShape`] if the counts differ.
    pub fn new(widths: Vec<WordWidth>, mut words: Vec<u128>) -> Result<Self, Misuse> {
        if widths.len() != words.len() {
            words.zeroize();
            return Err(Misuse::ShareShape);
        }
        for (word, width) in words.iter_mut().zip(&widths) {
            *word = width.reduce(*word);
        }
        Ok(Self { widths, words })
    }

    /// The rings of the words.
    pub fn widths(&self) -> &[WordWidth] {
        &self.widths
    }

    /// The words, each in `0..2^bits`.
    pub fn words(&self) -> &[u128] {
        &self.words
    }

    /// Adds `summand` to one word: the noise, before the share leaves.
    ///
    /// # Errors
    /// [`Misuse::ShareShape`] if there is no such word.
    pub fn add(&mut self, word: usize, summand: i128) -> Result<(), Misuse> {
        let (share, width) = self.words.get_mut(word).zip(self.widths.get(word)).ok_or(Misuse::ShareShape)?;
        *share = width.reduce(share.wrapping_add(summand as u128));
        Ok(())
    }

    /// Adds the shares of another run, word by word: parts of one query.
    ///
    /// # Errors
    /// [`Misuse::ShareShape`] if the words differ in number or width.
    pub fn merge(&mut self, other: &Self) -> Result<(), Misuse> {
        if self.widths != other.widths {
            return Err(Misuse::ShareShape);
        }
        for ((share, width), summand) in self.words.iter_mut().zip(&self.widths).zip(&other.words) {
            *share = width.reduce(share.wrapping_add(*summand));
        }
        Ok(())
    }

    /// The sums, as two's complement: the answer, where both shares are at one party.
    ///
    /// # Errors
    /// [`Misuse::ShareShape`] if the words differ in number or width.
    pub fn open(a: &Self, b: &Self) -> Result<Vec<i128>, Misuse> {
        if a.widths != b.widths {
            return Err(Misuse::ShareShape);
        }
        Ok(a.widths
            .iter()
            .zip(a.words.iter().zip(&b.words))
            .map(|(width, (a, b))| width.signed(a.wrapping_add(*b)))
            .collect())
    }

    /// One row of bytes, word after word, little-endian, 8 or 16 bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.widths.iter().map(|width| width.bytes()).sum());
        for (word, width) in self.words.iter().zip(&self.widths) {
            bytes.extend_from_slice(&word.to_le_bytes()[..width.bytes()]);
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`PeerMisbehaved::Width`] if the length is not that of these words.
    pub fn from_bytes(widths: Vec<WordWidth>, bytes: &[u8]) -> Result<Self, PeerMisbehaved> {
        let expected = widths.iter().map(|width| width.bytes()).sum();
        if bytes.len() != expected {
            return Err(PeerMisbehaved::Width { message: "AdditiveShares", expected, found: bytes.len() });
        }
        let mut rest = bytes;
        let words = widths
            .iter()
            .map(|width| {
                let (word, tail) = rest.split_at(width.bytes());
                rest = tail;
                let mut full = [0; 16];
                full[..word.len()].copy_from_slice(word);
                u128::from_le_bytes(full)
            })
            .collect();
        Ok(Self { widths, words })
    }
}

impl Drop for AdditiveShares {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: [WordWidth; 2] = [WordWidth::Bits64, WordWidth::Bits128];

    fn shares(words: [u128; 2]) -> AdditiveShares {
        AdditiveShares::new(BOTH.to_vec(), words.to_vec()).unwrap()
    }

    #[test]
    fn negative_sums_open_as_twos_complement_in_either_ring() {
        let a = shares([5, 5]);
        let b = shares([(-12i64) as u64 as u128, (-12i128) as u128]);
        assert_eq!(AdditiveShares::open(&a, &b).unwrap(), vec![-7, -7]);
    }

    #[test]
    fn the_ring_ends_are_reached_and_not_passed() {
        let zero = shares([0, 0]);
        let least = shares([1 << 63, 1 << 127]);
        let most = shares([i64::MAX as u128, i128::MAX as u128]);
        assert_eq!(AdditiveShares::open(&zero, &least).unwrap(), vec![i64::MIN as i128, i128::MIN]);
        assert_eq!(AdditiveShares::open(&zero, &most).unwrap(), vec![i64::MAX as i128, i128::MAX]);
    }

    #[test]
    fn other_shapes_are_refused_because_words_would_pair_up_wrongly() {
        let both = shares([1, 2]);
        let mut one = AdditiveShares::new(vec![WordWidth::Bits64], vec![1]).unwrap();
        assert_eq!(AdditiveShares::open(&both, &one).unwrap_err(), Misuse::ShareShape);
        assert_eq!(one.merge(&both).unwrap_err(), Misuse::ShareShape);
        assert_eq!(one.add(1, 1).unwrap_err(), Misuse::ShareShape);
        assert!(AdditiveShares::new(vec![WordWidth::Bits64], vec![]).is_err());
    }

    #[test]
    fn bytes_of_another_length_are_refused() {
        let bytes = shares([1, 2]).to_bytes();
        assert_eq!(bytes.len(), 24);
        for wrong in [&bytes[..23], &[bytes.as_slice(), &[0]].concat(), &[]] {
            let error = AdditiveShares::from_bytes(BOTH.to_vec(), wrong).err();
            assert_eq!(
                error,
                Some(PeerMisbehaved::Width { message: "AdditiveShares", expected: 24, found: wrong.len() })
            );
        }
    }

    proptest! {
        #[test]
        fn opening_undoes_sharing_whatever_the_mask(
            value in any::<i64>(), wide in any::<i128>(), mask in any::<[u128; 2]>(), noise in -1000i64..1000,
        ) {
            let mut a = shares(mask);
            let b = shares([
                (value as u128).wrapping_sub(mask[0]),
                (wide as u128).wrapping_sub(mask[1]),
            ]);
            prop_assert_eq!(AdditiveShares::open(&a, &b).unwrap(), vec![value as i128, wide]);
            a.add(0, noise as i128).unwrap();
            let read = AdditiveShares::from_bytes(BOTH.to_vec(), &a.to_bytes()).unwrap();
            prop_assert_eq!(AdditiveShares::open(&b, &read).unwrap()[0], value.wrapping_add(noise) as i128);
        }
    }
}
