//! All verbs against curve25519-dalek, byte for byte.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_COMPRESSED;
use curve25519_dalek::ristretto::CompressedRistretto;
use num_bigint::BigUint;

use super::numbers::{d, inverse, is_square, minus, p, root};
use super::*;

/// How many random rows the comparison takes: a million and more belong to a release build, by this variable.
const ROWS_VARIABLE: &str = "DATAFUSION_PSI_ORACLE_ROWS";
const ROWS: usize = 4_000;

/// What a kernel makes of these rows, and under these scalars.
fn outcome(kernel: &dyn Kernel, uniform: &[Uniform], scalar: &SecretScalar, scalars: &[Scalar]) -> [Vec<Encoding>; 4] {
    let [mut mapped, mut doubled, mut evaluated, mut padded] =
        [const { Vec::new() }; 4].map(|mut rows: Vec<Encoding>| {
            rows.resize(uniform.len(), [7; 32]);
            rows
        });
    kernel.map_mul_encode(uniform, scalar, &mut mapped);
    kernel.map_double_encode(uniform, &mut doubled);
    assert_eq!(kernel.check(&mapped), Ok(()));
    assert_eq!(kernel.decode_mul_encode(&mapped, scalar, &mut evaluated), Ok(()));
    assert_eq!(kernel.decode_mul_each_encode(&mapped, scalars, &mut padded), Ok(()));
    [mapped, doubled, evaluated, padded]
}

#[test]
fn random_rows_are_what_dalek_makes_of_them() {
    let Some(ifma) = kernel() else { return };
    let rows = std::env::var(ROWS_VARIABLE).map_or(ROWS, |rows| rows.parse().unwrap());
    let mut rng = rng(60);
    for start in (0..rows).step_by(BLOCK_ROWS) {
        let uniform = uniform(BLOCK_ROWS.min(rows - start), &mut rng);
        let scalar = SecretScalar::random(&mut rng);
        let scalars: Vec<Scalar> = uniform.iter().map(|_| Scalar::random(&mut rng)).collect();
        assert!(
            outcome(&ifma, &uniform, &scalar, &scalars) == outcome(&Dalek, &uniform, &scalar, &scalars),
            "rows {start} and on"
        );
    }
}

#[test]
fn blocks_of_every_length_are_what_dalek_makes_of_them() {
    let Some(ifma) = kernel() else { return };
    let mut rng = rng(61);
    for rows in (0..=2 * 2 * LANES + 1).chain([BLOCK_ROWS - 1]) {
        let uniform = uniform(rows, &mut rng);
        let scalar = SecretScalar::random(&mut rng);
        let scalars: Vec<Scalar> = (0..rows).map(|_| Scalar::random(&mut rng)).collect();
        assert_eq!(outcome(&ifma, &uniform, &scalar, &scalars), outcome(&Dalek, &uniform, &scalar, &scalars));
    }
}

#[test]
fn scalars_at_the_edges_are_what_dalek_makes_of_them() {
    let Some(ifma) = kernel() else { return };
    let powers = (0..253u32).map(|k| {
        let mut bytes = [0; 32];
        bytes[k as usize / 8] = 1 << (k % 8);
        Scalar::from_bytes_mod_order(bytes)
    });
    let mut scalars = vec![Scalar::ZERO, Scalar::ONE, -Scalar::ONE, -Scalar::from(2u8)];
    for power in powers {
        scalars.extend([power, power - Scalar::ONE, -power]);
    }
    // Every digit the same.
    scalars.extend((0..16u8).map(|digit| Scalar::from_bytes_mod_order([digit * 0x11; 32])));
    let mut rng = rng(62);
    for scalars in scalars.chunks(BLOCK_ROWS) {
        let mut elements = vec![[0; 32]; scalars.len()];
        Dalek.map_mul_encode(&uniform(scalars.len(), &mut rng), &SecretScalar::random(&mut rng), &mut elements);
        let [mut ours, mut theirs] = [vec![[1; 32]; scalars.len()], vec![[2; 32]; scalars.len()]];
        assert_eq!(ifma.decode_mul_each_encode(&elements, scalars, &mut ours), Ok(()));
        assert_eq!(Dalek.decode_mul_each_encode(&elements, scalars, &mut theirs), Ok(()));
        assert_eq!(ours, theirs);
    }
    // Zero times anything is the identity, and leaves its block alone.
    let elements = [RISTRETTO_BASEPOINT_COMPRESSED.to_bytes(); 3];
    let mut encodings = [[9; 32]; 3];
    ifma.decode_mul_each_encode(&elements, &[Scalar::ONE, Scalar::ZERO, Scalar::ONE], &mut encodings).unwrap();
    assert_eq!(encodings, [elements[0], [0; 32], elements[0]]);
}

fn bytes_of(number: &BigUint) -> [u8; 32] {
    let mut bytes = number.to_bytes_le();
    bytes.resize(32, 0);
    bytes.try_into().unwrap()
}

/// Field elements t at which the map has something to watch: both ends, unreduced and with the bit that is passed over,
/// and those for which the map's u or v is zero or r is ±1, as far as they exist.
fn edges_of_the_map() -> Vec<[u8; 32]> {
    let mut edges: Vec<[u8; 32]> =
        [BigUint::ZERO, 1u8.into(), 2u8.into(), p() - 1u8, p(), p() + 1u8, p() + 18u8].iter().map(bytes_of).collect();
    edges.extend([[0xff; 32], [0x80; 32], std::array::from_fn(|i| if i == 31 { 0x80 } else { 0 })]);
    // r = i·t²; v = (−1 − r·d)·(r + d), u = (r + 1)·(1 − d²)
    let i = root(&(p() - 1u8));
    let minus_one = p() - 1u8;
    let special = [minus(&BigUint::ZERO, &d()), minus(&BigUint::ZERO, &inverse(&d())), minus_one, 1u8.into()];
    for r in special {
        for i in [&i, &minus(&BigUint::ZERO, &i)] {
            let tt = &r * inverse(i) % p();
            if is_square(&tt) {
                edges.extend([bytes_of(&root(&tt)), bytes_of(&minus(&BigUint::ZERO, &root(&tt)))]);
            }
        }
    }
    edges
}

