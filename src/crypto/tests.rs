//! The verbs against curve25519-dalek called row by row, and at their edges.

use arrow::array::LargeBinaryArray;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use proptest::prelude::*;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha512};

use super::*;

/// Lengths at which blocks begin, end and are cut.
const LENGTHS: [usize; 8] = [0, 1, 2, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS, 3 * BLOCK_ROWS + 5];

/// As many cases as `PROPTEST_CASES` says; `few` where it is not set.
pub(super) fn cases(few: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { asked } else { ProptestConfig { cases: few, ..asked } }
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// The numbers of `rows` rows, shuffled.
fn order(rows: usize, rng: &mut ChaCha20Rng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..rows as u32).collect();
    shuffle(&mut order, rng);
    order
}

/// The elements of `rows`, in that order.
fn gathered(elements: &ElementColumn, rows: &[u32]) -> ElementColumn {
    rows.iter().map(|row| *elements.element(*row as usize)).collect::<Vec<_>>().into()
}

fn domain() -> HashDomain {
    HashDomain::new(0, b"transcript")
}

/// H(identifier) as the room's doc has it, written out.
fn hashed(column: u8, identifier: &[u8]) -> RistrettoPoint {
    let mut message = b"datafusion-psi/3/identifier\0\0\0\0\0".to_vec();
    message.push(column);
    message.extend((identifier.len() as u64).to_le_bytes());
    message.extend(identifier);
    RistrettoPoint::from_uniform_bytes(&Sha512::digest(message).into())
}

fn names(rows: usize) -> Vec<Vec<u8>> {
    (0..rows).map(|row| format!("person-{row}@example.org").into_bytes()).collect()
}

fn blind(identifiers: &[Vec<u8>], scalar: &SecretScalar) -> ElementColumn {
    let source = |row: usize| Source::Identifier(&identifiers[row]);
    hash_and_blind(&domain(), identifiers.len(), source, scalar, &mut rng(99))
}

/// Elements that have nothing to do with any hash.
fn arbitrary(rows: usize, seed: u64) -> ElementColumn {
    let mut rng = rng(seed);
    let elements: Vec<_> = (0..rows).map(|_| RistrettoPoint::random(&mut rng).compress().to_bytes()).collect();
    elements.into()
}

fn evaluated_plainly(element: &[u8; 32], scalar: &SecretScalar) -> [u8; 32] {
    let point = CompressedRistretto(*element).decompress().unwrap();
    (point * scalar.reveal()).compress().to_bytes()
}

#[test]
fn blinding_is_hash_multiply_encode_at_every_length() {
    let scalar = SecretScalar::random(&mut rng(1));
    for rows in LENGTHS {
        let identifiers = names(rows);
        let column = blind(&identifiers, &scalar);
        assert_eq!(column.len(), rows);
        for (row, identifier) in identifiers.iter().enumerate() {
            let expected = (hashed(0, identifier) * scalar.reveal()).compress();
            assert_eq!(column.element(row), expected.as_bytes(), "row {row} of {rows}");
        }
    }
}

#[test]
fn evaluating_is_decode_multiply_encode_at_every_length() {
    let scalar = SecretScalar::random(&mut rng(2));
    for rows in LENGTHS {
        let elements = arbitrary(rows, 3);
        let evaluated = evaluate(&elements, &scalar).unwrap();
        assert_eq!(evaluated.len(), rows);
        for row in 0..rows {
            assert_eq!(evaluated.element(row), &evaluated_plainly(elements.element(row), &scalar));
        }
        for tag_bytes in [1, 12, 32] {
            let tags = evaluate_tags(&elements, &scalar, tag_bytes).unwrap();
            assert_eq!(tags, TagColumn::from_elements(&evaluated, tag_bytes));
        }
    }
}

