//! Both ends of the rounds in one process: goal and method of every test below.
//!
//! Goal: sums are the plain sums, no choice of bits leaves the range, and no changed message but a payload gives a
//! wrong one. Method: two [`Aggregation`]s over tables whose matches the test chooses, moved step by step, with a hook
//! that may change what is carried. Rounds are made small, so that a few rows fill several.

use proptest::prelude::*;
use rand_core::SeedableRng;

use super::*;
use crate::mpc::{Receiver, Sender, Values};
use crate::psi::{Entries, EntryPart, Fault, WordTerms};

/// Who owns a word, its bounds, and whether it is kept in 128 bits.
type Word = (Role, i128, i128, bool);

const OWN: Role = Role::Requester;
const THEIRS: Role = Role::Responder;

#[derive(Debug, Clone)]
struct Case {
    words: Vec<Word>,
    /// Per side the totals, word by word of those it owns (the responder's also label by label), then by person.
    values: (Vec<Vec<i128>>, Vec<Vec<i128>>),
    persons: (usize, usize),
    fillers: (u64, u64),
    dummies: u64,
    columns: usize,
    ot_width: u8,
    ots_max: usize,
    own_parts: usize,
    labels: usize,
    seed: u64,
}

impl Case {
    /// `persons` of the requester, everybody else's numbers fixed; values spread over the bounds, ends included.
    fn new(words: &[Word], persons: usize) -> Self {
        let values = |owner, count: usize| -> Vec<Vec<i128>> {
            let of = |&(_, min, max, _): &Word| -> Vec<i128> {
                let spread = [min, max, 0, max / 3, min / 2, max - max / 5];
                (0..count).map(|row| spread[row % spread.len()].clamp(min.min(0), max.max(0))).collect()
            };
            words.iter().filter(|word| word.0 == owner).map(of).collect()
        };
        Case {
            words: words.to_vec(),
            values: (values(OWN, persons), values(THEIRS, 11)),
            persons: (persons, 11),
            fillers: (2, 1),
            dummies: 3,
            columns: 2,
            ot_width: 4,
            ots_max: 500,
            own_parts: 1,
            labels: 1,
            seed: 7,
        }
    }

    /// The same in parts and labels, the values of each label other ones.
    fn grouped(mut self, own_parts: usize, labels: usize) -> Self {
        let shifted = |column: &Vec<i128>| {
            (0..labels).map(|label| column.iter().cycle().skip(label).take(column.len()).copied().collect()).collect()
        };
        self.values.1 = self.values.1.iter().flat_map(|column| -> Vec<Vec<i128>> { shifted(column) }).collect();
        Case { own_parts, labels, ..self }
    }

    fn agreed(&self) -> Agreed {
        let word = |&(owner, min, max, wide): &Word| AgreedWord {
            owner,
            terms: WordTerms { min, max, decimals: 0, noise: crate::dp::Noise::None },
            width: if wide { WordWidth::Bits128 } else { WordWidth::Bits64 },
        };
        Agreed {
            transcript: [9; 32],
            columns: self.columns,
            requester_parts: self.parts().iter().map(|part| part.persons as u64 + part.fillers).collect(),
            responder_persons: self.persons.1 as u64 + self.fillers.1,
            dummies: self.dummies,
            words: self.words.iter().map(word).collect(),
            labels: self.labels,
            minimum_matched: 0,
            ot_width: self.ot_width,
        }
    }

    fn rng(&self, stream: u64) -> ChaCha20Rng {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }

    fn table(&self, role: Role) -> WireTable {
        let (persons, fillers, values) = match role {
            OWN => (self.persons.0, self.fillers.0, self.values.0.clone()),
            THEIRS => (self.persons.1, self.fillers.1, self.values.1.clone()),
        };
        let identifiers = (0..self.columns).map(|_| (0..persons).map(|_| None::<&[u8]>).collect()).collect();
        let entries = match role {
            OWN => Entries { identifiers, values, parts: self.parts() },
            THEIRS => Entries::whole(identifiers, values, fillers),
        };
        WireTable::new(entries, self.own_parts, self.dummies, &[9; 32], &mut self.rng(role as u64))
    }

