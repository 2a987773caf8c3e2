//! What becomes of one message of a session: the kinds of mutation, and the plan of which session has which.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arrow_flight::{FlightData, FlightDescriptor};
use datafusion_psi::crypto::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::meddler::{Meddle, Place, Way};

/// What is done to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    HeaderBits,
    BodyBits,
    HeaderCut,
    BodyCut,
    HeaderNoise,
    BodyNoise,
    /// Longer by random bytes.
    BodyLonger,
    /// Control bytes where there are none, or other ones.
    Metadata,
    Repeated,
    Lost,
    /// After the next one.
    Swapped,
    /// The message of another phase, or of another place in this one.
    Another,
    /// A path in the middle of an exchange, or another in its first message.
    Path,
    Empty,
}

pub(crate) const KINDS: [Kind; 14] = [
    Kind::HeaderBits,
    Kind::BodyBits,
    Kind::HeaderCut,
    Kind::BodyCut,
    Kind::HeaderNoise,
    Kind::BodyNoise,
    Kind::BodyLonger,
    Kind::Metadata,
    Kind::Repeated,
    Kind::Lost,
    Kind::Swapped,
    Kind::Another,
    Kind::Path,
    Kind::Empty,
];

/// One mutation of one session: where, what, and with which random choices.
#[derive(Debug, Clone)]
pub(crate) struct Mutation {
    pub(crate) phase: String,
    pub(crate) index: usize,
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
}

pub(crate) type Recorded = Vec<(Place, FlightData)>;

/// What a session's meddling needs to know; the sessions under way, by their names.
#[derive(Default)]
pub(crate) struct Plan {
    mutations: Mutex<HashMap<String, Mutation>>,
    held: Mutex<HashMap<String, FlightData>>,
    good: Recorded,
}

pub(crate) fn below(rng: &mut ChaCha20Rng, most: usize) -> usize {
    (rng.next_u64() % most.max(1) as u64) as usize
}

fn noise(rng: &mut ChaCha20Rng, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    rng.fill_bytes(&mut noise);
    noise
}

/// As many random bytes as there are; where there are none, some.
fn as_noise(rng: &mut ChaCha20Rng, bytes: &[u8]) -> Vec<u8> {
    let count = if bytes.is_empty() { 1 + below(rng, 64) } else { bytes.len() };
    noise(rng, count)
}

/// One to eight bits of it; where there is nothing, noise.
fn flipped(rng: &mut ChaCha20Rng, bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return as_noise(rng, bytes);
    }
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + below(rng, 8) {
        let at = below(rng, bytes.len());
        bytes[at] ^= 1 << below(rng, 8);
    }
    bytes
}

impl Plan {
    pub(crate) fn new(good: Recorded) -> Plan {
        Plan { good, ..Plan::default() }
    }

    /// From here on the session of that name has this mutation.
    pub(crate) fn begin(&self, session: &str, mutation: &Mutation) {
        self.mutations.lock().unwrap().insert(session.to_owned(), mutation.clone());
    }

    pub(crate) fn end(&self, session: &str) {
        self.mutations.lock().unwrap().remove(session);
        self.held.lock().unwrap().remove(session);
    }

    pub(crate) fn meddle(self: &Arc<Self>) -> Meddle {
        let plan = Arc::clone(self);
        Arc::new(move |place, message| plan.mutated(place, message))
    }

    fn mutated(&self, place: &Place, message: FlightData) -> Vec<FlightData> {
        if place.way == Way::Down {
            return vec![message];
        }
        let Some(mutation) = self.mutations.lock().unwrap().get(&place.session).cloned() else { return vec![message] };
        if place.phase != mutation.phase {
            return vec![message];
        }
        if let Some(held) = self.held.lock().unwrap().remove(&place.session) {
            return vec![message, held];
        }
        if place.index != mutation.index {
            return vec![message];
        }
        let mut rng = ChaCha20Rng::seed_from_u64(mutation.seed);
        let mut other = message.clone();
        match mutation.kind {
            Kind::HeaderBits => other.data_header = flipped(&mut rng, &message.data_header).into(),
            Kind::BodyBits => other.data_body = flipped(&mut rng, &message.data_body).into(),
            Kind::HeaderCut => other.data_header.truncate(below(&mut rng, message.data_header.len())),
            Kind::BodyCut => other.data_body.truncate(below(&mut rng, message.data_body.len())),
            Kind::HeaderNoise => other.data_header = as_noise(&mut rng, &message.data_header).into(),
            Kind::BodyNoise => other.data_body = as_noise(&mut rng, &message.data_body).into(),
            Kind::BodyLonger => {
                let more = 1 + below(&mut rng, 5000);
                other.data_body = [message.data_body.to_vec(), noise(&mut rng, more)].concat().into();
            }
            Kind::Metadata => {
                let words: [&[u8]; 5] = [b"end", b"hold", b"abort\npeer\nbecause", b"abort\n\xff\n", b"\x00\x00"];
                other.app_metadata = words[below(&mut rng, words.len())].to_vec().into();
            }
            Kind::Repeated => return vec![message.clone(), message],
            Kind::Lost => return Vec::new(),
            Kind::Swapped => {
                // The direction's last has nothing after it, and is lost with this.
                self.held.lock().unwrap().insert(place.session.clone(), message);
                return Vec::new();
            }
            Kind::Another => {
                let (_, found) = &self.good[below(&mut rng, self.good.len())];
                other = FlightData { flight_descriptor: message.flight_descriptor, ..found.clone() };
            }
            Kind::Path => {
                let phases = ["hello", "columns", "release", "elements-8", "own-check-65535", "control", "share", ""];
                let phase = phases[below(&mut rng, phases.len())];
                let path = ["psi/1", &place.session, phase].map(str::to_owned).to_vec();
                other.flight_descriptor = Some(FlightDescriptor::new_path(path));
            }
            Kind::Empty => other = FlightData { flight_descriptor: message.flight_descriptor, ..Default::default() },
        }
        vec![other]
    }
}