#[test]
fn evaluating_rows_is_evaluating_the_gathered_column() {
    let scalar = SecretScalar::random(&mut rng(4));
    let elements = arbitrary(2 * BLOCK_ROWS + 3, 5);
    let order = order(elements.len(), &mut rng(6));
    for rows in [&order[..0], &order[..1], &order[..BLOCK_ROWS + 7], &order, &[3, 3]] {
        let expected = evaluate(&gathered(&elements, rows), &scalar).unwrap();
        assert_eq!(
            evaluate_tags_of_rows(&elements, rows, &scalar, 12).unwrap(),
            TagColumn::from_elements(&expected, 12)
        );
    }
}

#[test]
fn padding_and_unpadding_are_multiplications_by_a_rows_own_scalar_at_every_length() {
    let (scalar, pads) = (SecretScalar::random(&mut rng(31)), Pads::random(&mut rng(32)));
    for rows in LENGTHS {
        let elements = arbitrary(rows + 1, 33);
        let order: Vec<u32> = (0..rows as u32).rev().collect();
        for first in [0, 1, 4096] {
            let rho = pads.scalars(first..first + rows);
            let padded = pad_rows(&elements, &order, &pads, first).unwrap();
            let tags = unpad_tags(&padded, &scalar, &pads, first, 12).unwrap();
            assert_eq!((padded.len(), tags.len()), (rows, rows));
            for ((place, &row), tag) in order.iter().enumerate().zip(tags.tags()) {
                let element = elements.element(row as usize);
                let point = CompressedRistretto(*element).decompress().unwrap();
                assert_eq!(padded.element(place), (point * rho[place]).compress().as_bytes());
                assert_eq!(tag, &evaluated_plainly(element, &scalar)[..12]);
            }
        }
    }
}

#[test]
fn whatever_is_evaluated_under_a_pad_is_evaluated() {
    // The round trip of the later columns: pad, have it evaluated, unpad and evaluate.
    let mut rng = rng(34);
    let (kappa, beta) = (SecretScalar::random(&mut rng), SecretScalar::random(&mut rng));
    let pads = Pads::random(&mut rng);
    let elements = arbitrary(BLOCK_ROWS + 3, 35);
    let order = order(elements.len(), &mut rng);
    let came_back = evaluate(&pad_rows(&elements, &order, &pads, 0).unwrap(), &kappa).unwrap();
    let tags = unpad_tags(&came_back, &beta, &pads, 0, 16).unwrap();
    let twice = evaluate(&evaluate(&elements, &kappa).unwrap(), &beta).unwrap();
    assert_eq!(tags, TagColumn::from_elements(&gathered(&twice, &order), 16));
}

#[test]
fn related_elements_are_no_longer_related_under_their_pads() {
    let (double, pads) = (SecretScalar::of(Scalar::from(2u8)), Pads::random(&mut rng(36)));
    let elements = arbitrary(40, 37);
    let doubled = evaluate(&elements, &double).unwrap();
    let both = ElementColumn::concat(vec![elements.clone(), doubled.clone()]);
    let rows: Vec<u32> = (0..80).collect();
    let related = |column: &ElementColumn| {
        let again = evaluate(column, &double).unwrap();
        again.elements().iter().filter(|element| column.elements().contains(element)).count()
    };
    assert_eq!(related(&both), 40);
    assert_eq!(related(&pad_rows(&both, &rows, &pads, 0).unwrap()), 0);
}

#[test]
fn edge_scalars_give_what_dalek_gives() {
    let elements = arbitrary(9, 7);
    let identifiers = names(9);
    // 1/2 exists for odd and even scalars, and halving those near the order has to carry.
    for scalar in [1u8, 2, 3, 8].map(Scalar::from).into_iter().flat_map(|s: Scalar| [s, -s]) {
        let scalar = SecretScalar::of(scalar);
        let (evaluated, blinded) = (evaluate(&elements, &scalar).unwrap(), blind(&identifiers, &scalar));
        for (row, identifier) in identifiers.iter().enumerate() {
            assert_eq!(evaluated.element(row), &evaluated_plainly(elements.element(row), &scalar));
            let expected = (hashed(0, identifier) * scalar.reveal()).compress();
            assert_eq!(blinded.element(row), expected.as_bytes());
        }
    }
}

