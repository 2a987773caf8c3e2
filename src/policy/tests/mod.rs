//! The room's tests that cross its files.

mod budgets;
mod columns;
mod parse;
mod permit;
