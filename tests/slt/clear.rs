//! The truth: the same text in plain SQL, over both parties' tables in one place.
//!
//! Two ways, and a file's world says which:
//! - [`Truth::Join`]: the private functions are replaced by SQL's own, word by word, and nothing else is touched. What
//!   DataFusion makes of the join is the truth, which it is where identifiers are unique on both sides.
//! - [`Truth::Persons`]: each SELECT with private functions is computed by [`persons`](super::persons) and replaced by
//!   its one row; what stands around it is plain SQL again. For tables in which persons have several rows or share
//!   identifiers.

use std::ops::ControlFlow;

use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, TableWithJoins, Visit, VisitMut, Visitor,
    VisitorMut, With,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::answer::Answer;
use super::derive::Question;
use super::kit::Failed;

/// How the truth of a world's queries is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    /// By a plain join.
    Join,
    /// By persons.
    Persons,
}

/// Both parties' tables in one session, and what the shares say of clipping.
#[derive(Clone)]
pub(super) struct Clear {
    pub(super) context: SessionContext,
    pub(super) policy: toml::Table,
    pub(super) truth: Truth,
}

/// The name of a private function, in lower case; none for all others.
pub(super) fn private_name(function: &Function) -> Option<String> {
    let name = function.name.to_string().to_ascii_lowercase();
    name.starts_with("private_intersect_").then_some(name)
}

/// An expression from its text.
pub(super) fn expression(text: &str) -> Expr {
    Parser::new(&GenericDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap_or_else(|e| panic!("{text}: {e}"))
}

impl Clear {
    /// The statement as it is run in the clear.
    pub(super) fn translate(&self, sql: &str) -> Result<String, Failed> {
        let mut statements = DFParser::parse_sql(sql)?;
        let Some(Statement::Statement(mut statement)) = statements.pop_front() else { return Ok(sql.to_owned()) };
        match self.truth {
            Truth::Join => {}
            Truth::Persons => {
                let mut by_persons = ByPersons { clear: self, scope: Vec::new(), put: None };
                if let ControlFlow::Break(reason) = VisitMut::visit(&mut statement, &mut by_persons) {
                    return Err(Failed(reason));
                }
            }
        }
        let _ = VisitMut::visit(&mut statement, &mut Plainly);
        Ok(statement.to_string())
    }
}

/// Replaces the private functions by SQL's own.
struct Plainly;

impl VisitorMut for Plainly {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let filter = function.filter.as_ref().map(|filter| format!(" FILTER (WHERE {filter})")).unwrap_or_default();
        let of = |name: &str| format!("{name}{}{filter}", function.args);
        let plain = match function.name.to_string().to_ascii_lowercase().as_str() {
            "private_intersect_count" => of("count"),
            // A NULL would say that nobody matched.
            "private_intersect_sum" => format!("coalesce({}, 0)", of("sum")),
            "private_intersect_var" => of("var"),
            "private_intersect_var_pop" => format!("CASE WHEN {} > 1 THEN {} END", of("count"), of("var_pop")),
            "private_intersect_stddev" => of("stddev"),
            "private_intersect_stddev_pop" => format!("CASE WHEN {} > 1 THEN {} END", of("count"), of("stddev_pop")),
            "private_intersect_avg" => format!("(CAST({} AS DOUBLE) / nullif({}, 0))", of("sum"), of("count")),
            // Without noise, an interval is a point.
            "psi_low" | "psi_high" => function.args.to_string(),
            "psi_error" => format!("(0 * {})", function.args),
            _ => return ControlFlow::Continue(()),
        };
        *expr = expression(&plain);
        ControlFlow::Continue(())
    }
}

/// Replaces each SELECT with private functions by its rows.
struct ByPersons<'a> {
    clear: &'a Clear,
    /// The CTEs of the queries around.
    scope: Vec<Option<With>>,
    /// What the last SELECT's expressions have become.
    put: Option<Put>,
}