    /// Which rows of a wire table matched, and in which part: any, since sums do not ask how.
    fn matched(&self, role: Role) -> Zeroizing<Vec<u16>> {
        let mut rng = self.rng(10 + role as u64);
        let part_rows = self.agreed().part_rows();
        let part = |row: usize, drawn: u32| match role {
            OWN => part_rows.part_of(row as u32),
            THEIRS => (drawn / 3) as u16 % part_rows.parts() as u16 + 1,
        };
        let drawn = (0..self.table(role).rows()).map(|row| (row, rand_core::Rng::next_u32(&mut rng)));
        let matched = drawn.map(|(row, drawn)| if drawn.is_multiple_of(3) { 0 } else { part(row, drawn) });
        Zeroizing::new(matched.collect())
    }

    /// The requester's parts: its persons cut anywhere, the fillers in the last.
    fn parts(&self) -> Vec<EntryPart> {
        let part = |part: usize| {
            let persons = match part + 1 {
                last if last == self.own_parts => {
                    self.persons.0 - (self.own_parts - 1) * (self.persons.0 / self.own_parts)
                }
                _ => self.persons.0 / self.own_parts,
            };
            EntryPart { persons, fillers: if part + 1 == self.own_parts { self.fillers.0 } else { 0 } }
        };
        (0..self.own_parts).map(part).collect()
    }

    fn known(&self, role: Role) -> Known {
        let peer = if role == OWN { THEIRS } else { OWN };
        let range = |&(_, min, max, _): &Word| OwnRange::new(min, max);
        Known {
            table: self.table(role),
            peer_rows_matched: self.matched(peer),
            ranges: self.words.iter().filter(|word| word.0 == OWN).map(range).collect(),
        }
    }

    fn pair(&self) -> (Aggregation, Aggregation) {
        self.pair_with(self.known(OWN))
    }

    /// A requester that knows, or claims, something else.
    fn pair_with(&self, requester: Known) -> (Aggregation, Aggregation) {
        let side =
            |role, known, stream| Aggregation::of(role, &self.agreed(), known, self.ots_max, self.rng(stream)).unwrap();
        (side(OWN, requester, 20), side(THEIRS, self.known(THEIRS), 21))
    }

    /// The sums of all cells in the clear, in the rings of the words.
    fn plain(&self) -> Vec<i128> {
        let (own, theirs) = (self.table(OWN), self.table(THEIRS));
        let (own_matched, theirs_matched) = (self.matched(OWN), self.matched(THEIRS));
        let mut cells = Vec::new();
        for part in 1..=self.own_parts as u16 {
            for label in 0..self.labels {
                let (mut own_word, mut their_word) = (0, 0);
                for &(owner, _, _, wide) in &self.words {
                    let (table, matched, column) = if owner == OWN {
                        own_word += 1;
                        (&own, &own_matched, own_word - 1)
                    } else {
                        their_word += 1;
                        (&theirs, &theirs_matched, (their_word - 1) * self.labels + label)
                    };
                    let values = table.values(column, 0..table.rows()).zip(matched.iter());
                    let sum =
                        values.filter(|(_, of)| **of == part).fold(0i128, |sum, (value, _)| sum.wrapping_add(value));
                    cells.push(if wide { sum } else { sum as i64 as i128 });
                }
            }
        }
        cells
    }

    fn opened(&self, (requester, responder): (Aggregation, Aggregation)) -> Vec<i128> {
        let shares = |side: Aggregation| side.finish().unwrap().in_cells(&self.agreed()).unwrap();
        AdditiveShares::open(&shares(requester), &shares(responder)).unwrap()
    }

    fn run(&self, hook: Hook<'_>) -> Result<Vec<i128>, (Role, Error)> {
        let mut pair = self.pair();
        run(&mut pair, hook)?;
        Ok(self.opened(pair))
    }
}

