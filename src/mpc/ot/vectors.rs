//! Test vectors: the plain second implementation wrote them, both must read them.
//!
//! `tests/vectors/v1/ot-k*.txt` hold an extension each, `ot-setup.txt` digests of the messages
//! before it. To write them anew (which is a change of the wire version): `cargo test
//! write_the_vectors -- --ignored`.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use super::{
    super::share::WordWidth,
    check::Transcript,
    messages::{Challenge, Check, Message},
    naive,
    parameters::{FieldBits, Parameters},
    receiver::ReceiverExtending,
    sender::SenderExtending,
    testing::*,
    vole::Leaves,
};

const ROWS: usize = 130;
const WORDS: [WordWidth; 3] = [WordWidth::Bits64, WordWidth::Bits128, WordWidth::Bits64];
const KINDS: [u8; 4] = [1, 2, 4, 8];

/// A run's inputs, all from one rule: the first bytes of SHA-512(name ‖ index), little-endian.
struct Case {
    parameters: Parameters,
    leaf_seeds: Vec<u128>,
    delta: u128,
    choices: Vec<bool>,
    values: Vec<Vec<i128>>,
    challenge: [u8; 16],
}

fn rule(name: &str, index: usize) -> u128 {
    let hash = Sha512::new().chain_update(name).chain_update((index as u64).to_le_bytes()).finalize();
    u128::from_le_bytes(hash[..16].try_into().unwrap())
}

fn case(k: u8) -> Case {
    let leaves = 128 / k as usize * (1 << k);
    let ots = (ROWS.div_ceil(128) + 1) * 128;
    let value = |row: usize, word: usize| {
        let value = rule("value", 3 * row + word);
        if WORDS[word] == WordWidth::Bits64 { value as i64 as i128 } else { value as i128 }
    };
    Case {
        parameters: parameters(k, ROWS, &WORDS),
        leaf_seeds: (0..leaves).map(|leaf| rule("leaf", leaf)).collect(),
        delta: rule("delta", 0),
        choices: (0..ots).map(|ot| rule("choice", ot) % 2 == 1).collect(),
        values: (0..ROWS).map(|row| (0..3).map(|word| value(row, word)).collect()).collect(),
        challenge: rule("challenge", 0).to_le_bytes(),
    }
}

/// The messages and shares by name.
type Fields = BTreeMap<String, String>;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn words(words: &[u128]) -> String {
    hex(words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>().as_slice())
}

fn slow(case: &Case) -> Fields {
    let parameters = &case.parameters;
    let word_bytes = WORDS.map(WordWidth::bytes);
    let outputs = naive::run(&naive::Inputs {
        k: parameters.field_bits().bits(),
        leaf_seeds: &case.leaf_seeds,
        delta: case.delta,
        choices: &case.choices,
        rows: ROWS,
        word_bytes: &word_bytes,
        values: &case.values,
        challenge: case.challenge,
        chunk_blocks: parameters.correction_chunk_blocks(),
        bound: bound(parameters).digest(),
    });
    fields([
        ("corrections", hex(&outputs.corrections)),
        ("check", hex(&outputs.check)),
        ("payload", hex(&outputs.payload)),
        ("sender_shares", words(&outputs.sender_shares)),
        ("receiver_shares", words(&outputs.receiver_shares)),
        ("random_zero", words(&outputs.random_zero)),
        ("random_one", words(&outputs.random_one)),
        ("random_chosen", words(&outputs.random_chosen)),
    ])
}

