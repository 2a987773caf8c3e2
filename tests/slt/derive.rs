//! One SELECT with private functions, read.
//!
//! The plain form only: FROM names the peer's table and relations of one's own, inner joins; ON and WHERE are ANDs of
//! conditions on one side and of one list of equations joined by OR; GROUP BY names columns, expressions of one's own,
//! aliases or places. What is written another way has no truth by persons, and the file then says what the truth is.

use datafusion::arrow::datatypes::Schema;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    JoinConstraint, JoinOperator, Select, SelectItem, TableFactor, Value, Visit, Visitor, With,
};

use super::clear::Clear;

/// What a private function is about.
#[derive(Clone, Debug)]
pub(super) enum Argument {
    Persons,
    Theirs(String),
    Ours(String),
}

/// A private function: what of, and for which of the peer's rows.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) argument: Argument,
    pub(super) when: String,
}

/// An expression of GROUP BY.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) expr: Expr,
    /// The peer's column, if it is one.
    pub(super) theirs: Option<String>,
}

/// A SELECT, read.
pub(super) struct Question {
    pub(super) calls: Vec<Call>,
    pub(super) groups: Vec<Group>,
    /// The CTEs around.
    pub(super) with: String,
    /// The relation of one's own.
    pub(super) own_from: String,
    pub(super) own_where: String,
    pub(super) table: String,
    pub(super) alias: String,
    pub(super) filter: String,
    /// Per alternative, (own expression, column of the peer's table).
    pub(super) terms: Vec<Vec<(String, String)>>,
}

/// Which sides an expression reads.
struct Sides<'a> {
    alias: &'a str,
    theirs: &'a Schema,
    ours_read: bool,
    theirs_read: bool,
}

impl Visitor for Sides<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> std::ops::ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(parts) if parts[0].value == self.alias => self.theirs_read = true,
            Expr::Identifier(name) if self.theirs.field_with_name(&name.value).is_ok() => self.theirs_read = true,
            Expr::CompoundIdentifier(_) | Expr::Identifier(_) => self.ours_read = true,
            _ => {}
        }
        std::ops::ControlFlow::Continue(())
    }
}

fn split<'e>(expr: &'e Expr, by: &BinaryOperator, parts: &mut Vec<&'e Expr>) {
    match expr {
        Expr::Nested(inner) => split(inner, by, parts),
        Expr::BinaryOp { left, op, right } if op == by => {
            split(left, by, parts);
            split(right, by, parts);
        }
        other => parts.push(other),
    }
}

fn joined(parts: &[String], by: &str) -> String {
    match parts {
        [] => "TRUE".to_owned(),
        parts => parts.iter().map(|part| format!("({part})")).collect::<Vec<_>>().join(by),
    }
}

/// The expressions that GROUP BY means: places and aliases are those of the SELECT's items.
pub(super) fn grouped_by(select: &Select) -> Result<Vec<Expr>, String> {
    let GroupByExpr::Expressions(exprs, modifiers) = &select.group_by else { return Err("GROUP BY ALL".to_owned()) };
    if !modifiers.is_empty() {
        return Err("GROUP BY with modifiers".to_owned());
    }
    let item = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Ok(expr.clone()),
        other => Err(format!("GROUP BY {other}")),
    };
    let meant = exprs.iter().map(|expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(place, _) => item(&select.projection[place.parse::<usize>().map_err(|_| "a place")? - 1]),
            other => Err(format!("GROUP BY {other}")),
        },
        Expr::Identifier(name) => {
            let aliased = |item: &&SelectItem| matches!(item, SelectItem::ExprWithAlias { alias, .. } if alias == name);
            select.projection.iter().find(aliased).map_or(Ok(expr.clone()), item)
        }
        other => Ok(other.clone()),
    });
    meant.collect()
}