impl VisitorMut for ByPersons<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        self.scope.push(query.with.clone());
        self.put = None;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        self.scope.pop();
        match self.put.take() {
            Some(mut put) if put.grouped => {
                let _ = VisitMut::visit(&mut query.order_by, &mut put);
            }
            // One row has one order.
            _ if query.order_by.as_ref().is_some_and(|order| !calls(order).is_empty()) => query.order_by = None,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        // Inner queries have been replaced already, so that what is left is this one's own.
        let calls = calls(select);
        if calls.is_empty() {
            return ControlFlow::Continue(());
        }
        let with: Vec<&With> = self.scope.iter().flatten().collect();
        let answered = Question::read(self.clear, select, &with, &calls).and_then(|question| {
            let answers =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(question.answer(self.clear)));
            Ok((question, answers?))
        });
        match answered {
            Ok((question, answers)) => self.put = Some(replace(select, &question, &answers)),
            Err(reason) => return ControlFlow::Break(format!("no truth by persons: {reason}")),
        }
        ControlFlow::Continue(())
    }
}

/// Puts the rows of the truth in the place of FROM, WHERE and GROUP BY.
fn replace(select: &mut Select, question: &Question, answers: &[Answer]) -> Put {
    let grouped = !question.groups.is_empty();
    let mut put = Put { grouped, exprs: Vec::new() };
    for (number, group) in question.groups.iter().enumerate() {
        put.exprs.push((group.expr.clone(), format!("truth.g{number}")));
    }
    for (number, call) in question.calls.iter().enumerate() {
        let value = match answers {
            [only] if !grouped => only.values[number].clone(),
            _ => format!("truth.w{number}"),
        };
        put.exprs.push((Expr::Function(call.function.clone()), value));
    }
    for (number, item) in select.projection.iter_mut().enumerate() {
        // Equal numbers would be columns of one name; a column keeps its own.
        if let SelectItem::UnnamedExpr(expr) = item {
            let alias = match expr {
                Expr::Identifier(name) => name.clone(),
                Expr::CompoundIdentifier(parts) => parts[parts.len() - 1].clone(),
                _ => Ident::new(format!("truth_{number}")),
            };
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
    select.from = match grouped {
        true => rows(answers, question),
        false => Vec::new(),
    };
    select.selection = select.having.take();
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    let _ = VisitMut::visit(&mut select.projection, &mut put);
    let _ = VisitMut::visit(&mut select.selection, &mut put);
    put
}

/// The rows of an answer as a relation of the name `truth`.
fn rows(answers: &[Answer], question: &Question) -> Vec<TableWithJoins> {
    let named = |answer: &Answer| {
        let groups = answer.groups.iter().enumerate().map(|(number, cell)| format!("{cell} AS g{number}"));
        let values = answer.values.iter().enumerate().map(|(number, cell)| format!("{cell} AS w{number}"));
        format!("SELECT {}", groups.chain(values).collect::<Vec<_>>().join(", "))
    };
    let all = match answers {
        [] => {
            let none = |count: usize| vec!["NULL".to_owned(); count];
            let answer = Answer { groups: none(question.groups.len()), values: none(question.calls.len()) };
            format!("{} WHERE false", named(&answer))
        }
        answers => answers.iter().map(named).collect::<Vec<_>>().join(" UNION ALL "),
    };
    let sql = format!("SELECT 1 FROM ({all}) AS truth");
    let query = Parser::new(&GenericDialect {}).try_with_sql(&sql).unwrap().parse_query().unwrap();
    let SetExpr::Select(select) = *query.body else { panic!("{sql} is a SELECT") };
    select.from
}

/// The private calls of an expression, each once.
fn calls(node: &impl Visit) -> Vec<Function> {
    struct Calls(Vec<Function>);
    impl Visitor for Calls {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function) if private_name(function).is_some() && !self.0.contains(function) => {
                    self.0.push(function.clone());
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut calls = Calls(Vec::new());
    let _ = Visit::visit(node, &mut calls);
    calls.0
}

/// Puts columns and values in the place of expressions, the outer ones first.
struct Put {
    grouped: bool,
    exprs: Vec<(Expr, String)>,
}

impl VisitorMut for Put {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some((_, value)) = self.exprs.iter().find(|(known, _)| known == expr) {
            *expr = expression(value);
        }
        ControlFlow::Continue(())
    }
}
