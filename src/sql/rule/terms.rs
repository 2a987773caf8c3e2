//! Match terms: which identifiers of the share, in which order, against which columns of this side.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{BinaryExpr, Cast, TryCast};
use datafusion::logical_expr::utils::{split_binary_owned, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};

use super::super::predicate::{decimal, integer_digits, is_text, is_wider_integer};
use super::flatten::{JoinTree, Remote, Side, position_of};
use super::refused;
use crate::psi::normalise::Normaliser;
use crate::psi::{COLUMNS_MAX, IdentifierTerms};

/// One term: an identifier of the share, and the local expression for each of its columns.
#[derive(Debug, PartialEq)]
pub(super) struct Term {
    pub(super) identifier: String,
    pub(super) parts: Vec<Expr>,
}

/// One equation of a term.
#[derive(Debug, Clone)]
struct Equation {
    /// The column of the share.
    column: String,
    local: Expr,
}

/// Reads the conditions that mention both sides, in their order.
pub(super) fn match_terms(tree: &JoinTree, remote: &Remote, conditions: Vec<Expr>) -> Result<Vec<Term>> {
    let schema = tree.schema()?;
    if conditions.is_empty() {
        return refused(format!(
            "nothing says which persons are the same: match by an identifier in ON or WHERE; {}",
            identifiers(remote)
        ));
    }
    let mut everywhere: Vec<Equation> = Vec::new();
    let mut alternatives: Option<Vec<Vec<Equation>>> = None;
    for condition in conditions {
        let branches = split_binary_owned(condition, Operator::Or);
        let in_or = branches.len() > 1;
        let mut read = Vec::with_capacity(branches.len());
        for branch in branches {
            let equations = split_conjunction_owned(branch).into_iter();
            read.push(equations.map(|one| equation(tree, remote, &schema, one, in_or)).collect::<Result<Vec<_>>>()?);
        }
        if !in_or {
            everywhere.extend(read.into_iter().flatten());
        } else if alternatives.replace(read).is_some() {
            return refused(format!(
                "two conditions joined by AND each offer {} alternatives by OR, so there is no one order to match in; \
                 write one list of alternatives",
                remote.full_name()
            ));
        }
    }
    // (b OR c) AND a is (b AND a) OR (c AND a): the order of the alternatives is the analyst's.
    let mut terms = Vec::new();
    for mut equations in alternatives.unwrap_or_else(|| vec![Vec::new()]) {
        equations.extend(everywhere.iter().cloned());
        let term = term(tree, remote, &schema, equations)?;
        if terms.contains(&term) {
            return refused(format!("the same match by '{}' occurs twice; write it once", term.identifier));
        }
        terms.push(term);
    }
    if terms.len() > COLUMNS_MAX {
        return refused(format!(
            "{} alternatives to match by are more than the {COLUMNS_MAX} of a session",
            terms.len()
        ));
    }
    Ok(terms)
}

fn equation(tree: &JoinTree, remote: &Remote, schema: &DFSchema, condition: Expr, in_or: bool) -> Result<Equation> {
    let shown = tree.show(&condition);
    let side = tree.side(&condition)?;
    let peer = &remote.peer;
    if side != Side::Both {
        debug_assert!(in_or, "conditions of one side are sorted out before, except inside OR");
        return refused(match side {
            Side::Local => format!(
                "`{shown}` is one of several alternatives by OR but does not match anything with {peer}; to match by an identifier \
                 only where it holds, use CASE WHEN {shown} THEN your_column END = the identifier"
            ),
            _ => format!(
                "`{shown}` is one of several alternatives by OR but has no column of yours: every alternative has to match a column \
                 of yours with an identifier of {}; a condition on {peer}'s columns alone goes into WHERE, joined by AND",
                remote.full_name()
            ),
        });
    }
    let mixed = || {
        format!(
            "`{shown}` mixes columns of both sides; only equality with an identifier can be tested across them \
             ({})",
            identifiers(remote)
        )
    };
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return refused(mixed()) };
    let (local, theirs) = match (tree.side(&left)?, tree.side(&right)?) {
        (Side::Local, Side::Remote) => (*left, *right),
        (Side::Remote, Side::Local) => (*right, *left),
        _ => return refused(mixed()),
    };
    let theirs = strip_casts(theirs, schema)?;
    let Expr::Column(column) = &theirs else { return refused(not_a_column(tree, &theirs, &shown, schema)) };
    let Some((_, position)) = position_of(column) else { return refused(mixed()) };
    let column = remote.column(position).to_owned();
    if local.is_volatile() {
        return refused(format!(
            "`{shown}` matches by a volatile expression; compute it in a subquery over your own table"
        ));
    }
    Ok(Equation { column, local: strip_casts(local, schema)? })
}