impl Question {
    /// Reads a SELECT; the reason why where it is not of the plain form.
    pub(super) fn read(clear: &Clear, select: &Select, with: &[&With], calls: &[Function]) -> Result<Self, String> {
        let mut factors = Vec::new();
        let mut conditions: Vec<&Expr> = select.selection.iter().collect();
        for from in &select.from {
            factors.push(&from.relation);
            for join in &from.joins {
                factors.push(&join.relation);
                match &join.join_operator {
                    JoinOperator::Join(JoinConstraint::On(on)) | JoinOperator::Inner(JoinConstraint::On(on)) => {
                        conditions.push(on);
                    }
                    JoinOperator::CrossJoin(_) => {}
                    other => return Err(format!("a join by {other:?}")),
                }
            }
        }
        let (mut table, mut own) = (None, Vec::new());
        for factor in factors {
            match factor {
                TableFactor::Table { name, alias, .. } if name.to_string().starts_with("advertiser.") => {
                    let known_as = alias.as_ref().map(|alias| alias.name.value.clone());
                    let name = name.to_string();
                    let bare = name.trim_start_matches("advertiser.").to_owned();
                    if table.replace((name, known_as.unwrap_or(bare))).is_some() {
                        return Err("two tables of peers".to_owned());
                    }
                }
                other if other.to_string().contains("advertiser.") => return Err(format!("FROM {other}")),
                other => own.push(other.to_string()),
            }
        }
        let (table, alias) = table.ok_or("no table of a peer")?;
        let theirs = clear.schema_of(&format!("SELECT * FROM {table}"))?;
        let sides = |expr: &Expr| {
            let mut sides = Sides { alias: &alias, theirs: &theirs, ours_read: false, theirs_read: false };
            let _ = Visit::visit(expr, &mut sides);
            (sides.ours_read, sides.theirs_read)
        };
        let (mut ours_pass, mut theirs_pass) = (Vec::new(), Vec::new());
        let mut terms: Vec<Vec<(String, String)>> = vec![Vec::new()];
        for condition in conditions {
            let mut conjuncts = Vec::new();
            split(condition, &BinaryOperator::And, &mut conjuncts);
            for conjunct in conjuncts {
                match sides(conjunct) {
                    (_, false) => ours_pass.push(conjunct.to_string()),
                    (false, true) => theirs_pass.push(conjunct.to_string()),
                    (true, true) => {
                        let mut alternatives = Vec::new();
                        split(conjunct, &BinaryOperator::Or, &mut alternatives);
                        let mut next = Vec::new();
                        for known in &terms {
                            for alternative in &alternatives {
                                let mut equations = Vec::new();
                                split(alternative, &BinaryOperator::And, &mut equations);
                                let mut term = known.clone();
                                for equation in equations {
                                    term.push(read_equation(equation, &sides)?);
                                }
                                next.push(term);
                            }
                        }
                        terms = next;
                    }
                }
            }
        }
        let calls = calls.iter().map(|call| read_call(call, &sides)).collect::<Result<_, String>>()?;
        let groups = grouped_by(select)?.into_iter().map(|expr| match (sides(&expr), &expr) {
            ((_, false), _) => Ok(Group { expr, theirs: None }),
            ((false, true), Expr::Identifier(name)) => {
                let theirs = Some(name.value.clone());
                Ok(Group { expr, theirs })
            }
            ((false, true), Expr::CompoundIdentifier(parts)) => {
                let theirs = Some(parts[parts.len() - 1].value.clone());
                Ok(Group { expr, theirs })
            }
            _ => Err(format!("GROUP BY {expr}")),
        });
        let groups = groups.collect::<Result<_, String>>()?;
        let ctes: Vec<String> = with.iter().flat_map(|with| &with.cte_tables).map(ToString::to_string).collect();
        Ok(Question {
            calls,
            groups,
            with: if ctes.is_empty() { String::new() } else { format!("WITH {} ", ctes.join(", ")) },
            own_from: own.join(" CROSS JOIN "),
            own_where: joined(&ours_pass, " AND "),
            table,
            alias,
            filter: joined(&theirs_pass, " AND "),
            terms,
        })
    }
}

fn read_equation(equation: &Expr, sides: &impl Fn(&Expr) -> (bool, bool)) -> Result<(String, String), String> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = equation else {
        return Err(format!("the term {equation}"));
    };
    let (ours, theirs) = match (sides(left), sides(right)) {
        ((true, false), (false, true)) => (left, right),
        ((false, true), (true, false)) => (right, left),
        _ => return Err(format!("the term {equation}")),
    };
    let column = match theirs.as_ref() {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(parts) => &parts[parts.len() - 1],
        _ => return Err(format!("the term {equation}")),
    };
    Ok((ours.to_string(), column.value.clone()))
}

fn read_call(call: &Function, sides: &impl Fn(&Expr) -> (bool, bool)) -> Result<Call, String> {
    let FunctionArguments::List(list) = &call.args else { return Err(call.to_string()) };
    let mut whens: Vec<String> = call.filter.iter().map(ToString::to_string).collect();
    let argument = match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => Argument::Persons,
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => match (sides(argument), argument) {
            ((false, false), _) => Argument::Persons,
            ((true, false), value) => Argument::Ours(value.to_string()),
            ((false, true), Expr::Identifier(name)) => Argument::Theirs(name.value.clone()),
            ((false, true), Expr::CompoundIdentifier(parts)) => Argument::Theirs(parts[parts.len() - 1].value.clone()),
            // CASE WHEN … THEN column END is a filter; `ELSE 0` adds nothing to a sum.
            ((false, true), Expr::Case { operand: None, conditions, .. }) => {
                let [CaseWhen { condition, result }] = conditions.as_slice() else { return Err(call.to_string()) };
                whens.push(condition.to_string());
                match result {
                    Expr::CompoundIdentifier(parts) => Argument::Theirs(parts[parts.len() - 1].value.clone()),
                    Expr::Value(_) => Argument::Persons,
                    _ => return Err(call.to_string()),
                }
            }
            _ => return Err(call.to_string()),
        },
        _ => return Err(call.to_string()),
    };
    Ok(Call { function: call.clone(), argument, when: joined(&whens, " AND ") })
}
