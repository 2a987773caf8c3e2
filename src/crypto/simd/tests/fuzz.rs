//! Fuzzing: field operations in any order against big integers, and whole blocks of any bytes against dalek.
//!
//! As many cases as `PROPTEST_CASES` says, for instance
//! `PROPTEST_CASES=100000 cargo test --release --lib simd::tests::fuzz`; a few where it is not set.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use num_bigint::BigUint;
use proptest::prelude::*;
use proptest::sample::Index;

use super::arithmetic::{any_limbs, fuzzed};
use super::numbers::{Limbs, Open, integer, lanes_of, minus, numbers, p, pack};
use super::*;
use crate::crypto::simd::field::Field;

on_each_machine! {
    any_run_of_field_operations_is_that_of_integers_modulo_p;
    any_bytes_are_decoded_multiplied_or_refused_as_by_dalek;
    any_bytes_are_mapped_to_the_group_as_by_dalek;
    any_messages_are_hashed_as_by_sha2;
}

/// Elements that a run of operations works on, and that take up their results.
const REGISTERS: usize = 4;

/// One operation on registers x and y, and where its result goes.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Times,
    Squared,
    Plus,
    Minus,
    Negated,
    Absolute,
    /// That of y in the lanes of these bits.
    Chosen(u8),
    /// To words and back: the canonical form.
    Packed,
}

fn any_operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    prop_oneof![
        3 => Just(Times),
        2 => Just(Squared),
        2 => Just(Plus),
        2 => Just(Minus),
        1 => Just(Negated),
        1 => Just(Absolute),
        1 => any::<u8>().prop_map(Chosen),
        1 => Just(Packed),
    ]
}

type Planned = (Operation, [usize; 3]);

fn any_steps() -> impl Strategy<Value = Vec<Planned>> {
    prop::collection::vec((any_operation(), prop::array::uniform3(0..REGISTERS)), 1..30)
}

fn check_steps<M: Open>(machine: M, start: &[Vec<Limbs>], steps: &[Planned]) {
    let mut fields: Vec<Field<M>> = start.iter().map(|limbs| pack(machine, limbs)).collect();
    let mut expected: Vec<Vec<BigUint>> =
        start.iter().map(|limbs| limbs.iter().map(|limbs| integer::<M>(limbs) % p()).collect()).collect();
    for (number, (operation, [x, y, to])) in steps.iter().enumerate() {
        let (a, b) = (fields[*x], fields[*y]);
        fields[*to] = match operation {
            Operation::Times => a.times(&b).carry(),
            Operation::Squared => a.squared().carry(),
            Operation::Plus => a.plus(&b).carry(),
            Operation::Minus => a.minus(&b).carry(),
            Operation::Negated => a.negated(),
            Operation::Absolute => a.absolute(),
            Operation::Chosen(bits) => a.or_where(lanes_of(machine, *bits), &b),
            Operation::Packed => Field::unpack(machine, &a.pack()),
        };
        expected[*to] = (0..M::LANES)
            .map(|lane| {
                let (m, n) = (&expected[*x][lane], &expected[*y][lane]);
                let negated = minus(&BigUint::ZERO, m);
                match operation {
                    Operation::Times => m * n % p(),
                    Operation::Squared => m * m % p(),
                    Operation::Plus => (m + n) % p(),
                    Operation::Minus => minus(m, n),
                    Operation::Negated => negated,
                    Operation::Absolute => {
                        if m.bit(0) {
                            negated
                        } else {
                            m.clone()
                        }
                    }
                    Operation::Chosen(bits) => {
                        if bits >> lane & 1 == 1 {
                            n.clone()
                        } else {
                            m.clone()
                        }
                    }
                    Operation::Packed => m.clone(),
                }
            })
            .collect();
        assert!(fields[*to].is_reduced());
        assert_eq!(numbers(&fields[*to]), expected[*to], "step {number}, {operation:?}");
    }
}

/// 32 bytes that may be an element, more or less: one, one with a bit changed, an integer of either parity near an end, any
/// bytes.
fn any_encoding() -> impl Strategy<Value = Encoding> {
    let element = any::<[u8; 32]>().prop_map(|bytes| {
        let multiple = RISTRETTO_BASEPOINT_POINT * Scalar::from_bytes_mod_order(bytes);
        multiple.compress().to_bytes()
    });
    let changed = (element.clone(), 0..256usize).prop_map(|(mut bytes, bit)| {
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let near_an_end =
        (any::<[u8; 2]>(), prop::sample::select(vec![0u8, 0xff]), any::<u8>()).prop_map(|([low, high], rest, top)| {
            let mut bytes = [rest; 32];
            (bytes[0], bytes[31]) = (low, if top < 128 { rest & 0x7f } else { high });
            bytes
        });
    let even = any::<[u8; 32]>().prop_map(|mut bytes| {
        bytes[0] &= 0xfe;
        bytes[31] &= 0x7f;
        bytes
    });
    prop_oneof![60 => element, 1 => changed, 1 => near_an_end, 1 => even, 1 => any::<[u8; 32]>()]
}

/// Scalars of any bits, and those whose digits are all the same or few.
fn any_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        4 => any::<[u8; 32]>().prop_map(Scalar::from_bytes_mod_order),
        1 => any::<u8>().prop_map(|byte| Scalar::from_bytes_mod_order([byte; 32])),
        1 => any::<u8>().prop_map(Scalar::from),
        1 => any::<u8>().prop_map(|small| -Scalar::from(small)),
    ]
}

