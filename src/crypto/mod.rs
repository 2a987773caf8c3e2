//! The room of the curve: ristretto255 over whole columns, one function per verb.
//!
//! Identifiers become group elements, elements are blinded and evaluated by secret scalars, and what is left of
//! them in the end are tags. Everything here is a pure function of its arguments; randomness is one of them. Which kernel
//! computes it is chosen once, by the processor and the variable `DATAFUSION_PSI_KERNEL`; all give the same bytes.
//!
//! | Room | Job | May import | Must not touch |
//! |---|---|---|---|
//! | crypto | group, hash to group, kernels over whole columns | dalek, sha2, chacha20, subtle, zeroize, rayon, arrow arrays | async, clock, files, own entropy (RNG is an argument), logging of values |
//!
//! # Verbs
//!
//! | verb | input, per row | output, per row | cost |
//! |---|---|---|---|
//! | [`hash_and_blind`] | a [`Source`]: identifier, null or dummy | 32 bytes: encode(s · H(source)) | hash, map, multiply, encode |
//! | [`kept_or_random`] | 32 bytes blinded before, and whether they stand | 32 bytes: these, or a fresh random element | map, encode |
//! | [`evaluate`] | 32 bytes of the peer | 32 bytes: encode(s · element) | decode, multiply, encode |
//! | [`evaluate_tags`], [`evaluate_tags_of_rows`] | 32 bytes of the peer | the first t bytes of the same | decode, multiply, encode |
//! | [`pad_rows`] | 32 bytes of the peer | 32 bytes: encode(ρ · element), ρ of this row alone ([`Pads`]) | decode, multiply, encode |
//! | [`unpad_tags`] | 32 bytes of the peer | the first t bytes of encode(s/ρ · element) | decode, multiply, encode, 0.3 µs for 1/ρ |
//! | [`check_elements`] | 32 bytes of the peer | refuses what is no element | decode |
//! | [`TagRows`] | a tag and its row | the same, ascending by tag; refuses a tag that is there twice | a sort by radix, 16 bytes of memory |
//! | [`RepeatCheck`] | 32 bytes of the peer | refuses a column that holds one element twice | the same sort and memory |
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
//! too, and about 0.1 µs more for every further 128 bytes. That time belongs to the table, not to the query, as long
//! as an entry that a *filter* emptied still costs what its identifier would:
//! [`Source::Emptied`] takes the identifier, hashes it and throws the hash away. The branch that builds a row's
//! message does depend on its kind. It is worth a nanosecond, and only an observer on the same core could
//! see it; such an observer reads the identifiers from memory anyway.
//!
//! A table may have been blinded before. Then every row of a chunk, of whatever kind, makes a fresh random element, and that
//! or the one that was kept is selected in constant time ([`kept_or_random`]): nothing but map and encoding is left to do,
//! and no branch depends on a row's kind any more.
//!
//! Multiplication by the secret scalar is constant-time throughout, whichever kernel does it: no branch and no address
//! depends on the scalar (`simd::multiply` looks up by reading the whole table).
//!
//! # Speed
//!
//! Work is cut into blocks of [`BLOCK_ROWS`] rows, which rayon spreads over the cores (the caller's pool, if it
//! runs inside one). A block goes through the [kernel](kernel_name) that the machine can run:
//!
//! - **AVX-512 IFMA**, in the module `simd`: eight elements at a time, one per lane of a register. It is compiled into
//!   every x86-64 build and chosen when the program runs, so a plain `cargo build --release` is fast wherever the
//!   processor is. Before its first use it computes one fixed block beside dalek, and gives way if they differ.
//! - **AVX2**, by the same code four elements at a time, where there is no IFMA, or the environment has
//!   `DATAFUSION_PSI_KERNEL=avx2`.
//! - **curve25519-dalek** elsewhere, and wherever the environment has `DATAFUSION_PSI_KERNEL=portable`.
//!
//! All give the same bytes. All encode a block's points by one inversion: of 2P, for each P, the square root that an
//! encoding takes is known, so a block multiplies by s/2 and lets the doubling come back: 2 · ((s/2) · P) = s · P, as
//! the group's order is odd and 1/2 exists modulo it.
//!
//! Measured on a Zen 5 core (AMD EPYC, 2.6 GHz nominal, some 4.2 at work), rustc 1.95, curve25519-dalek 5.0.0, one
//! thread, a block of 128 at a time, the best of 200, µs per element:
//!
//! | step | eight at a time | four at a time | dalek, IFMA | dalek, AVX2 |
//! |---|---|---|---|---|
//! | SHA-512 of a short identifier | 0.06 | 0.15 | 0.16 | 0.15 |
//! | map to the group | 0.42 | 2.05 | 6.45 | 6.64 |
//! | decode ([`check_elements`]) | 0.22 | 0.97 | 3.2 | 3.3 |
//! | multiply | 2.19 | 10.9 | 13.6 | 24.2 |
//! | encode | 0.05 | 0.17 | 0.40 | 0.42 |
//! | decode, multiply, encode ([`evaluate`]) | **2.53** | **12.1** | 17.2 | 27.7 |
//! | the same, a scalar per row ([`pad_rows`], without making ρ) | 2.63 | 12.2 | 17.2 | – |
//! | hash, map, multiply, encode ([`hash_and_blind`]) | **2.87** | **13.2** | 20.8 | 31.0 |
//!
//! So eight at a time are worth a factor of 7 where dalek has IFMA too, and of 11 against its AVX2 code; four at a time, where
//! there is AVX2 alone, of 2.3. The columns of dalek are its own best use, in blocks; row by row it takes 3 µs more. A
//! chunk of fewer than eight rows takes the time of eight, so a single row 26 µs where dalek takes 22.
//!
//! For a group of eight a double takes 188 cycles, of which 163 are the multipliers' at two `vpmadd52` each, and one of the
//! 64 look-ups 90, of which 80 are for reading the table. Tried without gain: two groups interleaved in the
//! multiplication (2.5 µs instead of 2.2), look-ups cut up between the doublings, shifts in the place of `vpmullq`. For a group of four on AVX2 a double takes 455
//! cycles, of which some 360 are what its instructions need at four each cycle, and a look-up 110.
//!
//! Identifiers, emptied entries, nulls and dummies agree within 2 % (minima of 60 runs on a busy machine).
//!
//! curve25519-dalek's own AVX-512 IFMA code, the third column, is compiled in only if the *compile-time* target has
//! `avx512ifma` and `avx512vl`, or if the cfg `curve25519_dalek_backend="avx512"` asks for it, as
//! `.cargo/config.toml` does. That matters to what is left to dalek alone: `DATAFUSION_PSI_KERNEL=portable` and the
//! base oblivious transfers.
//!
//! # Limits
//!
//! Rows are counted in `u32`. Secret scalars, their digits, tables and intermediate points of a block are wiped; what a
//! multiplication leaves on the stack and in registers is not (dalek does not wipe its own either), nor is the state of
//! sha2's hasher.
//!
//! # Where a faster kernel goes
//!
//! `kernel` holds the seam: a few functions over a block, filled by curve25519-dalek, which is the oracle, and by
//! `simd`. Another fills the same ones, byte for byte, and stands in `choose`. One that works lane by lane is a machine of
//! `simd` (its `vector`): a register, and products and carries of limbs. NEON would be the next.

