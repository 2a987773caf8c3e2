//! Which kernel runs: the one that this machine can, unless told otherwise, and if it agrees with dalek.

use std::ffi::OsStr;
use std::sync::OnceLock;

use curve25519_dalek::scalar::Scalar;
use sha2::{Digest, Sha512};

use super::domain::{HashDomain, Message};
use super::kernel::{Dalek, Encoding, InvalidRow, Kernel, Uniform};
use super::secret::SecretScalar;

/// The environment variable that chooses: `portable` for curve25519-dalek, `auto`, empty or unset for the fastest.
pub const KERNEL_VARIABLE: &str = "DATAFUSION_PSI_KERNEL";

/// A kernel, and in words which and why.
#[derive(Clone, Copy)]
struct Choice {
    kernel: &'static dyn Kernel,
    name: &'static str,
    micros: CurveMicros,
}

impl Choice {
    fn dalek(name: &'static str) -> Self {
        Choice { kernel: &Dalek, name, micros: CurveMicros { hash_and_blind: 31.0, evaluate: 28.0 } }
    }
}

const PORTABLE: &str = "curve25519-dalek, because DATAFUSION_PSI_KERNEL asks for portable code";
const UNKNOWN: &str =
    "curve25519-dalek, because DATAFUSION_PSI_KERNEL is set to something unknown (known are auto and portable)";
#[cfg(target_arch = "x86_64")]
const IFMA: &str = "eight elements at a time on AVX-512 IFMA";
#[cfg(target_arch = "x86_64")]
const NO_IFMA: &str = "curve25519-dalek, because this processor has no AVX-512 IFMA";
#[cfg(target_arch = "x86_64")]
const DISAGREES: &str = "curve25519-dalek, because the AVX-512 IFMA kernel disagrees with it on this machine";
#[cfg(not(target_arch = "x86_64"))]
const OTHER_ARCHITECTURE: &str = "curve25519-dalek, because this is no x86-64 processor";

/// The kernel of this machine.
pub(super) fn kernel() -> &'static dyn Kernel {
    chosen().kernel
}

/// Which kernel runs and why, in words: for logs, benches and bug reports. The same from the first call on, whatever
/// becomes of the environment.
pub fn kernel_name() -> &'static str {
    chosen().name
}

/// Microseconds of one core per element, roughly: for estimates before a run. Measured on one machine (the room's doc,
/// "Speed"); another's differ by its clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurveMicros {
    /// To hash an identifier to the group, blind and encode it.
    pub hash_and_blind: f64,
    /// To decode, multiply and encode an element.
    pub evaluate: f64,
}

/// What the kernel of this machine takes.
pub fn curve_micros() -> CurveMicros {
    chosen().micros
}

fn chosen() -> Choice {
    static CHOSEN: OnceLock<Choice> = OnceLock::new();
    *CHOSEN.get_or_init(|| choose(std::env::var_os(KERNEL_VARIABLE).as_deref()))
}

fn choose(wish: Option<&OsStr>) -> Choice {
    match wish.map(OsStr::to_str) {
        None | Some(Some("" | "auto")) => fastest(),
        Some(Some("portable")) => Choice::dalek(PORTABLE),
        // Not a reason to stop: all kernels compute the same. The name tells.
        Some(_) => Choice::dalek(UNKNOWN),
    }
}