/// One of each way in which 32 bytes are no element to work with; the last two from RFC 9496, appendix A.2.
fn invalid_encodings() -> Vec<([u8; 32], InvalidEncoding)> {
    let p_plus = |small: u8| {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xed + small;
        bytes[31] = 0x7f;
        bytes
    };
    let negative_one = {
        let mut bytes = p_plus(0);
        bytes[0] -= 1;
        bytes
    };
    let valid = arbitrary(1, 8).element(0).to_owned();
    let high_bit = {
        let mut bytes = valid;
        bytes[31] |= 0x80;
        bytes
    };
    let negative = {
        // p − s for an s that decodes: the other root, which is odd.
        let mut bytes = [0; 32];
        let mut borrow = 0i16;
        for (i, byte) in bytes.iter_mut().enumerate() {
            let digit = i16::from(p_plus(0)[i]) - i16::from(valid[i]) - borrow;
            borrow = i16::from(digit < 0);
            *byte = (digit & 0xff) as u8;
        }
        bytes
    };
    let non_square: [u8; 32] = [
        0x26, 0x94, 0x8d, 0x35, 0xca, 0x62, 0xe6, 0x43, 0xe2, 0x6a, 0x83, 0x17, 0x73, 0x32, 0xe6, 0xb6, 0xaf, 0xeb,
        0x9d, 0x08, 0xe4, 0x26, 0x8b, 0x65, 0x0f, 0x1f, 0x5b, 0xbd, 0x8d, 0x81, 0xd3, 0x71,
    ];
    let negative_xy: [u8; 32] = [
        0x3e, 0xb8, 0x58, 0xe7, 0x8f, 0x5a, 0x72, 0x54, 0xd8, 0xc9, 0x73, 0x11, 0x74, 0xa9, 0x4f, 0x76, 0x75, 0x5f,
        0xd3, 0x94, 0x1c, 0x0a, 0xc9, 0x37, 0x35, 0xc0, 0x7b, 0xa1, 0x45, 0x79, 0x63, 0x0e,
    ];
    let mut invalid = vec![([0; 32], InvalidEncoding::Identity)];
    // p, which would be another zero; p + 1 and p + 18 = 2^255 − 1, the first and last value that wrap; −1, whose y is 0.
    for bytes in
        [p_plus(0), p_plus(1), p_plus(18), [0xff; 32], negative_one, high_bit, negative, non_square, negative_xy]
    {
        invalid.push((bytes, InvalidEncoding::NotCanonical));
    }
    invalid
}

#[test]
fn what_is_no_element_is_refused_by_row_and_reason() {
    let scalar = SecretScalar::random(&mut rng(9));
    let rows = 2 * BLOCK_ROWS + 9;
    let good = arbitrary(rows, 10);
    for (i, (bytes, reason)) in invalid_encodings().into_iter().enumerate() {
        // First, last, and about the borders of blocks.
        for row in [0, i, BLOCK_ROWS - 1, BLOCK_ROWS, rows - 1] {
            let mut elements = good.elements().to_vec();
            elements[row] = bytes;
            let column = ElementColumn::from(elements);
            let refused = InvalidElement { row, reason };
            assert_eq!(evaluate(&column, &scalar), Err(refused), "{bytes:02x?}");
            assert_eq!(evaluate_tags(&column, &scalar, 12), Err(refused));
            let reversed: Vec<u32> = (0..rows as u32).rev().collect();
            let pads = Pads::random(&mut rng(13));
            assert_eq!(pad_rows(&column, &reversed, &pads, 7), Err(refused));
            assert_eq!(unpad_tags(&column, &scalar, &pads, 7, 12), Err(refused));
            assert_eq!(evaluate_tags_of_rows(&column, &reversed, &scalar, 12), Err(refused));
            // A row that nobody evaluates cannot be refused.
            let others: Vec<u32> = reversed.into_iter().filter(|&other| other as usize != row).collect();
            assert!(evaluate_tags_of_rows(&column, &others, &scalar, 12).is_ok());
        }
    }
}

