//! What reading a filter, and evaluating it, may cost: bounds that hold whatever a peer writes.
//!
//! The engine was made for statements of its own user, whom nobody has to keep from wasting their time. Three things in it
//! grow exponentially with the nesting of a short text, one with a pattern, and several exhaust a thread's stack:
//!
//! | what | why | bound |
//! |---|---|---|
//! | everything up to the simplified filter | `a = a = a …`, `a::int::int …` and `INTERVAL INTERVAL …` make trees as deep as the text is long | [`with_room`]; [`DEPTH_MAX`] for what is accepted |
//! | parsing | `CAST(`, `TRIM(`, `NOT (` and others are tried twice where what follows is no SQL | [`CALLS_DEEP_MAX`] |
//! | the type of a CASE | whether it can be NULL is asked several times of a CASE in its conditions | [`CASES_DEEP_MAX`] |
//! | simplifying | BETWEEN, `coalesce`, `nvl`, CASE are written out, with copies of what they hold | [`GROWN_MAX`] |
//! | LIKE | a pattern becomes a regular expression, compiled for every batch; a large one is an error | [`PATTERN_BYTES_MAX`], [`WILDCARDS_MAX`] |

use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Like;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::allow::literal;
use crate::policy::NotAllowed;

/// How deep calls may be nested, `CAST (…)`, `IN (…)` and `NOT (…)` among them, and how many INTERVALs there may be: at two
/// or three attempts each, the parser still ends at once.
const CALLS_DEEP_MAX: usize = 8;

/// How deep the tree of an accepted filter may be, in terms: evaluating it takes a frame of the stack for each, on threads
/// with stacks of 2 MiB.
const DEPTH_MAX: usize = 500;

/// The stack on which texts are read: 16 KiB for each of their bytes. It is memory only where it is used.
const STACK_BYTES: usize = 256 << 20;

/// How deep CASE may be nested.
const CASES_DEEP_MAX: usize = 8;

/// The most terms that a filter may have once it is written out.
const GROWN_MAX: usize = 10_000;

/// The longest pattern of a LIKE, in bytes: its compiled form stays below 2 % of what the regular expressions allow, and is
/// ready in some milliseconds, however many characters have several cases.
const PATTERN_BYTES_MAX: usize = 1000;

/// The most `%` and `_` of all patterns of a filter, beside those at either end of one.
const WILDCARDS_MAX: usize = 100;

/// Runs what recurses as deep as a text is long on a stack of its own: exhausting one's own would end the process. A panic
/// comes back as a refusal.
pub(super) fn with_room<T: Send>(work: impl FnOnce() -> Result<T, NotAllowed> + Send) -> Result<T, NotAllowed> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("filter".to_owned()).stack_size(STACK_BYTES);
        let reader = thread.spawn_scoped(scope, work).map_err(|error| format!("no thread to read it: {error}"))?;
        reader.join().unwrap_or_else(|_| Err("it cannot be read".to_owned().into()))
    })
}

/// Refuses a text that the parser might take long for.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    // A text that cannot be cut into tokens is refused by the parser, which says why.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize() else { return Ok(()) };
    // Of each open parenthesis, whether it is a call's.
    let (mut open, mut calls, mut after_word) = (Vec::new(), 0, false);
    for token in tokens {
        match &token {
            Token::Whitespace(_) => continue,
            Token::LBracket | Token::LBrace => return Err("arrays and maps cannot be compared".to_owned()),
            Token::LParen => {
                open.push(after_word);
                calls += usize::from(after_word);
            }
            // It holds what follows without a parenthesis, and so is never closed.
            Token::Word(word) if word.keyword == Keyword::INTERVAL => calls += 1,
            Token::RParen => calls -= usize::from(open.pop().unwrap_or(false)),
            _ => {}
        }
        if calls > CALLS_DEEP_MAX {
            return Err(format!("functions, casts and lists are nested more than {CALLS_DEEP_MAX} deep"));
        }
        // Around these two a parenthesis only groups: machines write one per term.
        after_word = matches!(&token, Token::Word(word) if !matches!(word.keyword, Keyword::AND | Keyword::OR));
    }
    Ok(())
}