#[cfg(target_arch = "x86_64")]
fn fastest() -> Choice {
    static DETECTED: OnceLock<Option<super::simd::Ifma>> = OnceLock::new();
    match DETECTED.get_or_init(super::simd::Ifma::detect) {
        None => Choice::dalek(NO_IFMA),
        Some(ifma) if agrees_with_dalek(ifma) => {
            Choice { kernel: ifma, name: IFMA, micros: CurveMicros { hash_and_blind: 2.9, evaluate: 2.6 } }
        }
        Some(_) => Choice::dalek(DISAGREES),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn fastest() -> Choice {
    Choice::dalek(OTHER_ARCHITECTURE)
}

/// Rows of the self-test: three groups of eight and a part of a fourth. A millisecond or two, once per process.
const SELF_TEST_ROWS: usize = 27;

/// Whether `kernel` computes what dalek does for one block.
fn agrees_with_dalek(kernel: &dyn Kernel) -> bool {
    SelfTest::of(kernel) == SelfTest::of(&Dalek)
}

/// What a kernel makes of one fixed block.
#[derive(PartialEq)]
struct SelfTest {
    /// Of messages of one block and of several.
    hashes: Vec<Uniform>,
    mapped: Vec<Encoding>,
    /// Of the same hashes, without a scalar.
    doubled: Vec<Encoding>,
    /// `mapped` under one scalar.
    evaluated: Vec<Encoding>,
    /// `evaluated` under a scalar per row.
    padded: Vec<Encoding>,
    /// Of all of these, and of `mapped` with one row that is to be refused.
    results: Vec<Result<(), InvalidRow>>,
}

impl SelfTest {
    fn of(kernel: &dyn Kernel) -> Self {
        let domain = HashDomain::new(1, b"self-test");
        let identifiers: Vec<Vec<u8>> = (0..SELF_TEST_ROWS).map(|row| vec![row as u8; 7 * row]).collect();
        let messages: Vec<Message<'_>> = identifiers.iter().map(|identifier| domain.identifier(identifier)).collect();
        let mut hashes = vec![[0; 64]; SELF_TEST_ROWS];
        kernel.hash(&messages, &mut hashes);

        let scalar = Scalar::from_bytes_mod_order_wide(&Sha512::digest(b"self-test").into());
        let scalar = SecretScalar::of(scalar);
        let scalars: Vec<Scalar> = hashes.iter().map(Scalar::from_bytes_mod_order_wide).collect();
        let rows = vec![[0; 32]; SELF_TEST_ROWS];
        let (mut mapped, mut doubled, mut evaluated, mut padded) = (rows.clone(), rows.clone(), rows.clone(), rows);
        kernel.map_mul_encode(&hashes, &scalar, &mut mapped);
        kernel.map_double_encode(&hashes, &mut doubled);
        let mut results = vec![
            kernel.decode_mul_encode(&mapped, &scalar, &mut evaluated),
            kernel.decode_mul_each_encode(&evaluated, &scalars, &mut padded),
            kernel.check(&padded),
        ];
        for (i, refused) in REFUSED.into_iter().enumerate() {
            let mut elements = mapped.clone();
            elements[5 * i] = refused_bytes(refused);
            results.push(kernel.check(&elements));
        }
        Self { hashes, mapped, doubled, evaluated, padded, results }
    }
}

/// What is refused, by its lowest byte and all others: the identity, p + 1, an odd integer, an even one below p that
/// is no element all the same.
const REFUSED: [(u8, u8); 4] = [(0, 0), (0xee, 0xff), (1, 0), (2, 0)];

/// 255 bits of these bytes.
fn refused_bytes((lowest, rest): (u8, u8)) -> Encoding {
    let mut bytes = [rest; 32];
    bytes[0] = lowest;
    bytes[31] &= 0x7f;
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::evaluate::InvalidEncoding;
    use super::*;

    #[test]
    fn portable_code_can_be_asked_for_and_a_wrong_wish_is_told() {
        let name = |wish: &str| choose(Some(OsStr::new(wish))).name;
        assert_eq!(name("portable"), PORTABLE);
        for wrong in ["ifma", "Portable", "portable ", "1"] {
            assert_eq!(name(wrong), UNKNOWN, "{wrong:?}");
        }
        for automatic in ["", "auto"] {
            assert_eq!(name(automatic), choose(None).name);
        }
        assert!([name("portable"), name("ifma")].iter().all(|name| name.contains(KERNEL_VARIABLE)));
        assert!(!choose(None).name.contains(KERNEL_VARIABLE));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_processor_that_can_runs_the_kernel_of_our_own() {
        let name = choose(None).name;
        assert_eq!(name == IFMA, super::super::simd::Ifma::detect().is_some(), "{name}");
    }

    #[test]
    fn the_name_is_of_the_kernel_that_runs_and_stays() {
        assert_eq!(kernel_name(), kernel_name());
        let mut encodings = [[0; 32]];
        kernel().map_mul_encode(&[[1; 64]], &SecretScalar::of(Scalar::ONE), &mut encodings);
        assert_eq!(kernel().check(&encodings), Ok(()));
    }

    /// dalek, but for one bit of what one verb gives in one row.
    struct Faulty {
        verb: usize,
        row: usize,
    }

    impl Faulty {
        fn spoil<const BYTES: usize>(&self, verb: usize, rows: &mut [[u8; BYTES]]) {
            if verb == self.verb {
                rows[self.row][BYTES - 1] ^= 1;
            }
        }
    }

    impl Kernel for Faulty {
        fn hash(&self, messages: &[Message<'_>], digests: &mut [Uniform]) {
            Dalek.hash(messages, digests);
            self.spoil(0, digests);
        }

        fn map_mul_encode(&self, uniform: &[Uniform], scalar: &SecretScalar, encodings: &mut [Encoding]) {
            Dalek.map_mul_encode(uniform, scalar, encodings);
            self.spoil(1, encodings);
        }

        fn map_double_encode(&self, uniform: &[Uniform], encodings: &mut [Encoding]) {
            Dalek.map_double_encode(uniform, encodings);
            self.spoil(5, encodings);
        }

        fn check(&self, elements: &[Encoding]) -> Result<(), InvalidRow> {
            if self.verb == 2 { Ok(()) } else { Dalek.check(elements) }
        }

        fn decode_mul_encode(
            &self,
            elements: &[Encoding],
            scalar: &SecretScalar,
            encodings: &mut [Encoding],
        ) -> Result<(), InvalidRow> {
            let result = Dalek.decode_mul_encode(elements, scalar, encodings);
            self.spoil(3, encodings);
            result
        }

        fn decode_mul_each_encode(
            &self,
            elements: &[Encoding],
            scalars: &[Scalar],
            encodings: &mut [Encoding],
        ) -> Result<(), InvalidRow> {
            let result = Dalek.decode_mul_each_encode(elements, scalars, encodings);
            self.spoil(4, encodings);
            result
        }
    }

    #[test]
    fn a_kernel_that_is_wrong_in_one_row_of_one_verb_is_found() {
        assert!(agrees_with_dalek(&Dalek));
        for verb in 0..6 {
            for row in [0, 7, SELF_TEST_ROWS - 1] {
                assert!(!agrees_with_dalek(&Faulty { verb, row }), "verb {verb}, row {row}");
            }
        }
        assert!(agrees_with_dalek(&Faulty { verb: 6, row: 0 }));
    }

    #[test]
    fn the_rows_that_the_self_test_wants_refused_are() {
        use InvalidEncoding::{Identity, NotCanonical};

        let reasons = REFUSED.map(|refused| Dalek.check(&[refused_bytes(refused)]).unwrap_err().reason);
        assert_eq!(reasons, [Identity, NotCanonical, NotCanonical, NotCanonical]);
        // Not for its parity or size: the integer beside it is an element.
        assert_eq!(Dalek.check(&[refused_bytes((4, 0))]), Ok(()));
    }
}
