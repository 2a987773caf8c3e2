//! Chain heads: how each side can tell that the other's books have not been put back to an old copy.
//!
//! Each party keeps a chain of hashes over what it has booked about a peer, and tells that peer the chain's
//! newest links in every hello. The peer keeps the newest it was told; a later hello that does not show the kept
//! link, or that shows another hash at its one_spelling, comes from books that have lost entries. This room carries the
//! links and binds them to the transcript; whose business they are (the policy's books) compares them, before
//! anything that depends on the data leaves.

use crate::psi::{Error, hex};

use super::fields::{Fields, one_spelling};

/// The most links that a hello carries.
pub const CHAIN_LINKS_MAX: usize = 64;

/// One link of a party's chain about the peer that reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainLink {
    /// Its number: the entries that the chain had when this was its head.
    pub seq: u64,
    /// The head's hash.
    pub hash: [u8; 32],
}

impl std::fmt::Display for ChainLink {
    /// The wire's form: the number and 64 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.seq, hex::encode(&self.hash))
    }
}

impl std::str::FromStr for ChainLink {
    type Err = ();

    /// Reads exactly what `Display` prints.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (seq, hash) = text.split_once(' ').ok_or(())?;
        Ok(ChainLink { seq: one_spelling(seq).ok_or(())?, hash: hex::decode(hash).ok_or(())? })
    }
}

/// What is wrong with a chain: 1 to [`CHAIN_LINKS_MAX`] links, newest first, each number once.
pub(crate) fn chain_flaw(chain: &[ChainLink]) -> Option<String> {
    if chain.is_empty() || chain.len() > CHAIN_LINKS_MAX {
        return Some(format!("{} links where 1 to {CHAIN_LINKS_MAX} are possible", chain.len()));
    }
    let ordered = chain.windows(2).all(|pair| pair[0].seq > pair[1].seq);
    (!ordered).then(|| "the links are not newest first".to_owned())
}

pub(super) fn read_chain(fields: &mut Fields) -> Result<Vec<ChainLink>, Error> {
    let mut chain = Vec::new();
    for text in fields.take_all("chain") {
        chain.push(text.parse().map_err(|()| fields.wrong("chain", "is not 'SEQ HASH'"))?);
    }
    match chain_flaw(&chain) {
        None => Ok(chain),
        Some(reason) => Err(fields.wrong("chain", reason)),
    }
}