/// Refuses CASE within CASE within CASE, whose types the engine might take long for.
pub(super) fn check_cases(parsed: &SqlExpr) -> Result<(), String> {
    match parsed.visit(&mut Cases(0)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(format!("CASE is nested more than {CASES_DEEP_MAX} deep")),
    }
}

/// How many CASE stand around a term.
struct Cases(usize);

impl Visitor for Cases {
    type Break = ();

    fn pre_visit_expr(&mut self, term: &SqlExpr) -> ControlFlow<()> {
        self.0 += usize::from(matches!(term, SqlExpr::Case { .. }));
        if self.0 > CASES_DEEP_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_expr(&mut self, term: &SqlExpr) -> ControlFlow<()> {
        self.0 -= usize::from(matches!(term, SqlExpr::Case { .. }));
        ControlFlow::Continue(())
    }
}

/// Refuses what simplifying might write out into very much, and what is too deep to evaluate.
pub(super) fn check_growth(expr: &Expr) -> Result<(), String> {
    // Each term with the number of copies of it, and its depth.
    let (mut due, mut grown) = (vec![(expr, 1_usize, 1)], 0_usize);
    while let Some((term, copies, depth)) = due.pop() {
        if depth > DEPTH_MAX {
            return Err(format!("a filter whose terms are nested more than {DEPTH_MAX} deep is too long"));
        }
        grown = grown.saturating_add(copies);
        if grown > GROWN_MAX {
            return Err(format!("a filter of more than {GROWN_MAX} terms, once it is written out, is too long"));
        }
        let mut place = 0;
        let visited = term.apply_children(|child| {
            due.push((child, copies.saturating_mul(copied(term, place)), depth + 1));
            place += 1;
            Ok(TreeNodeRecursion::Continue)
        });
        visited.map_err(|error| error.strip_backtrace())?;
    }
    Ok(())
}

/// How many copies of its child at that place a term may be written out with, at most.
fn copied(term: &Expr, place: usize) -> usize {
    match term {
        // x >= low AND x <= high
        Expr::Between(_) => 2 - usize::from(place > 0),
        // x = a OR x = b OR x = c; longer lists stay lists.
        Expr::InList(list) if place == 0 => list.list.len().clamp(1, 3),
        // (w1 AND t1) OR (NOT w1 AND w2 AND t2) OR …: a condition for each branch from its own on, and for ELSE.
        Expr::Case(case) => {
            let place = place - usize::from(case.expr.is_some() && place > 0);
            let branch = place / 2;
            if place.is_multiple_of(2) && branch < case.when_then_expr.len() {
                case.when_then_expr.len() - branch + 2
            } else {
                2
            }
        }
        Expr::ScalarFunction(call) => match call.func.name() {
            // CASE WHEN a IS NOT NULL THEN a WHEN b …
            "coalesce" | "nvl" => call.args.len().saturating_sub(place) + 1,
            // d >= '2026-01-01' AND d < '2027-01-01', and that in a list.
            "date_part" => 3,
            _ => 1,
        },
        _ => 1,
    }
}

/// The patterns of one filter.
#[derive(Default)]
pub(super) struct Patterns {
    wildcards: usize,
}

impl Patterns {
    /// Refuses a pattern that takes long to compile or to match, alone or with those before it.
    pub(super) fn add(&mut self, like: &Like) -> Result<(), String> {
        let Some(pattern) = literal(&like.pattern) else {
            return Err("LIKE takes a literal pattern: one that comes from a column costs too much".to_owned());
        };
        let pattern = pattern.try_as_str().flatten().unwrap_or_default();
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern of LIKE with more than {PATTERN_BYTES_MAX} bytes costs too much"));
        }
        let inner = pattern.strip_prefix('%').unwrap_or(pattern);
        let inner = inner.strip_suffix('%').unwrap_or(inner);
        self.wildcards += inner.bytes().filter(|byte| matches!(byte, b'%' | b'_')).count();
        if self.wildcards > WILDCARDS_MAX {
            return Err(format!(
                "more than {WILDCARDS_MAX} wildcards within the patterns of LIKE cost too much (those at either end are free)"
            ));
        }
        Ok(())
    }
}
