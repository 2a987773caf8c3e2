//! The room of the curve: ristretto255 over whole columns, one function per verb.
//!
//! Identifiers become group elements, elements are blinded and evaluated by secret scalars, and what is left of
//! them in the end are tags. Everything here is a pure function of its arguments; randomness is one of them.
//!
//! | Room | Job | May import | Must not touch |
//! |---|---|---|---|
//! | crypto | group, hash to group, kernels over whole columns | dalek, sha2, subtle, zeroize, rayon, arrow arrays | async, clock, files, own entropy (RNG is an argument), logging of values |
//!
//! # Verbs
//!
//! | verb | input, per row | output, per row | cost |
//! |---|---|---|---|
//! | [`hash_and_blind`] | a [`Source`]: identifier, null or dummy | 32 bytes: encode(s · H(source)) | hash, map, multiply, encode |
//! | [`evaluate`] | 32 bytes of the peer | 32 bytes: encode(s · element) | decode, multiply, encode |
//! | [`evaluate_tags`], [`evaluate_tags_of_rows`] | 32 bytes of the peer | the first t bytes of the same | decode, multiply, encode |
//! | [`pad_rows`] | 32 bytes of the peer | 32 bytes: encode(ρ · element), ρ of this row alone ([`Pads`]) | decode, multiply, encode |
//! | [`unpad_tags`] | 32 bytes of the peer | the first t bytes of encode(s/ρ · element) | decode, multiply, encode, 0.3 µs for 1/ρ |
//! | [`check_elements`] | 32 bytes of the peer | refuses what is no element | decode |
//! | [`RepeatCheck`] | 32 bytes of the peer | refuses a column that holds one element twice | a sort, 16 bytes of memory |
//!
//! An [`ElementColumn`] is the *unchecked* wire type: n · 32 bytes of anything. The checked value, a point, never
//! leaves this room: decoding is part of evaluating, and refuses what is not a canonical encoding (RFC 9496,
//! section 4.3.1) as well as the identity. A column turns into Arrow's `FixedSizeBinary(32)` without a copy.
//!
//! # Hash to group
//!
//! H(identifier) = `from_uniform_bytes`(SHA-512(domain ‖ column tag ‖ length ‖ identifier)): the one-way map of
//! RFC 9496, section 4.3.4, applied to a hash whose domain is 32 bytes, whose column tag is one byte (the position
//! in the match order) and whose length is eight bytes, little-endian. All three have fixed widths, so the
//! encoding is injective: the same string in two columns, or `"a", "b"` against `"ab"`, never meet. See
//! [`HashDomain`] for dummies.
//!
//! # Timing: what a row is must not show
//!
//! Whether a row is an identifier, a null or a dummy must not show on the wire, and the time at which a chunk
//! leaves is on the wire. So each row, of whatever kind, is hashed, *and* gets 64 fresh random bytes, and the one
//! or the other is then selected in constant time before the map to the curve, the multiplication and the
//! encoding, which do not branch on their input at all. What is left is the length of the hashed message: up to
//! [`ONE_BLOCK_IDENTIFIER_BYTES`] bytes of identifier it takes one compression of SHA-512, as nulls and dummies do
//! too, and one more (about 0.1 µs of the row's 20) for every further 128 bytes. That time belongs to the table,
//! not to the query, as long as an entry that a *filter* emptied still costs what its identifier would:
//! [`Source::Emptied`] takes the identifier, hashes it and throws the hash away. The branch that builds a row's
//! message does depend on its kind. It is worth a nanosecond, and only an observer on the same core could
//! see it; such an observer reads the identifiers from memory anyway.
//!
//! Multiplication by the secret scalar is dalek's constant-time one throughout.
//!
//! # Speed
//!
//! Work is cut into blocks of [`BLOCK_ROWS`] rows, which rayon spreads over the cores (the caller's pool, if it
//! runs inside one). A block's encodings share one inversion: dalek's `double_and_compress_batch` encodes 2P
//! for each P at 0.43 µs instead of 3.4 for a plain `compress`, so a block multiplies by s/2 and
//! lets the doubling come back: 2 · ((s/2) · P) = s · P, as the group's order is odd and 1/2 exists modulo it.
//! The gain is flat from blocks of 128 rows on (0.46 µs at 64 rows, 0.43 at 128, 0.41 at 1024), and small blocks
//! stay in the cache and spread better.
//!
//! Measured on a Zen 5 core (AMD EPYC, 2.6 GHz nominal), rustc 1.95, curve25519-dalek 5.0.0, one thread, in blocks
//! of 128, the best of five runs, µs per element:
//!
//! | build | decode, multiply, encode | hash, multiply, encode |
//! |---|---|---|
//! | plain `--release` (dalek takes AVX2) | 28.7 | 32.4 |
//! | `--cfg curve25519_dalek_backend="avx512"` (IFMA, found at run time) | 17.7 | 21.2 |
//! | `-C target-cpu=native` (IFMA) | 16.9 | 20.2 |
//! | `-C target-cpu=native`, backend `simd` (AVX2) | 25.1 | 29 |
//! | `-C target-cpu=native`, backend `serial` | 40.6 | 44.5 |
//!
//! Of that, in every build: decode 3.3, map to the group 6.7, encode 0.43, SHA-512 of a short identifier 0.16; the
//! rest is multiplication. Identifiers, emptied entries, nulls and dummies agree within some 2 % (minima of 300
//! runs on a busy machine).
//!
//! So dalek's AVX-512 IFMA backend is worth a factor of 1.6. It is compiled in only if the *compile-time* target has
//! `avx512ifma` and `avx512vl`, or if it is asked for by the cfg of the second row. With that cfg it still looks for
//! both features at *run time* and falls back to AVX2, then to serial code: one binary for every x86-64 machine,
//! some 5 % slower than one compiled for a single machine. dalek's build script refuses the cfg on other
//! architectures, so it belongs under a target of `.cargo/config.toml` (which `RUSTFLAGS`, where set, replaces):
//!
//! ```toml
//! [target.'cfg(target_arch = "x86_64")']
//! rustflags = ['--cfg=curve25519_dalek_backend="avx512"']
//! ```
//!
//! # Limits
//!
//! Rows are counted in `u32`. Secret scalars and intermediate points of a block are wiped; what a multiplication
//! leaves on the stack is not (dalek does not wipe its own), nor is the hasher's state.
//!
//! # Where a faster kernel goes
//!
//! `kernel` holds the seam: a few functions over a block, filled by curve25519-dalek. A SIMD kernel fills
//! the same ones, byte for byte.

mod blind;
mod choose;
mod column;
mod domain;
mod evaluate;
mod kernel;
mod pad;
mod repeat;
mod secret;
mod shuffle;
#[cfg(target_arch = "x86_64")]
mod simd;

pub use blind::{Source, hash_and_blind};
pub use choose::{KERNEL_VARIABLE, kernel_name};
pub use column::{ColumnError, ELEMENT_BYTES, ElementColumn, TAG_BYTES_MAX, TagColumn};
pub use domain::{Domain, HashDomain, ONE_BLOCK_IDENTIFIER_BYTES, PROTOCOL_VERSION};
pub use evaluate::{
    InvalidElement, InvalidEncoding, check_elements, evaluate, evaluate_tags, evaluate_tags_of_rows, pad_rows,
    unpad_tags,
};
pub use kernel::BLOCK_ROWS;
pub use pad::Pads;
pub use repeat::{RepeatCheck, RepeatedElement};
pub use secret::SecretScalar;
pub use shuffle::{Permutation, choose_half};

#[cfg(test)]
mod tests;