#[test]
fn of_several_invalid_elements_the_first_is_named() {
    let scalar = SecretScalar::random(&mut rng(11));
    let mut elements = arbitrary(5 * BLOCK_ROWS, 12).elements().to_vec();
    for row in [90, 300, 301, 600] {
        elements[row] = [0; 32];
    }
    elements[301] = [0xff; 32];
    let column = ElementColumn::from(elements);
    let identity = |row| InvalidElement { row, reason: InvalidEncoding::Identity };
    assert_eq!(evaluate(&column, &scalar), Err(identity(90)));
    // In the order of the rows asked for, which is not the column's.
    let rows: Vec<u32> = (0..640).rev().collect();
    assert_eq!(evaluate_tags_of_rows(&column, &rows, &scalar, 12), Err(identity(600)));
    assert_eq!(
        evaluate_tags_of_rows(&column, &[5, 301, 300], &scalar, 12).unwrap_err().to_string(),
        "the peer's element in row 301 of the column is not the canonical encoding of a group element"
    );
}

#[test]
fn a_string_in_two_columns_is_two_elements() {
    let scalar = SecretScalar::of(Scalar::ONE);
    let element = |column| {
        let domain = HashDomain::new(column, b"transcript");
        *hash_and_blind(&domain, 1, |_| Source::Identifier(b"same"), &scalar, &mut rng(15)).element(0)
    };
    assert_eq!(element(0), hashed(0, b"same").compress().to_bytes());
    assert_eq!(element(7), hashed(7, b"same").compress().to_bytes());
    assert_ne!(element(0), element(7));
}

#[test]
fn where_an_identifier_ends_matters() {
    let scalar = SecretScalar::of(Scalar::ONE);
    let strings: [&[u8]; 5] = [b"", b"a", b"ab", b"b", b"a\0"];
    let column = hash_and_blind(&domain(), 5, |row| Source::Identifier(strings[row]), &scalar, &mut rng(16));
    let mut check = RepeatCheck::with_capacity(5);
    check.absorb(&column);
    assert_eq!(check.finish(), Ok(()));
}

#[test]
fn identifiers_of_several_blocks_are_hashed_whole() {
    let scalar = SecretScalar::random(&mut rng(17));
    let identifiers: Vec<Vec<u8>> =
        [ONE_BLOCK_IDENTIFIER_BYTES, ONE_BLOCK_IDENTIFIER_BYTES + 1, 128, 5000].map(|bytes| vec![b'x'; bytes]).to_vec();
    let column = blind(&identifiers, &scalar);
    for (row, identifier) in identifiers.iter().enumerate() {
        assert_eq!(column.element(row), (hashed(0, identifier) * scalar.reveal()).compress().as_bytes());
    }
}

#[test]
fn null_and_emptied_rows_are_elements_of_their_own_every_time() {
    let scalar = SecretScalar::random(&mut rng(18));
    let sources = [Source::Null, Source::Null, Source::Emptied(b"ada"), Source::Emptied(b"ada"), Source::Emptied(b"")];
    let mut rng = rng(19);
    let rows = 2 * BLOCK_ROWS + 1;
    let mut check = RepeatCheck::with_capacity(2 * rows as u32 + 2);
    for _ in 0..2 {
        let column = hash_and_blind(&domain(), rows, |row| sources[row % sources.len()], &scalar, &mut rng);
        assert!(evaluate(&column, &scalar).is_ok(), "each is a valid element");
        check.absorb(&column);
    }
    // Nor is any of them what the identifier, or the absence of one, hashes to.
    check.absorb(&blind(&[b"ada".to_vec(), b"".to_vec()], &scalar));
    assert_eq!(check.finish(), Ok(()));
}

#[test]
fn nulls_leave_the_rows_beside_them_alone() {
    let scalar = SecretScalar::random(&mut rng(20));
    let identifiers = names(BLOCK_ROWS + 30);
    let some = |row: usize| if row % 3 == 1 { Source::Null } else { Source::Identifier(&identifiers[row]) };
    let mixed = hash_and_blind(&domain(), identifiers.len(), some, &scalar, &mut rng(21));
    let full = blind(&identifiers, &scalar);
    for row in 0..identifiers.len() {
        assert_eq!(mixed.element(row) == full.element(row), row % 3 != 1, "row {row}");
    }
}