/// May change the batches of one direction of a phase.
type Hook<'a> = &'a mut dyn FnMut(Phase, Vec<RecordBatch>) -> Vec<RecordBatch>;

/// Runs both ends to the end; an error carries the side that raised it.
fn run((requester, responder): &mut (Aggregation, Aggregation), hook: Hook<'_>) -> Result<(), (Role, Error)> {
    while let Some(phase) = requester.phase() {
        assert_eq!(Some(phase), responder.phase());
        assert_eq!(requester.schemas(), (responder.schemas().1, responder.schemas().0));
        assert_eq!(requester.progress().rows_total, responder.progress().rows_total);
        for up in [true, false] {
            let (from, to) = if up { (&mut *requester, &mut *responder) } else { (&mut *responder, &mut *requester) };
            let mut batches = Vec::new();
            while let Output::Batch(batch) = from.poll_output().map_err(|error| (from.role, error))? {
                batches.push(batch);
            }
            if !batches.is_empty() {
                batches = hook(phase, batches);
            }
            for batch in &batches {
                to.receive(batch).map_err(|error| (to.role, error))?;
            }
            to.end_input().map_err(|error| (to.role, error))?;
        }
        for side in [&mut *requester, &mut *responder] {
            assert!(side.phase_ended() && side.progress().rows_done == side.progress().rows_total);
            side.advance().map_err(|error| (side.role, error))?;
        }
    }
    assert_eq!(responder.phase(), None);
    Ok(())
}

fn pass(_: Phase, batches: Vec<RecordBatch>) -> Vec<RecordBatch> {
    batches
}

fn check(case: &Case) {
    assert_eq!(case.run(&mut pass).unwrap(), case.plain(), "{case:?}");
}

#[test]
fn sums_are_right_for_each_sign_of_the_bounds_and_each_width() {
    let wide = 1i128 << 90;
    let bounds = [(0, 500), (-3, 5), (2, 7), (-7, -2), (0, 1), (-1, 0), (0, 0), (5, 5), (-(1 << 40), 1 << 41)];
    for (min, max) in bounds {
        for is_wide in [false, true] {
            check(&Case::new(&[(OWN, min, max, is_wide)], 13));
        }
    }
    for ot_width in [1, 2, 8] {
        check(&Case { ot_width, ..Case::new(&[(OWN, -3, 5, false)], 13) });
    }
    check(&Case::new(&[(OWN, -wide, wide + 3, true)], 13));
    check(&Case { ots_max: OTS_MAX, ..Case::new(&[(OWN, -1000, 70_000, false)], 5000) });
}

#[test]
fn every_cell_of_parts_and_labels_has_its_own_sums() {
    let theirs = [(THEIRS, -3, 5, false), (THEIRS, 0, 1i128 << 90, true)];
    for (parts, labels) in [(1, 3), (3, 1), (4, 3)] {
        check(&Case::new(&theirs, 13).grouped(parts, labels));
    }
    let both = [(THEIRS, 0, 1, false), (OWN, -7, 30, false), (OWN, 0, 9, true)];
    for ots_max in [60, OTS_MAX] {
        check(&Case { ots_max, ..Case::new(&both, 13).grouped(3, 1) });
    }
    // Parts of nobody, and more parts than persons.
    check(&Case { fillers: (0, 0), dummies: 0, ..Case::new(&both, 3).grouped(5, 1) });
}

