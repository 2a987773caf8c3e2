//! Plans over two fake peers: what becomes which node, and what is refused with which words.

mod accepted;
mod groups;
mod refused;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionContext, col, lit};
use proptest::prelude::*;

use super::super::catalog::{PeerCatalog, PeerSchema, SharedTable};
use super::super::functions::{private_intersect_avg, private_intersect_count};
use super::super::query::{GroupColumn, PrivateOutput, PrivateQuery};
use super::super::register::register;
use crate::psi::{
    self, AggregateTerms, AskedWord, ClipTerms, FilteredRows, GroupTerms, IdentifierTerms, OutputsTerms, OwnValueTerms,
    ShareTerms, SizesTerms,
};

/// A peer that shares one table and is never asked twice for anything but its terms.
#[derive(Debug)]
struct FakePeer {
    name: &'static str,
    shared: Arc<SharedTable>,
}

#[async_trait]
impl PeerCatalog for FakePeer {
    fn name(&self) -> &str {
        self.name
    }

    async fn share(&self, table: &str) -> Result<Option<Arc<SharedTable>>, psi::Error> {
        Ok((table == self.shared.terms.table).then(|| Arc::clone(&self.shared)))
    }

    fn known_tables(&self) -> Vec<String> {
        vec![self.shared.terms.table.clone()]
    }
}

fn identifier(name: &str, columns: &[&str], normaliser: &str) -> IdentifierTerms {
    let columns = columns.iter().map(|column| column.to_string()).collect();
    IdentifierTerms { name: name.to_owned(), columns, normaliser: normaliser.to_owned() }
}

fn summed(column: &str, decimals: u8) -> AggregateTerms {
    let clip = Some(ClipTerms { min: "0".to_owned(), max: "500".to_owned() });
    AggregateTerms { column: column.to_owned(), clip, max_rows: 20, decimals, squares_max: Some("250000".to_owned()) }
}

fn purchases(table: &str, requester_values: bool) -> SharedTable {
    let clip = ClipTerms { min: "0".to_owned(), max: "100".to_owned() };
    SharedTable {
        schema: Arc::new(Schema::new(vec![
            Field::new("email", DataType::Utf8, true),
            Field::new("phone", DataType::Utf8View, true),
            Field::new("surname", DataType::Utf8, true),
            Field::new("born", DataType::Date32, true),
            Field::new("customer", DataType::Int64, true),
            Field::new("amount", DataType::Decimal128(10, 2), true),
            Field::new("days", DataType::Int32, true),
            Field::new("score", DataType::Float32, true),
            Field::new("basket", DataType::Utf8, true),
            Field::new("bought_at", DataType::Date32, true),
            Field::new("paid_at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new("category", DataType::Utf8, true),
        ])),
        terms: ShareTerms {
            table: table.to_owned(),
            identifiers: vec![
                identifier("email", &["email"], "email/1"),
                identifier("phone", &["phone"], "phone/1:US"),
                identifier("person", &["surname", "born"], "exact/1"),
                identifier("customer", &["customer"], "exact/1"),
            ],
            aggregates: vec![
                summed("amount", 2),
                summed("days", 0),
                summed("score", 4),
                AggregateTerms {
                    column: "basket".to_owned(),
                    clip: None,
                    max_rows: 20,
                    decimals: 0,
                    squares_max: None,
                },
            ],
            filter_on: ["bought_at", "paid_at", "category", "days"].map(str::to_owned).to_vec(),
            requester_values: requester_values.then_some(OwnValueTerms { clip, max_rows: 5 }),
            // What lets its peers group lets them sum values of their own as well.
            minimum_matched: if requester_values { 50 } else { 0 },
            filtered_rows: FilteredRows::Hide,
            sizes: SizesTerms::Exact { queries: 10 },
            outputs: OutputsTerms::Exact,
            group_by: if requester_values {
                let labels = |column: &str, labels: &[&str]| GroupTerms {
                    column: column.to_owned(),
                    labels: labels.iter().map(|label| (*label).to_owned()).collect(),
                };
                vec![labels("category", &["toys", "books"]), labels("days", &["1", "2", "3"])]
            } else {
                Vec::new()
            },
            max_labels: 1,
            max_parts: if requester_values { 20 } else { 1 },
            period: "forever".to_owned(),
            approval: false,
        },
    }
}

/// A local table that counts how often it is scanned, and has no rows.
#[derive(Debug)]
struct Counted {
    inner: MemTable,
    scans: Arc<AtomicUsize>,
}

#[async_trait]
impl TableProvider for Counted {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.scans.fetch_add(1, Ordering::SeqCst);
        self.inner.scan(state, projection, filters, limit).await
    }
}