mod blind;
mod choose;
mod column;
mod domain;
mod evaluate;
mod kernel;
mod pad;
mod radix;
mod random;
mod repeat;
mod secret;
mod shuffle;
#[cfg(target_arch = "x86_64")]
mod simd;

pub use blind::{Source, blind_draws, hash_and_blind, hash_and_blind_into, kept_or_random};
pub use choose::{CurveMicros, KERNEL_VARIABLE, curve_micros, kernel_name};
pub use column::{ColumnError, ELEMENT_BYTES, ElementColumn, TAG_BYTES_MAX, TagColumn};
pub use domain::{Domain, HashDomain, ONE_BLOCK_IDENTIFIER_BYTES, PROTOCOL_VERSION};
pub use evaluate::{
    InvalidElement, InvalidEncoding, check_elements, evaluate, evaluate_tags, evaluate_tags_of_rows, pad_rows,
    unpad_tags,
};
pub use kernel::BLOCK_ROWS;
pub use pad::Pads;
pub use radix::{SortedTagRows, TagCursor, TagRows};
pub use random::ChaCha20Rng;
pub use repeat::{RepeatCheck, RepeatedElement};
pub use secret::SecretScalar;
pub use shuffle::{choose_half, shuffle};

#[cfg(test)]
mod tests;