/// 64 bytes for the map, now and then with a half of ones or zeros.
fn any_uniform() -> impl Strategy<Value = Uniform> {
    (any::<[u8; 32]>(), any::<[u8; 32]>(), 0..12u8).prop_map(|(first, second, kind)| {
        let ends = |half: [u8; 32], kind: u8| match kind {
            0 => [0; 32],
            1 => [0xff; 32],
            _ => half,
        };
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&ends(first, kind));
        bytes[32..].copy_from_slice(&ends(second, kind ^ 2));
        bytes
    })
}

/// What a verb that may refuse a row makes of a block.
fn decoded(rows: usize, verb: impl Fn(&mut [Encoding]) -> Result<(), InvalidRow>) -> Result<Vec<Encoding>, InvalidRow> {
    let mut encodings = vec![[7; 32]; rows];
    verb(&mut encodings).map(|()| encodings)
}

fn any_run_of_field_operations_is_that_of_integers_modulo_p<M: Open>(machine: M) {
    let start = prop::collection::vec(any_limbs::<M>(), REGISTERS);
    fuzzed(48, (start, any_steps()), |(start, steps)| check_steps(machine, &start, &steps));
}

fn any_bytes_are_decoded_multiplied_or_refused_as_by_dalek<M: Open>(machine: M) {
    let elements = prop::collection::vec(any_encoding(), 0..40);
    let scalars = prop::collection::vec(any_scalar(), 40);
    fuzzed(24, (elements, scalars, any_scalar()), |(elements, scalars, one)| {
        let (rows, scalars) = (elements.len(), &scalars[..elements.len()]);
        assert_eq!(Kernel::check(&machine, &elements), Dalek.check(&elements));
        let each = |kernel: &dyn Kernel| decoded(rows, |to| kernel.decode_mul_each_encode(&elements, scalars, to));
        assert_eq!(each(&machine), each(&Dalek));
        if one != Scalar::ZERO {
            let one = SecretScalar::of(one);
            let all = |kernel: &dyn Kernel| decoded(rows, |to| kernel.decode_mul_encode(&elements, &one, to));
            assert_eq!(all(&machine), all(&Dalek));
        }
    });
}

fn any_bytes_are_mapped_to_the_group_as_by_dalek<M: Open>(machine: M) {
    let uniform = prop::collection::vec(any_uniform(), 0..40);
    let twin = (any::<Index>(), any::<Index>());
    fuzzed(24, (uniform, twin, any_scalar()), |(mut uniform, twin, scalar)| {
        if !uniform.is_empty() {
            // Two equal halves of a row, whose points are the same: their sum is a double.
            let (row, other) = (twin.0.index(uniform.len()), twin.1.index(uniform.len()));
            let half: [u8; 32] = std::array::from_fn(|i| uniform[other][i]);
            uniform[row][32..].copy_from_slice(&half);
        }
        let scalar = SecretScalar::of(if scalar == Scalar::ZERO { Scalar::ONE } else { scalar });
        let mapped = |kernel: &dyn Kernel| {
            let [mut mapped, mut doubled] = [const { [7; 32] }; 2].map(|filled| vec![filled; uniform.len()]);
            kernel.map_mul_encode(&uniform, &scalar, &mut mapped);
            kernel.map_double_encode(&uniform, &mut doubled);
            [mapped, doubled]
        };
        assert_eq!(mapped(&machine), mapped(&Dalek));
    });
}

fn any_messages_are_hashed_as_by_sha2<M: Open>(machine: M) {
    let messages = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20);
    fuzzed(24, (messages, any::<u8>()), |(messages, column)| {
        let domain = HashDomain::new(column, b"transcript");
        let messages: Vec<Message<'_>> = messages.iter().map(|message| domain.identifier(message)).collect();
        let hashed = |kernel: &dyn Kernel| {
            let mut digests = vec![[7; 64]; messages.len()];
            kernel.hash(&messages, &mut digests);
            digests
        };
        assert!(hashed(&machine) == hashed(&Dalek));
    });
}