struct World {
    ctx: SessionContext,
    scans: Arc<AtomicUsize>,
}

fn world() -> World {
    let ctx = SessionContext::new();
    let scans = Arc::new(AtomicUsize::new(0));
    let local = |name: &str, fields: Vec<Field>| {
        let schema = Arc::new(Schema::new(fields));
        let inner = MemTable::try_new(Arc::clone(&schema), vec![vec![RecordBatch::new_empty(schema)]]).unwrap();
        ctx.register_table(name, Arc::new(Counted { inner, scans: Arc::clone(&scans) })).unwrap();
    };
    local(
        "impressions",
        vec![
            Field::new("email", DataType::Utf8View, true),
            Field::new("phone", DataType::Utf8, true),
            Field::new("campaign", DataType::Utf8, true),
            Field::new("customer_id", DataType::Int64, true),
            Field::new("shown", DataType::Int64, true),
        ],
    );
    local(
        "customers",
        vec![
            Field::new("id", DataType::Int64, true),
            Field::new("email", DataType::Utf8, true),
            Field::new("email2", DataType::Utf8, true),
            Field::new("mobile", DataType::Utf8, true),
            Field::new("surname", DataType::Utf8, true),
            Field::new("born", DataType::Date32, true),
            Field::new("segment", DataType::Utf8, true),
            Field::new("spend", DataType::Decimal128(8, 2), true),
            Field::new("weight", DataType::Float64, true),
            Field::new("day", DataType::Date32, true),
        ],
    );
    let peers: Vec<Arc<dyn PeerCatalog>> = vec![
        Arc::new(FakePeer { name: "advertiser", shared: Arc::new(purchases("purchases", false)) }),
        Arc::new(FakePeer { name: "insurer", shared: Arc::new(purchases("stays", true)) }),
    ];
    register(&ctx, peers.into_iter().map(|peer| Arc::new(PeerSchema::new(peer))).collect()).unwrap();
    World { ctx, scans }
}

async fn analyzed(world: &World, sql: &str) -> Result<LogicalPlan> {
    let plan = world.ctx.sql(sql).await?.into_unoptimized_plan();
    let state = world.ctx.state();
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})
}

fn nodes(plan: &LogicalPlan) -> Vec<PrivateQuery> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Extension(extension) = node {
            let node: &dyn std::any::Any = extension.node.as_any();
            found.extend(node.downcast_ref::<PrivateQuery>().cloned());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    found
}

/// The one node of an accepted query, which optimizes as well and keeps what it is.
async fn accepted(world: &World, sql: &str) -> PrivateQuery {
    let plan = analyzed(world, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut found = nodes(&plan);
    assert_eq!(found.len(), 1, "{sql}");
    let optimized = world.ctx.state().optimize(&plan).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let kept = nodes(&optimized).pop().expect("the node survives the optimizer");
    let query = found.pop().unwrap();
    assert_eq!(kept.question, query.question);
    let names = |query: &PrivateQuery| query.local.schema().field_names();
    assert_eq!(names(&kept).len(), names(&query).len());
    query
}

/// The text of the local columns that each term matches by.
fn terms(query: &PrivateQuery) -> String {
    let LogicalPlan::Projection(projection) = &query.local else { panic!("the local side ends in a projection") };
    let part = |column: &usize| projection.expr[*column].clone().unalias().to_string();
    let term = |term: &super::super::query::MatchTerm| {
        format!("{}={}", term.identifier, term.parts.iter().map(part).collect::<Vec<_>>().join("+"))
    };
    query.terms.iter().map(term).collect::<Vec<_>>().join(" | ")
}

fn own_values(query: &PrivateQuery) -> Vec<String> {
    let LogicalPlan::Projection(projection) = &query.local else { panic!("the local side ends in a projection") };
    query.own_values.iter().map(|column| projection.expr[*column].clone().unalias().to_string()).collect()
}

fn asked(query: &PrivateQuery) -> Vec<String> {
    query.question.aggregates.iter().map(AskedWord::to_string).collect()
}
