//! The kernel against curve25519-dalek.