#[test]
fn kept_rows_stand_and_others_are_twice_the_image_of_their_random_bytes_at_every_length() {
    for rows in LENGTHS {
        let kept = arbitrary(rows, 40);
        let keeps = |row: usize| row % 3 != 1;
        let column = kept_or_random(rows, |row| (kept.element(row), u8::from(keeps(row)).into()), &mut rng(41));
        assert_eq!(column.len(), rows);
        let mut seeds = rng(41);
        for start in (0..rows).step_by(BLOCK_ROWS) {
            let mut seed = [0; 32];
            seeds.fill_bytes(&mut seed);
            let mut random = ChaCha20Rng::from_seed(seed);
            for row in start..rows.min(start + BLOCK_ROWS) {
                let mut fresh = [0; 64];
                random.fill_bytes(&mut fresh);
                let image = RistrettoPoint::from_uniform_bytes(&fresh);
                let expected = if keeps(row) { *kept.element(row) } else { (image + image).compress().to_bytes() };
                assert_eq!(column.element(row), &expected, "row {row} of {rows}");
            }
        }
    }
}

#[test]
fn what_is_not_kept_is_another_element_every_time_in_every_row() {
    let (kept, mut rng) = (arbitrary(2 * BLOCK_ROWS + 1, 42), rng(43));
    let mut check = RepeatCheck::with_capacity(3 * kept.len() as u32);
    for _ in 0..2 {
        check.absorb(&kept_or_random(kept.len(), |row| (kept.element(row), 0.into()), &mut rng));
    }
    check.absorb(&kept);
    assert_eq!(check.finish(), Ok(()));
}

#[test]
fn a_kernel_without_a_way_of_its_own_to_random_elements_gives_the_same_ones() {
    use super::kernel::{Dalek, Encoding, InvalidRow, Kernel, Uniform};

    struct Plain;
    impl Kernel for Plain {
        fn map_mul_encode(&self, uniform: &[Uniform], scalar: &SecretScalar, encodings: &mut [Encoding]) {
            Dalek.map_mul_encode(uniform, scalar, encodings);
        }
        fn check(&self, elements: &[Encoding]) -> Result<(), InvalidRow> {
            Dalek.check(elements)
        }
        fn decode_mul_encode(&self, e: &[Encoding], s: &SecretScalar, out: &mut [Encoding]) -> Result<(), InvalidRow> {
            Dalek.decode_mul_encode(e, s, out)
        }
        fn decode_mul_each_encode(&self, e: &[Encoding], s: &[Scalar], out: &mut [Encoding]) -> Result<(), InvalidRow> {
            Dalek.decode_mul_each_encode(e, s, out)
        }
    }
    let mut uniform = [[0; 64]; 9];
    uniform.iter_mut().skip(1).for_each(|bytes| rng(44).fill_bytes(bytes));
    let (mut ours, mut theirs) = ([[1; 32]; 9], [[2; 32]; 9]);
    Plain.map_double_encode(&uniform, &mut ours);
    Dalek.map_double_encode(&uniform, &mut theirs);
    assert_eq!(ours, theirs);
}

#[test]
fn an_array_yields_identifiers_and_nulls() {
    let array = LargeBinaryArray::from(vec![Some(&b"ada"[..]), None, Some(b"")]);
    assert!(Source::of(&array, 0) == Source::Identifier(b"ada"));
    assert!(Source::of(&array, 1) == Source::Null);
    assert!(Source::of(&array, 2) == Source::Identifier(b""), "an empty identifier is none the less one");
    assert_eq!(format!("{:?}", Source::of(&array, 0)), format!("{:?}", Source::Null));
}