fn fields<const N: usize>(fields: [(&str, String); N]) -> Fields {
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// The kernels and states on the same inputs. The challenge comes from the case, not from the
/// Sender.
fn fast(case: &Case) -> Fields {
    let parameters = &case.parameters;
    let field_bits = parameters.field_bits();
    let (k, q) = (field_bits.bits(), field_bits.leaves());
    let known: Vec<u128> = (0..field_bits.trees())
        .flat_map(|tree| {
            let delta = (case.delta >> (tree * k)) as usize % q;
            (1..q).map(move |y| case.leaf_seeds[tree * q + (y ^ delta)])
        })
        .collect();
    let blocks = case
        .choices
        .chunks(128)
        .map(|block| block.iter().enumerate().fold(0, |bits, (row, chosen)| bits | u128::from(*chosen) << row));
    let mut receiver = ReceiverExtending::new(
        parameters.clone(),
        bound(parameters),
        Leaves::all(field_bits, &case.leaf_seeds),
        Zeroizing::new(blocks.collect()),
        Transcript::new(),
    );
    let mut sender = SenderExtending::new(
        parameters.clone(),
        bound(parameters),
        Zeroizing::new(case.delta),
        Leaves::punctured(field_bits, &known),
        Transcript::new(),
    );
    let mut corrections = vec![];
    while let Some(chunk) = receiver.corrections() {
        corrections.extend_from_slice(chunk.bytes());
        sender = sender.accept(chunk).unwrap();
    }
    let challenge = Challenge::decode(parameters, 16, case.challenge.to_vec()).unwrap();
    let (receiver, check) = receiver.finish().unwrap().answer(challenge).unwrap();
    let (sender, _) = sender.challenge(&mut Fixed(case.challenge)).unwrap();
    let mut sender = sender.verify(Check::decode(parameters, 1032, check.bytes().to_vec()).unwrap()).unwrap();
    let pairs = sender.random_pairs(0..ROWS).unwrap();
    let chosen = receiver.random_chosen(0..ROWS).unwrap();
    let by_word: Vec<Vec<i128>> =
        (0..WORDS.len()).map(|word| case.values.iter().map(|values| values[word]).collect()).collect();
    let rows = sender.next_rows().unwrap();
    let payload = with_columns(parameters, &by_word, rows, |columns| sender.pay(columns)).unwrap();
    let bytes = payload.bytes().to_vec();
    let receiver = receiver.accept(payload).unwrap();
    fields([
        ("corrections", hex(&corrections)),
        ("check", hex(check.bytes())),
        ("payload", hex(&bytes)),
        ("sender_shares", words(sender.finish().unwrap().words())),
        ("receiver_shares", words(receiver.finish().unwrap().words())),
        ("random_zero", words(&pairs.zero)),
        ("random_one", words(&pairs.one)),
        ("random_chosen", words(&chosen.chosen)),
    ])
}

/// A source that gives one fixed block: the case's challenge.
struct Fixed([u8; 16]);

impl rand_core::TryRng for Fixed {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        panic!("only bytes are drawn here")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        panic!("only bytes are drawn here")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Fixed {}

/// Digests of all messages of a whole run, from ChaCha20 seeds.
fn setup() -> Fields {
    let mut all = Fields::new();
    for k in KINDS {
        let parameters = parameters(k, ROWS, &WORDS);
        let choices: Vec<bool> = (0..ROWS).map(|row| row % 3 == 0).collect();
        let values: Vec<Vec<i128>> = (0..3).map(|word| (0..ROWS as i128).map(|row| row - word).collect()).collect();
        run(&parameters, &choices, &values, 1, &mut |name, bytes| {
            all.insert(format!("k{k}.{name}"), hex(&Sha256::digest(bytes)));
        })
        .unwrap();
    }
    all
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "vectors", "v1", name].iter().collect()
}

fn read(name: &str) -> Fields {
    let text = std::fs::read_to_string(path(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_once(" = ").unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

const RULE: &str = "\
# Extension of correlated OT, wire version v1, written by the plain implementation (src/mpc/ot/naive.rs).
# Inputs are the first bytes of SHA-512(name || index as 8 bytes), little-endian: \"leaf\" by tree, then by x;
# \"delta\" 0; \"choice\" by OT, its lowest bit (the filling of the last block and the extra block included);
# \"value\" by 3 * row + word, cut to the word's width; \"challenge\" 0. 130 rows; words of 64, 128, 64 bits.
# Session \"a session's transcript\", responder's values, instance 0; default chunk size; the transcript begins with
# the corrections. Shares and random OTs: 16 bytes each, little-endian.
";
const SETUP: &str = "\
# Whole runs, wire version v1: SHA-256 of each message (the last of its name). ChaCha20 seeded with 32 bytes 01 at the
# Sender, fe at the Receiver; 130 rows, every third chosen; value of (word, row): row - word; words of 64, 128, 64 bits.
# Session \"a session's transcript\", responder's values, instance 0.
";

#[test]
#[ignore = "writes tests/vectors/v1"]
fn write_the_vectors() {
    let write = |name: &str, head: &str, fields: Fields| {
        let lines = fields.iter().fold(head.to_string(), |mut text, (name, value)| {
            writeln!(text, "{name} = {value}").unwrap();
            text
        });
        std::fs::create_dir_all(path("")).unwrap();
        std::fs::write(path(name), lines).unwrap();
    };
    for k in KINDS {
        write(&format!("ot-k{k}.txt"), RULE, slow(&case(k)));
    }
    write("ot-setup.txt", SETUP, setup());
}

#[test]
fn the_plain_implementation_agrees_with_the_stored_vectors() {
    for k in KINDS {
        assert!(slow(&case(k)) == read(&format!("ot-k{k}.txt")), "k {k}");
    }
}

#[test]
fn the_kernels_agree_with_the_stored_vectors() {
    for k in KINDS {
        let (found, stored) = (fast(&case(k)), read(&format!("ot-k{k}.txt")));
        for (name, value) in &stored {
            assert!(&found[name] == value, "k {k}: {name}");
        }
        assert_eq!(found.len(), stored.len());
    }
}

#[test]
fn whole_runs_send_the_stored_messages() {
    assert_eq!(setup(), read("ot-setup.txt"));
}

#[test]
fn kernels_and_plain_implementation_agree_past_a_full_piece() {
    // 65 blocks and the extra one: the kernels' batch of 64 is passed, and the last block is partly
    // filled.
    let mut case = case(4);
    let rows = 64 * 128 + 5;
    let ots = 66 * 128;
    let field_bits = FieldBits::Four;
    case.choices = (0..ots).map(|ot| rule("long", ot) % 2 == 1).collect();
    let parameters = parameters(4, rows, &[]);
    let outputs = naive::run(&naive::Inputs {
        k: 4,
        leaf_seeds: &case.leaf_seeds,
        delta: case.delta,
        choices: &case.choices,
        rows: 0,
        word_bytes: &[],
        values: &[],
        challenge: case.challenge,
        chunk_blocks: parameters.correction_chunk_blocks(),
        bound: bound(&parameters).digest(),
    });
    let blocks = case
        .choices
        .chunks(128)
        .map(|block| block.iter().enumerate().fold(0, |bits, (row, chosen)| bits | u128::from(*chosen) << row));
    let mut receiver = ReceiverExtending::new(
        parameters.clone(),
        bound(&parameters),
        Leaves::all(field_bits, &case.leaf_seeds),
        Zeroizing::new(blocks.collect()),
        Transcript::new(),
    );
    let corrections = receiver.corrections().unwrap();
    assert!(corrections.bytes() == outputs.corrections);
    let challenge = Challenge::decode(&parameters, 16, case.challenge.to_vec()).unwrap();
    let (_, check) = receiver.finish().unwrap().answer(challenge).unwrap();
    assert!(check.bytes() == outputs.check);
}