#[test]
fn the_map_at_its_edges_is_what_dalek_makes_of_it() {
    let Some(ifma) = kernel() else { return };
    let edges = edges_of_the_map();
    let mut uniform = Vec::new();
    for first in &edges {
        for second in &edges {
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(first);
            bytes[32..].copy_from_slice(second);
            uniform.push(bytes);
        }
    }
    let scalar = SecretScalar::random(&mut rng(63));
    for uniform in uniform.chunks(BLOCK_ROWS) {
        let [mut ours, mut theirs] = [vec![[1; 32]; uniform.len()], vec![[2; 32]; uniform.len()]];
        ifma.map_mul_encode(uniform, &scalar, &mut ours);
        Dalek.map_mul_encode(uniform, &scalar, &mut theirs);
        assert_eq!(ours, theirs);
        ifma.map_double_encode(uniform, &mut ours);
        Dalek.map_double_encode(uniform, &mut theirs);
        assert_eq!(ours, theirs);
    }
    // The two images may cancel: the identity, among others.
    assert!(uniform.len() > BLOCK_ROWS);
}

/// Encodings at every edge of what is canonical: small and large integers of both parities around zero, p and 2^255,
/// with and without the highest bit, single bits, the basepoint's multiples, their negatives.
fn edges_of_decoding() -> Vec<[u8; 32]> {
    let two_255 = BigUint::from(1u8) << 255u8;
    let mut numbers: Vec<BigUint> = (0..64u8).map(BigUint::from).collect();
    numbers.extend((1..40u8).map(|below| p() - below));
    numbers.extend((0..19u8).map(|above| p() + above));
    numbers.extend((0..255u8).map(|bit| BigUint::from(1u8) << bit));
    numbers.extend((1..255u8).map(|bit| (BigUint::from(1u8) << bit) - 1u8));
    numbers.extend((1..6u8).map(|limb| (BigUint::from(1u8) << (51 * limb)) - 1u8));
    for k in 1..40u8 {
        let multiple = RISTRETTO_BASEPOINT_COMPRESSED.decompress().unwrap() * Scalar::from(k);
        let number = BigUint::from_bytes_le(multiple.compress().as_bytes());
        numbers.extend([p() - &number, number]);
    }
    let high = numbers.iter().map(|number| bytes_of(&(number % &two_255 + &two_255)));
    numbers.iter().map(bytes_of).chain(high).collect()
}

#[test]
fn every_lane_is_decoded_or_refused_as_dalek_would() {
    let Some(ifma) = kernel() else { return };
    let mut candidates = edges_of_decoding();
    let mut rng = rng(64);
    for _ in 0..200 {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        // Half of them even and below 2^255, so that many are refused for being no square alone.
        bytes[0] &= 0xfe;
        bytes[31] &= 0x7f;
        candidates.push(bytes);
    }
    let good = RISTRETTO_BASEPOINT_COMPRESSED.to_bytes();
    let (mut valid, mut lane) = (0, 0);
    for candidate in &candidates {
        // Elsewhere, valid rows: whatever is refused is this one.
        lane = (lane + 1) % (2 * LANES + 3);
        let mut elements = [good; 2 * LANES + 3];
        elements[lane] = *candidate;
        assert_eq!(ifma.check(&elements), Dalek.check(&elements), "{candidate:02x?} in lane {lane}");
        valid += usize::from(ifma.check(&elements).is_ok());
    }
    assert!(valid > 150 && candidates.len() - valid > 150, "of both kinds: {valid} of {}", candidates.len());
    // And all of them at once: the first is named, with its reason.
    for rows in 1..60 {
        for elements in candidates.chunks(rows) {
            assert_eq!(ifma.check(elements), Dalek.check(elements));
        }
    }
    let mut unused = [[0; 32]; 2];
    let refused = Err(InvalidRow { row: 1, reason: InvalidEncoding::Identity });
    assert_eq!(ifma.decode_mul_each_encode(&[good, [0; 32]], &[Scalar::ONE; 2], &mut unused), refused);
    assert!(CompressedRistretto(good).decompress().is_some());
}

#[test]
fn hashes_of_every_length_are_those_of_fips_180() {
    let Some(ifma) = kernel() else { return };
    let domain = HashDomain::new(3, b"transcript");
    let identifiers: Vec<Vec<u8>> =
        (0..300usize).map(|bytes| (0..bytes).map(|i| (i * 7 + bytes) as u8).collect()).collect();
    // In ascending order, and shuffled so that short and long ones share a group.
    for step in [1, 67] {
        let order: Vec<usize> = (0..300).map(|row| row * step % 300).collect();
        let messages: Vec<_> = order.iter().map(|row| domain.identifier(&identifiers[*row])).collect();
        for rows in [0, 1, 7, 8, 9, 300] {
            let mut digests = vec![[0; 64]; rows];
            ifma.hash(&messages[..rows], &mut digests);
            for (message, digest) in messages.iter().zip(&digests) {
                let whole = [message.head(), message.body()].concat();
                assert_eq!(digest[..], Sha512::digest(&whole)[..], "{} bytes", whole.len());
            }
        }
    }
}
