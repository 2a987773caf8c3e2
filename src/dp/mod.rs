//! The room of differential privacy: what may leave, what it costs, and who paid.
//!
//! Bounds of contributions, the number of dummies that hides a size, the noise that hides an entry in an output, and
//! the proof that a query was charged. Pure functions of their arguments; the accountant's floats only ever err upwards
//! in δ, and no float is near a sampler.
//!
//! | Room | Job | May import | Must not touch |
//! |---|---|---|---|
//! | dp | clip, exact noise, cost arithmetic; defines [`Reservation`] | big-integer crates, an FFT, RNG as argument | floats in samplers, I/O, clock |
//!
//! - **Sizes.** [`dummies`] (τ from a budget), [`delta_of`] and [`Composition`] (the cost of what was
//!   released, also at several τ), [`SizesTerms`] (a policy's budget), [`Hypergeometric`] (the law of the
//!   dummies' overlap), [`size_noise_95`] (what τ means for who reads a size).
//! - **Values.** [`Clip`] (bounds and sensitivities), [`Total`] (exact sums of rows), [`word_width`] (no sum
//!   can overflow, by shape and policy alone).
//! - **Outputs.** [`OutputBudget`] (a policy's), [`QueryOutputs`] (a query's part), [`Noise`] (a word's: exactly sampled, its
//!   interval and tail), [`Ratio`] (what they are written in), [`pad_fillers`] (the same sampler, for announced lengths).
//! - **Charges.** [`Charge`], [`Budget`], [`Reservation`], [`Spent`].
//!
//! Limits, each an error one past: τ up to [`TAU_MAX`], composed sizes up to [`COMPOSITIONS_MAX`],
//! columns up to [`COLUMNS_MAX`], δ from [`DELTA_MIN`], fractions of [`RATIO_DIGITS_MAX`] digits, noise up to [`NOISE_TAIL_MAX`].
//!
//! # Why K columns cost K compositions, and no more
//!
//! **Setting.** Two prepared tables A and B with K identifier columns in match order. An *entry* holds one
//! identifier or null in each column; within a column of one table no identifier occurs twice. The *waterfall*
//! goes through the columns in order: in column k, two entries of A and B that are both *free*, that is unmatched
//! in the columns before, and hold the same identifier there (null equals nothing) are matched. The size s_k is
//! the number of pairs matched in column k. *Neighbours* are two prepared tables that differ in one entry emptied,
//! all its identifiers null.
//!
//! **Theorem.** Let an entry x₀ of either table be emptied. There are entries x₀, x₁, …, x_r, alternately of the
//! one and the other table, and columns k₁ < k₂ < … < k_r, r ≤ K, such that the matching without x₀ is the one with
//! x₀, less the pairs {x₀, x₁}, {x₂, x₃}, … in columns k₁, k₃, …, and with the pairs {x₁, x₂}, {x₃, x₄}, … in
//! columns k₂, k₄, … instead. Nothing else differs.
//!
//! *Proof.* Let F_k be the entries of both tables that are free after column k in the run with x₀, and F′_k
//! in the run without it, which we take out of F′ from the start: emptied, it can match nobody, so this changes
//! no pair. F₀ and F′₀ then differ in x₀ alone. We show by induction that *after each column F and F′ differ in at
//! most one entry, d*. Let it hold after column k − 1, and look at column k. As no identifier occurs twice in a
//! column of one table, each entry has at most one entry of the other table with the same identifier in column k:
//! its partner there. So the possible pairs of this column are disjoint, and whether one is matched depends on
//! nothing but whether its two ends are free. A possible pair without d has the same ends free in both runs,
//! and is matched in both or in neither. If there is no d, or if d has no partner in column k, or one that is
//! not free (in both runs alike, since it is not d), then the runs match the same pairs, and still differ in d only
//! (or not at all). Otherwise let p be d's partner, free in both runs. The run in which d is free matches {d, p},
//! and both leave its free entries; in the other run p has no other partner, and stays free. So after column k
//! both runs lack d, and p is the one entry in which they differ: free in the run in which d was *not*. That
//! is the induction's claim, with p as the new d. The entries that d runs through are the path: each is of
//! the other table than the one before, there is at most one step per column, and at each step d changes from
//! free in the one run to free in the other, beginning with x₀, free in the run with x₀. So the first
//! pair of the path belongs to the run with x₀, the second to the run without it, and so on. ∎
//!
//! **Corollary 1, sizes and COUNT.** Each s_k changes by at most 1; the changes that are not 0 alternate, −1
//! first; their sum is 0 for even r and −1 for odd r. So COUNT(*) has sensitivity 1 ([`COUNT_SENSITIVITY`]), at most
//! ⌈K/2⌉ pairs are lost and ⌊K/2⌋ gained, and what a query says about sizes is K numbers, each with fresh and
//! independent dummies, of which none moves by more than 1: no worse than K compositions of one size with
//! sensitivity 1. (A size that does not move loses nothing, and one that falls loses as much as one that rises,
//! because the dummies' law is symmetric. Dummies match dummies of their own column alone, so they are no part
//! of the path.) What else the matching shows are the positions that matched in a freshly shuffled table:
//! uniformly random given the sizes, so they add nothing.
//!
//! **Corollary 2, SUM.** Let every entry of one table, the owner's, have a value in \[min, max\], and let S be the
//! sum over its matched entries. The pairs of the path that are lost cover x₀ … x_r for odd r and x₀ … x_(r−1) for even
//! r; those gained cover x₁ … x_(r−1), or x₁ … x_r. What is covered before and not after: x₀, and for odd r also x_r;
//! covered after and not before: for even r > 0, x_r. (For r = 0 nothing changes.) x_r is of the table of x₀ for even r and
//! of the other one for odd r. Therefore:
//! - *the owner's entry x₀ is emptied:* S changes by −v(x₀) for odd r, by v(x_r) − v(x₀) for even r > 0. Both are at most
//!   max(max, 0) − min(min, 0) in absolute value: [`Clip::sensitivity_own`];
//! - *an entry of the other table is emptied:* S changes by −v(x_r) for odd r and not at all for even r: at most
//!   max(|min|, |max|), [`Clip::sensitivity_other`].
//!
//! Both are reached, the first with K ≥ 2 where the bounds have two signs. COUNT(column) is the case
//! \[0, `max_rows`\]: `max_rows` from both sides.
//!
//! **Corollary 3, labels.** Let each pair count in the cells of a vector, at most `max_labels` of them, by up to max(|min|, |max|)
//! each; which cells may depend on both its entries. Pairs lost and gained are r ≤ K together, so the vector moves by at most
//! K·`max_labels`·max(|min|, |max|) in the sum of absolute values: [`Clip::sensitivity_labels`]. It is reached, where the
//! cells depend on both entries. Where they depend on the owner's entry alone (a responder's column groups its own values), only
//! x₀ and x_r count, as for SUM: 2 in place of K for an own entry (1 for K = 1), and 1 for one of the other table.
//!
//! **Corollary 4, parts.** Let each pair count in one cell, its *part*, which the entry of the table without values decides (the
//! requester's own groups over a responder's values), and let the owner's entry x₀ be emptied. Entries of the other table on
//! the path are x₁, x₃, …; each x_i with i < r loses x_(i−1) and gains x_(i+1), both in its own part, which so moves by
//! v(x_(i+1)) − v(x_(i−1)): at most max(max, 0) − min(min, 0). For odd r the last one, x_r, loses its partner alone: at most
//! max(|min|, |max|). That is ⌊r/2⌋ times the first, and for odd r once the second, and does not fall with r; so with r = K it
//! bounds the sum of absolute values over all parts: [`Clip::sensitivity_parts`], half of corollary 3's where bounds have one
//! sign. For COUNT(*), where every matched entry counts 1, all differences are 0, and 1 is left: [`COUNT_SENSITIVITY`], as
//! without parts. Where the table with the parts owns the values too, its matched entries are what counts, and of these at
//! most x_r leaves: [`Clip::sensitivity_other`], as without parts.
//!
//! **What the proof needs.** That identifiers are unique per column, which preparing a table sees to (repeated ones
//! break it: the tests hold an example), and that neighbours differ in one *entry*. Persons who share an identifier
//! with others move more than one entry when they leave, and get a weaker guarantee.
//!
//! **Checked.** By brute force over all small tables, up to names and order, with up to 4 entries a side and K = 2, 3
//! entries a side and K = 3, 2 and K = 4, every entry of either side emptied: 19,152,488 cases, by a waterfall that is
//! written from its definition, in sizes, pairs lost and gained, and sums; 1,772,042,752 with up to 5 entries a side and K = 2, 3 and 4 and K = 3, 2 and 3 and K = 4,
//! in a test that is run on request; and random tables of up to 8
//! entries a side and 8 columns. Corollaries 3 and 4 over every part, label and extreme value of tables of up to 3 and 2 entries
//! and K ≤ 3, at random up to K = 8, and reached by a chain for every K.

mod accountant;
mod clip;
mod hypergeometric;
mod loss;
mod noise;
mod reservation;
#[cfg(test)]
mod sensitivity;

pub use accountant::{
    COLUMNS_MAX, COMPOSITIONS_MAX, Composition, DELTA_MIN, DpError, SizesTerms, TAU_MAX, default_delta, delta_of,
    dummies,
};
pub use clip::{COUNT_SENSITIVITY, Clip, ClipError, Total, WordWidth, WouldOverflow, word_width};
pub use hypergeometric::{Hypergeometric, hypergeometric_pmf, size_noise_95, size_noise_sd};
pub use noise::{
    NOISE_TAIL_MAX, Noise, NoiseError, OutputBudget, QueryOutputs, RATIO_DIGITS_MAX, Ratio, RatioError, pad_fillers,
};
pub use reservation::{Budget, BudgetRefusal, Charge, Reservation, Settlement, Spent};
