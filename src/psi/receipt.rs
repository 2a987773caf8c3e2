//! Receipts: what both parties sign of a release, and how a third reads it.
//!
//! A receipt is a text that both sides build from what each holds itself, byte for byte the same: the whole hello
//! (names, question, normalisers, terms, counts, dummies, chain heads), its transcript hash, the noisy sizes, what each
//! side was charged, and the outcome. It holds no result, no identifier and no value.
//!
//! ```text
//! datafusion-psi/3 receipt
//! offer NAME VALUE                          each pair of the offer, in its order
//! answer NAME VALUE                         each pair of the answer, in its order
//! transcript HASH                           64 hexadecimal digits, which follow from the pairs
//! size COLUMN PART MATCHES                  for each column, and in it for each part, from 1: the noisy number of matches
//! requester-charge DUMMIES COLUMNS          what the requester's account for sizes was charged
//! responder-charge DUMMIES COLUMNS OUTPUTS  the responder's account; OUTPUTS as in the answer
//! outcome released
//! ```
//! Each line ends with a line feed. In values a backslash is `\\` and a control character `\u{HEX}`, so that a value
//! is one line. What is signed is the line `datafusion-psi/3/receipt ROLE`, a line feed, and the text, ROLE being
//! `requester` or `responder`, the one that signs: a signature cannot be handed back as the other side's.
//!
//! **What it proves.** The requester signs before it has the responder's shares (else a requester could take the answer
//! and withhold its signature), the responder with them. So the requester's signature says: *I asked this, under
//! these terms, and saw these sizes*; the responder's: *I saw these sizes, and my shares with the noise of these terms
//! have left*. That the shares arrived, and that noise and tables were as they should be, no signature can say. A
//! release that is cut off in between leaves the responder with a receipt and the requester without an answer.

use std::sync::Arc;

use super::hello::{Answer, Fields, Offer, Pairs, VERSION, one_spelling, transcript_hash};
use super::{Error, Fault, PeerMisbehaved, Role, SessionId, hex};

/// The longest signature: that of an RSA key of 8,192 bits, behind two bytes that name its scheme.
pub const SIGNATURE_BYTES_MAX: usize = 1026;

/// The longest text of a receipt: two hellos of the most bytes that a transport takes, each byte escaped, fit.
const RECEIPT_BYTES_MAX: usize = 4 << 20;

/// Signs with this party's key.
pub trait Signer: Send + Sync {
    /// A signature over the message.
    ///
    /// # Errors
    /// [`Error::Environment`]: the key cannot be used.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;
}

/// Verifies signatures by the peer's key.
pub trait Verifier: Send + Sync {
    /// Whether `signature` is the peer's over `message`.
    ///
    /// # Errors
    /// [`Error::Environment`] or [`Error::Internal`] where that cannot be told; any other error: it is not.
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error>;
}

/// The keys by which a session's release is signed and verified.
#[derive(Clone)]
pub struct Witness {
    /// This party's.
    pub own: Arc<dyn Signer>,
    /// The peer's.
    pub peer: Arc<dyn Verifier>,
}

/// A receipt's text with both signatures, to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReceipt {
    /// The canonical text: [`Receipt::parse`] reads it.
    pub text: String,
    /// This party's signature.
    pub own_signature: Vec<u8>,
    /// The peer's.
    pub peer_signature: Vec<u8>,
}

/// What was released, in one canonical text.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    offer: Offer,
    answer: Answer,
    sizes: Vec<u64>,
    text: String,
}

impl Receipt {
    pub(crate) fn new(offer: Offer, answer: Answer, sizes: Vec<u64>) -> Self {
        let text = written(&offer, &answer, &sizes);
        Receipt { offer, answer, sizes, text }
    }