#[test]
fn empty_tables_and_words_without_bits_leave_out_what_has_nothing_to_do() {
    let words = [(OWN, 0, 0, false), (OWN, 0, 9, false), (THEIRS, 0, 1, false)];
    check(&Case::new(&words, 13));
    let nobody = Case { fillers: (0, 0), dummies: 0, ..Case::new(&words, 0) };
    check(&nobody);
    let phases = |case: &Case| {
        let mut phases = Vec::new();
        case.run(&mut |phase, batches| {
            phases.push(phase);
            batches
        })
        .unwrap();
        phases
    };
    assert_eq!(phases(&nobody).len(), 6, "only the responder's word has rows");
    let nothing = Case::new(&[(OWN, 0, 0, false)], 13);
    assert_eq!((phases(&nothing), nothing.run(&mut pass).unwrap()), (vec![], vec![0]));
    let own = Case { ots_max: OTS_MAX, ..Case::new(&words[1..2], 13) };
    let expected = ["choices", "reply", "corrections", "challenge", "check", "payload"];
    let names: Vec<String> = phases(&own).iter().map(Phase::to_string).collect();
    assert_eq!(names, expected.map(|step| format!("own-{step}-1")), "no responder's word, no ot phases");
}

#[test]
fn what_travels_depends_on_counts_and_bounds_and_not_on_values_or_matches() {
    let words = [(OWN, -3, 40, false), (THEIRS, 0, 9, true), (OWN, 0, 7, true)];
    let shapes = |case: &Case| {
        let mut shapes = Vec::new();
        case.run(&mut |phase, batches| {
            shapes.extend(batches.iter().map(|batch| (phase, batch.num_rows(), batch.schema())));
            batches
        })
        .unwrap();
        shapes
    };
    let case = Case::new(&words, 13);
    let mut other = Case { seed: 8, ..case.clone() };
    other.values.0.iter_mut().flatten().for_each(|value| *value = 0);
    assert_eq!(shapes(&case), shapes(&other));
}

#[test]
fn a_total_outside_its_bounds_is_no_honest_one_and_ends_at_home() {
    let mut case = Case::new(&[(OWN, 0, 500, false)], 3);
    case.values.0[0][1] = 501;
    let Known { table, peer_rows_matched, .. } = case.known(OWN);
    let matches = Matches { table, peer_rows_matched };
    let error = Aggregation::new(OWN, &case.agreed(), matches, case.rng(0)).err().unwrap();
    assert_eq!(error.fault(), Fault::Internal);
}

// A requester that deviates.

/// Membership in the order of the wire, as a number.
fn spelled(matched: &[bool]) -> u128 {
    matched.iter().enumerate().map(|(row, matched)| u128::from(*matched) << row).sum()
}

#[test]
fn as_sender_of_its_own_values_a_requester_reads_who_matched_from_one_sum() {
    // What this version no longer does: the owner pays, and pays what it likes.
    let parameters = Parameters::new(FieldBits::Four, 64, vec![WordWidth::Bits64]).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let matched: Vec<bool> = (0..64).map(|row| row % 5 == 1 || row % 7 == 2).collect();
    let binding = Binding { session: b"s", owner: ValueOwner::Requester, instance: 0 };
    let (sender, base) = Sender::start(parameters.clone(), binding, &mut rng);
    let receiver = Receiver::start(parameters, binding, Choices::new(matched.iter().copied())).unwrap();
    let (mut receiver, reply) = receiver.reply(base, &mut rng).unwrap();
    let mut sender = sender.reply(reply).unwrap();
    while let Some(corrections) = receiver.corrections() {
        sender = sender.accept(corrections).unwrap();
    }
    let (sender, challenge) = sender.challenge(&mut rng).unwrap();
    let (receiver, answer) = receiver.finish().unwrap().answer(challenge).unwrap();
    let mut sender = sender.verify(answer).unwrap();
    let powers: Vec<i64> = (0..64).map(|row| (1u64 << row) as i64).collect();
    let payload = sender.pay(&[Values::Bits64(&powers)]).unwrap();
    let receiver = receiver.accept(payload).unwrap();
    let sum = AdditiveShares::open(&sender.finish().unwrap(), &receiver.finish().unwrap()).unwrap()[0];
    assert_eq!(sum as u64 as u128, spelled(&matched), "all 64 rows' membership, whatever bounds were agreed");
}