#[test]
fn both_parties_derive_the_same_dummies_and_match_on_those_both_chose() {
    let mut rng = rng(22);
    let (alpha, beta) = (SecretScalar::random(&mut rng), SecretScalar::random(&mut rng));
    let tau = 40;
    let (ours, theirs) = (choose_half(tau, &mut rng), choose_half(tau, &mut rng));
    let dummies = |indices: &[u64], scalar: &SecretScalar| {
        let source = |row: usize| Source::Dummy { part: 2, index: indices[row] };
        hash_and_blind(&domain(), indices.len(), source, scalar, &mut ChaCha20Rng::seed_from_u64(23))
    };
    let tags = |column, scalar| evaluate_tags(&column, scalar, 16).unwrap();
    let (a, b) = (tags(dummies(&ours, &alpha), &beta), tags(dummies(&theirs, &beta), &alpha));
    for (row, tag) in a.tags().enumerate() {
        let matched = b.tags().any(|other| other == tag);
        assert_eq!(matched, theirs.contains(&ours[row]), "dummy {}", ours[row]);
    }
}

#[test]
fn a_block_does_not_depend_on_how_many_threads_there_are() {
    let scalar = SecretScalar::random(&mut rng(24));
    let blind = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| hash_and_blind(&domain(), 700, |_| Source::Null, &scalar, &mut rng(25)))
    };
    assert_eq!(blind(1), blind(5));
}

#[test]
fn the_quotient_of_scalars_turns_one_blinding_into_another() {
    let mut rng = rng(26);
    let (first, second) = (SecretScalar::random(&mut rng), SecretScalar::random(&mut rng));
    let identifiers = names(10);
    let turned = evaluate(&blind(&identifiers, &first), &second.quotient(&first)).unwrap();
    assert_eq!(turned, blind(&identifiers, &second));
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn blinding_agrees_with_the_oracle_on_any_mix(
        identifiers in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..200)), 0..40),
        column: u8,
        seed: u64,
    ) {
        let scalar = SecretScalar::random(&mut rng(seed));
        let domain = HashDomain::new(column, &seed.to_le_bytes());
        let array = LargeBinaryArray::from_iter(identifiers.iter().map(Option::as_deref));
        let blinded =
            hash_and_blind(&domain, identifiers.len(), |row| Source::of(&array, row), &scalar, &mut rng(!seed));
        // The oracle of nulls: a block's seed, then 64 bytes for each of its rows.
        let mut block_seed = [0; 32];
        rng(!seed).fill_bytes(&mut block_seed);
        let mut random = ChaCha20Rng::from_seed(block_seed);
        for (row, identifier) in identifiers.iter().enumerate() {
            let mut fresh = [0; 64];
            random.fill_bytes(&mut fresh);
            let point = match identifier {
                Some(identifier) => hashed(column, identifier),
                None => RistrettoPoint::from_uniform_bytes(&fresh),
            };
            let expected = (point * scalar.reveal()).compress();
            prop_assert_eq!(blinded.element(row), expected.as_bytes());
        }
    }

    #[test]
    fn the_order_of_two_scalars_does_not_matter(rows in 0usize..20, seed: u64) {
        let mut rng = rng(seed);
        let (alpha, beta) = (SecretScalar::random(&mut rng), SecretScalar::random(&mut rng));
        let elements = arbitrary(rows, seed);
        let one = evaluate(&evaluate(&elements, &alpha).unwrap(), &beta).unwrap();
        let other = evaluate(&evaluate(&elements, &beta).unwrap(), &alpha).unwrap();
        prop_assert_eq!(one, other);
    }

    #[test]
    fn any_bytes_are_evaluated_or_refused_as_dalek_would(
        rows in prop::collection::vec(
            prop_oneof![
                1 => prop::array::uniform32(any::<u8>()),
                4 => any::<u64>().prop_map(|seed| *arbitrary(1, seed).element(0)),
            ],
            1..6,
        ),
        seed: u64,
    ) {
        let scalar = SecretScalar::random(&mut rng(seed));
        let valid = |row: &[u8; 32]| CompressedRistretto(*row).decompress().is_some_and(|p| p != RistrettoPoint::identity());
        match evaluate(&ElementColumn::from(rows.clone()), &scalar) {
            Ok(evaluated) => for (row, bytes) in rows.iter().enumerate() {
                prop_assert_eq!(evaluated.element(row), &evaluated_plainly(bytes, &scalar));
            },
            Err(refused) => prop_assert_eq!(Some(refused.row), rows.iter().position(|row| !valid(row))),
        }
    }
}