    /// Reads a receipt's text; strict: the very text that a session writes, its transcript hash that of its hello.
    ///
    /// # Errors
    /// [`Error::Incompatible`] for another version's receipt, [`Error::Caller`] for what is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let none = |why: &str| Error::Caller(format!("this is no receipt, or it was changed: {why}"));
        if text.len() > RECEIPT_BYTES_MAX {
            return Err(none("it is too long"));
        }
        let mut lines = text.lines().peekable();
        let header = lines.next().unwrap_or_default();
        if header != format!("{VERSION} receipt") {
            return match header.strip_prefix("datafusion-psi/").and_then(|rest| rest.strip_suffix(" receipt")) {
                Some(version) if version.len() < 20 && version.bytes().all(|b| b.is_ascii_digit()) => {
                    Err(Error::Incompatible(format!(
                        "the receipt is of protocol 'datafusion-psi/{version}', this side reads '{VERSION}'"
                    )))
                }
                _ => Err(none("its first line")),
            };
        }
        let mut hello = |message: &'static str| {
            let mut pairs = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with(message)) {
                let (name, value) = line[message.len()..]
                    .strip_prefix(' ')
                    .and_then(|pair| pair.split_once(' '))
                    .ok_or_else(|| none(&format!("a line of the {message}")))?;
                let value = unescape(value).ok_or_else(|| none(&format!("field '{name}' of the {message}")))?;
                pairs.push((name.to_owned(), value));
            }
            let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            Fields::of_pairs(message, pairs)
        };
        let unfit = |error: Error| none(&error.to_string());
        let offer = Offer::read(hello("offer")?).map_err(unfit)?;
        let answer = Answer::read(hello("answer")?).map_err(unfit)?;
        // The transcript hash, like what stands behind the sizes, is held against the text as a whole.
        lines.next();
        let parts = offer.persons.len();
        let mut sizes = Vec::with_capacity(offer.columns() * parts);
        for (column, part) in (1..=offer.columns()).flat_map(|column| (1..=parts).map(move |part| (column, part))) {
            let size = lines.next().and_then(|line| line.strip_prefix(&format!("size {column} {part} ")));
            let size = size.and_then(one_spelling);
            sizes.push(size.ok_or_else(|| none(&format!("the size of column {column} in part {part}")))?);
        }
        let read = Receipt::new(offer, answer, sizes);
        if read.text != text || read.answer.session != read.offer.session {
            return Err(none("transcript hash, charges or outcome do not follow from the rest"));
        }
        Ok(read)
    }

    /// Whether `signature` is that of the party in the role `signed_by`.
    ///
    /// # Errors
    /// Fault [`Peer`](Fault::Peer) where it is not.
    pub fn verify(&self, signed_by: Role, signature: &[u8], verifier: &dyn Verifier) -> Result<(), Error> {
        if signature.is_empty() || signature.len() > SIGNATURE_BYTES_MAX {
            let reason = format!("{} bytes where 1 to {SIGNATURE_BYTES_MAX} are possible", signature.len());
            return Err(PeerMisbehaved::Signature(reason).into());
        }
        verifier.verify(&self.message(signed_by), signature).map_err(|error| match error.fault() {
            Fault::Environment | Fault::Internal => error,
            _ => PeerMisbehaved::Signature(error.to_string()).into(),
        })
    }

    /// What the party in the role `signed_by` signs.
    pub fn message(&self, signed_by: Role) -> Vec<u8> {
        let role = match signed_by {
            Role::Requester => "requester",
            Role::Responder => "responder",
        };
        format!("{VERSION}/receipt {role}\n{}", self.text).into_bytes()
    }

    /// The canonical text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The session's name.
    pub fn session(&self) -> SessionId {
        self.offer.session
    }

    /// Names, question, and what the requester brought.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Terms and counts, and what the responder brought.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// The noisy number of matches of each column and part, dummies included: of column 1 each part's, then of column 2, ….
    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }
}

fn written(offer: &Offer, answer: &Answer, sizes: &[u64]) -> String {
    let mut text = format!("{VERSION} receipt\n");
    let mut line = |name: &str, value: &str| {
        text.push_str(name);
        text.push(' ');
        escape(value, &mut text);
        text.push('\n');
    };
    let mut pairs = |message: &str, pairs: Pairs| {
        for (name, value) in pairs {
            line(&format!("{message} {name}"), &value);
        }
    };
    pairs("offer", offer.pairs());
    pairs("answer", answer.pairs());
    line("transcript", &hex::encode(&transcript_hash(offer, answer)));
    let parts = offer.persons.len();
    for (at, size) in sizes.iter().enumerate() {
        line("size", &format!("{} {} {size}", at / parts + 1, at % parts + 1));
    }
    let columns = offer.columns();
    line("requester-charge", &format!("{} {columns}", offer.dummies));
    line("responder-charge", &format!("{} {columns} {}", answer.dummies, answer.outputs));
    line("outcome", "released");
    text
}

fn escape(value: &str, text: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            control if control.is_control() => text.extend(control.escape_unicode()),
            other => text.push(other),
        }
    }
}

fn unescape(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('\\') {
            text.push('\\');
            rest = after;
        } else {
            let (code, after) = rest.strip_prefix("u{")?.split_once('}')?;
            text.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
            rest = after;
        }
    }
    text.push_str(rest);
    Some(text)
}