/// Lets the requester choose its bits freely: its totals are read as patterns of bits.
fn raw(case: &Case, patterns: impl Fn(usize) -> u128) -> Known {
    let mut case = case.clone();
    for (row, value) in case.values.0[0].iter_mut().enumerate() {
        *value = patterns(row) as i128;
    }
    let mut known = case.known(OWN);
    let bits = known.ranges[0].bits();
    known.ranges[0] = OwnRange { base: 0, weights: (0..bits).map(|bit| 1 << bit).collect() };
    known
}

#[test]
fn no_choice_of_bits_brings_a_row_or_the_sum_out_of_the_range() {
    for (min, max) in [(0, 500), (-3, 5), (2, 6), (-9, -2), (0, 1), (-64, 64)] {
        let case = Case { persons: (64, 11), fillers: (0, 0), dummies: 0, ..Case::new(&[(OWN, min, max, false)], 64) };
        let range = OwnRange::new(min, max);
        let all = (1u128 << range.bits()) - 1;
        let matched = case.matched(OWN);
        let count = matched.iter().filter(|part| **part > 0).count() as i128;
        let patterns: [(&str, &dyn Fn(usize) -> u128); 4] = [
            // The old attack: a power of two per row. Bits above ℓ have no transfer to ride on.
            ("a power of two per row", &|row| 1u128 << row),
            ("every bit", &|_| u128::MAX >> 1),
            ("no bit", &|_| 0),
            ("some bits", &|row| (row as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        ];
        for (name, pattern) in patterns {
            let mut pair = case.pair_with(raw(&case, |row| pattern(row) & all));
            run(&mut pair, &mut pass).unwrap();
            let sum = case.opened(pair)[0];
            let (least, greatest) = (count * min.min(0), count * max.max(0));
            assert!((least..=greatest).contains(&sum), "{name}: {sum} for bounds {min}, {max}");
            let extreme = match name {
                "every bit" => greatest,
                "no bit" => least,
                _ => continue,
            };
            assert_eq!(sum, extreme, "{name}: the ends of the range are reached by honest totals too");
        }
    }
}

#[test]
fn what_one_row_adds_is_a_value_of_the_range_whatever_its_bits() {
    // One row at a time matters to a reader of sums: the row's share of the sum, over all patterns of bits.
    let (min, max) = (-2, 3);
    let template = Case { fillers: (0, 0), dummies: 0, persons: (1, 0), ..Case::new(&[(OWN, min, max, false)], 1) };
    let seed = (0..).find(|seed| Case { seed: *seed, ..template.clone() }.matched(OWN)[0] > 0).unwrap();
    let case = Case { seed, ..template };
    let mut seen: Vec<i128> = (0..8)
        .map(|pattern| {
            let mut pair = case.pair_with(raw(&case, |_| pattern));
            run(&mut pair, &mut pass).unwrap();
            case.opened(pair)[0]
        })
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (min..=max).collect::<Vec<_>>());
}

#[test]
fn a_requester_that_takes_more_bits_than_the_bounds_have_is_refused_before_any_payload() {
    let case = Case { ots_max: OTS_MAX, ..Case::new(&[(OWN, 0, 500, false)], 13) };
    for (max, same_rows) in [(1 << 40, false), (511, true)] {
        let mut claims = case.clone();
        claims.words = vec![(OWN, 0, max, false)];
        let requester = Aggregation::of(OWN, &claims.agreed(), claims.known(OWN), OTS_MAX, case.rng(20)).unwrap();
        let mut pair = (requester, case.pair().1);
        let mut last = None;
        let outcome = run(&mut pair, &mut |phase, batches| {
            last = Some(phase);
            batches
        });
        if same_rows {
            // As many bits: it is only the responder's weights that count.
            outcome.unwrap();
            let count = case.matched(OWN).iter().filter(|part| **part > 0).count() as i128;
            assert!((0..=count * 500).contains(&case.opened(pair)[0]));
        } else {
            let (side, error) = outcome.unwrap_err();
            assert_eq!((side, error.fault(), last), (THEIRS, Fault::Peer, Some(Phase::OwnReply(1))), "{error}");
        }
    }
}

// Changed messages.

/// Own and other words, several instances in a round, two rounds, several batches in a message.
fn tampered() -> Case {
    let words = [(OWN, -3, 40, false), (THEIRS, 0, 9, false), (OWN, 0, 7, false)];
    Case { ots_max: 96, ..Case::new(&words, 9) }
}

fn changed(batch: &RecordBatch, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> RecordBatch {
    let mut rows: Vec<Vec<u8>> = binary_column(batch, 0).unwrap().iter().flatten().map(<[u8]>::to_vec).collect();
    change(&mut rows);
    let array: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(rows.into_iter()).unwrap());
    RecordBatch::try_new(batch.schema(), vec![array]).unwrap()
}

fn is_payload(phase: Phase) -> bool {
    matches!(phase, Phase::OtPayload | Phase::OwnPayload(_))
}

/// Every phase that carries something, with its number of batches.
fn messages(case: &Case) -> Vec<(Phase, usize)> {
    let mut messages = Vec::new();
    case.run(&mut |phase, batches| {
        messages.push((phase, batches.len()));
        batches
    })
    .unwrap();
    messages
}

#[test]
fn a_flipped_bit_ends_in_an_error_or_the_right_sums_unless_it_is_the_responders_payload() {
    let case = tampered();
    let plain = case.plain();
    let messages = messages(&case);
    assert!(messages.iter().any(|(phase, batches)| matches!(phase, Phase::OwnCheck(2)) && *batches > 0));
    assert!(messages.iter().any(|(phase, batches)| matches!(phase, Phase::OwnCheck(_)) && *batches > 1));
    let mut rng = case.rng(99);
    for (phase, batches) in messages {
        for flip in 0..if is_payload(phase) { 12 } else { 4 } {
            let (at, bit) = (flip % batches, rand_core::Rng::next_u32(&mut rng) as usize);
            let mut changed_bit = 0;
            let outcome = case.run(&mut |found, mut batches| {
                if found == phase {
                    batches[at] = changed(&batches[at], |rows| {
                        let count = rows.len();
                        let row = &mut rows[bit / 4096 % count];
                        let bit = bit % 4096 % (8 * row.len());
                        changed_bit = bit;
                        row[bit / 8] ^= 1 << (bit % 8);
                    });
                }
                batches
            });
            match outcome {
                Err((_, error)) => {
                    assert_eq!(error.fault(), Fault::Peer, "{phase}: {error}");
                    // Nothing in a payload can fail: the requester's bits would show in it.
                    assert!(!is_payload(phase), "{phase}: {error}");
                }
                Ok(sums) if is_payload(phase) => {
                    let off = sums.iter().zip(&plain).map(|(a, b)| (*a as i64).wrapping_sub(*b as i64));
                    let off: u64 = off.map(i64::unsigned_abs).sum();
                    assert!(off == 0 || off == 1 << changed_bit, "{phase}: off by {off}");
                }
                Ok(sums) => assert_eq!(sums, plain, "{phase}: a changed bit made a wrong sum"),
            }
        }
    }
}

#[test]
fn a_message_that_is_cut_repeated_dropped_or_out_of_order_ends_in_an_error_naming_the_peer() {
    let case = tampered();
    type Change = fn(Vec<RecordBatch>) -> Vec<RecordBatch>;
    let changes: [(&str, Change); 7] = [
        ("first batch dropped", |mut batches| {
            batches.remove(0);
            batches
        }),
        ("last batch dropped", |mut batches| {
            batches.pop();
            batches
        }),
        ("cut", |mut batches| {
            batches[0] = batches[0].slice(0, batches[0].num_rows() - 1);
            batches
        }),
        ("repeated", |mut batches| {
            batches.push(batches[batches.len() - 1].clone());
            batches
        }),
        ("first one repeated", |mut batches| {
            batches.insert(0, batches[0].clone());
            batches
        }),
        ("batches reordered", |mut batches| {
            batches.reverse();
            batches
        }),
        ("rows reordered", |mut batches| {
            batches[0] = changed(&batches[0], |rows| rows.reverse());
            batches
        }),
    ];
    let plain = case.plain();
    for (phase, count) in messages(&case) {
        for (name, change) in changes {
            let mut same = false;
            let outcome = case.run(&mut |found, batches| {
                if found != phase {
                    return batches;
                }
                let after = change(batches.clone());
                same = after == batches;
                after
            });
            match outcome {
                Ok(sums) if same => assert_eq!(sums, plain),
                // Other rows in the responder's payload are other values of its own.
                Ok(_) if is_payload(phase) && name.ends_with("reordered") => {}
                Ok(_) => panic!("{name} in {phase} ({count} batches) went unnoticed"),
                Err((_, error)) => assert_eq!(error.fault(), Fault::Peer, "{name} in {phase}: {error}"),
            }
        }
    }
}

#[test]
fn a_message_of_another_round_or_session_is_refused() {
    let case = tampered();
    // The same sides with another transcript: their messages have the same shape.
    let mut recorded = Vec::new();
    let other = Case { seed: 8, ..case.clone() };
    other
        .run(&mut |phase, batches| {
            recorded.push((phase, batches.clone()));
            batches
        })
        .unwrap();
    for (phase, replayed) in recorded.iter().filter(|(phase, _)| !is_payload(*phase)) {
        let outcome = case.run(&mut |found, batches| if found == *phase { replayed.clone() } else { batches });
        let (_, error) = outcome.map(|sums| panic!("{phase} replayed: {sums:?}")).unwrap_err();
        assert_eq!(error.fault(), Fault::Peer, "{phase}: {error}");
    }
}

fn word() -> impl Strategy<Value = Word> {
    let bound = prop_oneof![-9i128..9, -5000i128..5000, -(1i128 << 50)..1 << 50, Just(0)];
    let wide = prop_oneof![Just(0i128), -(1i128 << 100)..1 << 100];
    (any::<bool>(), bound.clone(), bound, wide, any::<bool>()).prop_map(|(own, a, b, more, is_wide)| {
        let more = if is_wide { more } else { 0 };
        let (min, max) = ((a + more).min(b), (a + more).max(b));
        (if own { OWN } else { THEIRS }, min, max, is_wide)
    })
}

fn cases() -> impl Strategy<Value = Case> {
    (prop::collection::vec(word(), 1..5), 0usize..12, 0usize..12).prop_flat_map(|(words, requester, responder)| {
        let column = |(_, min, max, _): Word, persons| {
            // A total within the bounds, or nothing: 0.
            let value = prop_oneof![3 => min..=max, 1 => Just(0), 1 => Just(min), 1 => Just(max)];
            prop::collection::vec(value, persons)
        };
        let of = |owner, persons: usize| -> Vec<_> {
            words.iter().filter(|word| word.0 == owner).map(|word| column(*word, persons)).collect()
        };
        let values = (of(OWN, requester), of(THEIRS, responder));
        let numbers =
            ((0u64..3, 0u64..3), 0u64..4, 1usize..4, prop::sample::select(vec![1u8, 2, 4, 8]), 1usize..4, 1usize..4);
        let caps = prop::sample::select(vec![300usize, 1000, OTS_MAX]);
        (Just(words), values, numbers, caps, any::<u64>()).prop_map(
            move |(words, values, (fillers, dummies, columns, ot_width, parts, labels), ots_max, seed)| {
                let labels = if words.iter().any(|word| word.0 == OWN) { 1 } else { labels };
                let case = Case {
                    words,
                    values,
                    persons: (requester, responder),
                    fillers,
                    dummies,
                    columns,
                    ot_width,
                    ots_max,
                    own_parts: 1,
                    labels: 1,
                    seed,
                };
                case.grouped(parts, labels)
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sums_are_the_plain_sums_for_any_words_tables_and_matches(case in cases()) {
        check(&case);
    }
}
