//! Two toy parties of real sessions: who they are, what they bring, and a budget that always grants.

use arrow::array::LargeBinaryArray;
use datafusion_psi::crypto::ChaCha20Rng;
use datafusion_psi::dp::{Charge, Noise, QueryOutputs, Reservation, Settlement};
use datafusion_psi::psi::{
    AnswerTerms, ChainLink, Entries, Error, FilteredRows, Limits, Offer, OfferTerms, OutputsTerms, Question, Requester,
    Responder, SessionId, ShareTerms, SizesTerms, WordTerms,
};
use rand_core::SeedableRng;

pub(crate) const REQUESTER: &str = "publisher";
pub(crate) const RESPONDER: &str = "advertiser";

/// A budget that always grants.
struct Free;

impl Settlement for Free {
    fn spend(self: Box<Self>) {}
    fn refund(self: Box<Self>) {}
}

fn granted() -> Reservation {
    let charge = Charge { peer: "peer".to_owned(), population: "people".to_owned(), tau: 2, columns: 2 };
    Reservation::granted(charge, Box::new(Free))
}

/// Persons `from..to`, each with an e-mail address, every third without a telephone, and by a third identifier each with a
/// name; `columns` of these.
pub(crate) fn entries(columns: usize, from: usize, to: usize, values: Vec<Vec<i128>>) -> Entries {
    let email: LargeBinaryArray = (from..to).map(|person| Some(format!("{person}@example.com").into_bytes())).collect();
    let phone: LargeBinaryArray =
        (from..to).map(|person| (person % 3 > 0).then(|| format!("+1555{person:07}").into_bytes())).collect();
    let name: LargeBinaryArray = (from..to).map(|person| Some(format!("person {person}").into_bytes())).collect();
    Entries::whole([email, phone, name].into_iter().take(columns).collect(), values, 0)
}

/// A word without noise, from 0.
pub(crate) fn word(max: i128, decimals: u8) -> WordTerms {
    WordTerms { min: 0, max, decimals, noise: Noise::None }
}

fn normalisers(columns: usize) -> Vec<String> {
    ["email/1", "phone/1:US", "exact/1"].iter().take(columns).map(|name| (*name).to_owned()).collect()
}

fn chain() -> Vec<ChainLink> {
    vec![ChainLink { seq: 0, hash: [4; 32] }]
}

/// The share, as far as a session compares it.
fn published() -> ShareTerms {
    ShareTerms {
        table: "purchases".to_owned(),
        identifiers: vec![],
        aggregates: vec![],
        filter_on: vec![],
        requester_values: None,
        minimum_matched: 0,
        filtered_rows: FilteredRows::Hide,
        sizes: SizesTerms::Private { epsilon: 2.0, delta: None, queries: 10, columns: 2 },
        outputs: OutputsTerms::Exact,
        group_by: vec![],
        max_labels: 1,
        max_parts: 1,
        period: "forever".to_owned(),
        approval: false,
    }
}

/// One that asks for `words` of `question`.
pub(crate) fn requester(
    session: SessionId,
    question: Question,
    words: Vec<WordTerms>,
    entries: Entries,
    rng: ChaCha20Rng,
) -> Requester {
    let terms = OfferTerms {
        session,
        requester: REQUESTER.to_owned(),
        responder: RESPONDER.to_owned(),
        normalisers: normalisers(question.identifiers.len()),
        question,
        dummies: 2,
        ot_width: 2,
        words,
        sizes: SizesTerms::Exact { queries: 1 },
        chain: chain(),
        published: published(),
    };
    let check = Box::new(|_: &[ChainLink]| Ok(()));
    Requester::new(terms, entries, granted(), None, check, Limits::default(), rng).unwrap()
}

/// One that answers it.
pub(crate) fn responder(offer: &Offer, words: Vec<WordTerms>, entries: Entries) -> Result<Responder, Error> {
    let terms = AnswerTerms {
        labels: Vec::new(),
        dummies: 2,
        words,
        normalisers: normalisers(offer.question.identifiers.len()),
        minimum_matched: 0,
        filtered_rows: FilteredRows::Hide,
        sizes: published().sizes,
        outputs: QueryOutputs::Exact,
        chain: chain(),
    };
    let rng = ChaCha20Rng::seed_from_u64(2);
    Responder::new(offer, terms, entries, granted(), None, Limits::default(), rng)
}
