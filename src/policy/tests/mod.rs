//! The room's tests that cross its files.

mod budgets;
mod columns;
mod groups;
mod mistakes;
mod parse;
mod permit;
mod sample;
mod sentences;