fn not_a_column(tree: &JoinTree, theirs: &Expr, shown: &str, schema: &DFSchema) -> String {
    if let Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) = theirs
        && let (Expr::Column(_), Ok(kind)) = (expr.as_ref(), expr.get_type(schema))
    {
        let column = tree.show(expr);
        let kind = if is_text(&kind) { "VARCHAR".to_owned() } else { kind.to_string() };
        return format!(
            "in `{shown}`, {column} is of type {kind}: an identifier is compared as it is, so cast your side to {kind} instead"
        );
    }
    format!(
        "in `{shown}`, the peer's side is an expression: the peer matches by its identifier columns only, as it normalises them; \
         expressions are for your side"
    )
}

fn term(tree: &JoinTree, remote: &Remote, schema: &DFSchema, equations: Vec<Equation>) -> Result<Term> {
    let known = &remote.shared.terms.identifiers;
    for equation in &equations {
        if !known.iter().any(|identifier| identifier.columns.contains(&equation.column)) {
            return refused(format!(
                "column '{}' of {} is no identifier, so nothing can be matched by it; {}",
                equation.column,
                remote.full_name(),
                identifiers(remote)
            ));
        }
        let same = equations.iter().filter(|other| other.column == equation.column);
        if same.count() > 1 {
            let shown = tree.show(&equation.local);
            return refused(format!(
                "'{}' is matched twice in one alternative (by {shown} and another); join alternatives by OR",
                equation.column
            ));
        }
    }
    let fits = |columns: &[String]| {
        columns.len() == equations.len()
            && columns.iter().all(|column| equations.iter().any(|one| one.column == *column))
    };
    let Some(identifier) = known.iter().find(|identifier| fits(&identifier.columns)) else {
        let mut columns: Vec<&str> = equations.iter().map(|equation| equation.column.as_str()).collect();
        columns.sort_unstable();
        let what = match columns.as_slice() {
            [one] => format!("'{one}' alone is no identifier"),
            several => format!("'{}' together are no composite identifier", several.join("', '")),
        };
        return refused(format!("{what} of {}; {}", remote.full_name(), identifiers(remote)));
    };
    let parts = identifier.columns.iter().flat_map(|column| equations.iter().find(|one| one.column == *column));
    let parts: Vec<Expr> = parts.map(|one| one.local.clone()).collect();
    check_types(tree, remote, schema, identifier, &parts)?;
    Ok(Term { identifier: identifier.name.clone(), parts })
}

/// Whether the identifier's normaliser takes what this side brings: before any row is read.
fn check_types(
    tree: &JoinTree,
    remote: &Remote,
    schema: &DFSchema,
    identifier: &IdentifierTerms,
    parts: &[Expr],
) -> Result<()> {
    let normaliser: Normaliser = match identifier.normaliser.parse() {
        Ok(normaliser) => normaliser,
        Err(error) => {
            return refused(format!(
                "{} normalises '{}' in a way that this version does not know: {error}",
                remote.peer, identifier.name
            ));
        }
    };
    for part in parts {
        if let Err(error) = normaliser.check_type(&part.get_type(schema)?) {
            return refused(format!(
                "{} cannot be matched with identifier '{}': {error}",
                tree.show(part),
                identifier.name
            ));
        }
    }
    Ok(())
}

/// The sentence that says what can be matched by.
pub(super) fn identifiers(remote: &Remote) -> String {
    let listed: Vec<String> = remote
        .shared
        .terms
        .identifiers
        .iter()
        .map(|identifier| match identifier.columns.as_slice() {
            [column] if *column == identifier.name => column.clone(),
            columns => format!("{} ({})", identifier.name, columns.join(" AND ")),
        })
        .collect();
    format!("{} can be matched by: {}", remote.full_name(), listed.join(", "))
}

/// Takes off the casts that type coercion adds around the two sides of an equation and that change no
/// identifier: the normalisers compare text, and every width of an integer by its digits.
fn strip_casts(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let mut expr = expr;
    loop {
        let (inner, to) = match &expr {
            Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => (expr, field.data_type()),
            _ => return Ok(expr),
        };
        if !keeps_identifier(&inner.get_type(schema)?, to) {
            return Ok(expr);
        }
        expr = inner.as_ref().clone();
    }
}

pub(super) fn keeps_identifier(from: &DataType, to: &DataType) -> bool {
    let bytes = |kind: &DataType| {
        matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
    };
    match (from, to) {
        (DataType::Dictionary(_, values), to) => keeps_identifier(values, to),
        (from, DataType::Dictionary(_, values)) => keeps_identifier(from, values),
        (from, to) if from == to => true,
        (from, to) if is_text(from) && is_text(to) => true,
        (from, to) if bytes(from) && bytes(to) => true,
        (from, to) if is_wider_integer(from, to) => true,
        (from, to) if from.is_integer() && is_text(to) => true,
        (from, to) => match (integer_digits(from), decimal(to)) {
            (Some(digits), Some((precision, 0))) => precision >= digits,
            _ => false,
        },
    }
}
