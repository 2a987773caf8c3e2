//! The attacks of `datafusion-psi attack` through two real servers: what an attacker sees there is what the self-test draws.
//!
//! Goal: the statistics over thousands of periods, which are computed in the clear, are about the system that runs. Method: ten
//! runs of each attack over loopback; every size must be the truth plus 0 ..= τ, where the self-test draws it from, and every
//! answer the truth plus the noise that the policy says; nothing else may differ between neighbouring tables or filters.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::any::Any;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::Int64Array;
use datafusion::error::Result;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use datafusion_psi::dp::{OutputBudget, Ratio};
use datafusion_psi::sql::{PrivateQueryExec, RunReport};
use datafusion_psi::{Asker, Budgets, Party, peer_server, register_all, register_tables};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const RUNS: u64 = 10;

/// The shop's people, but for the one who is in or out.
const PEOPLE: u64 = 40;
/// Those of them whom the asker knows.
const KNOWN: u64 = 30;
/// Whoever is attacked.
const TARGET: &str = "target@example.org";
/// The row that stands in the target's place where the target is out, so that both tables are as long.
const NOBODY: &str = "nobody@example.org";
/// The target's number in filters.
const TARGET_PLACE: u64 = 500;

const COUNT_ALL: &str = "SELECT PRIVATE_INTERSECT_COUNT(*) AS n FROM known k JOIN shop.people p ON k.email = p.email";

/// The privacy of a share.
#[derive(Debug, Clone, Copy)]
struct Terms {
    queries: u64,
    sizes: &'static str,
    outputs: &'static str,
}

const PRIVATE: Terms = Terms { queries: RUNS, sizes: "{ epsilon = 8.0 }", outputs: "{ epsilon = 4.0 }" };
const EXACT: Terms = Terms { sizes: "{ exact = true }", outputs: "{ noise = \"none\" }", ..PRIVATE };

/// A shop that serves, and a session of the one who asks it.
struct Pair {
    _folder: tempfile::TempDir,
    context: SessionContext,
    /// Dropped, it ends the server.
    _server: JoinSet<()>,
}

/// What the asker sees of one query.
#[derive(Debug)]
struct Seen {
    count: i64,
    sizes: Vec<u64>,
    dummies: u64,
    announced: u64,
}

fn write(folder: &Path, file: &str, header: &str, rows: impl Iterator<Item = String>) {
    let lines: Vec<String> = std::iter::once(header.to_owned()).chain(rows).collect();
    std::fs::write(folder.join(file), lines.join("\n") + "\n").unwrap();
}

fn person(number: u64) -> String {
    format!("person{number}@example.org")
}

impl Pair {
    async fn open(present: bool, terms: Terms) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let one = if present { TARGET } else { NOBODY };
        // person100 has no e-mail address in common with the asker, but the telephone number of the asker's target entry.
        let last = [format!("{one},+12125559999,{TARGET_PLACE}"), format!("{},+12125551100,100", person(100))];
        let people = (0..PEOPLE).map(|n| format!("{},+1212555{:04},{n}", person(n), 2000 + n)).chain(last);
        write(root, "people.csv", "email,phone,place", people);
        let known = (0..KNOWN).map(|n| format!("{},,{n}", person(n)));
        let strangers = (0..10).map(|n| format!("stranger{n}@example.org,,{}", 200 + n));
        let target = [format!("{TARGET},+12125551100,{TARGET_PLACE}")];
        write(root, "known.csv", "email,phone,place", known.chain(strangers).chain(target));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shop = format!(
            r#"
[party]
name = "shop"

[server]
listen = "127.0.0.1:{port}"
plaintext = true

[[table]]
name = "people"
location = "people.csv"

[[peer]]
name = "asker"
address = "grpc://127.0.0.1:1"
plaintext = true

[[share]]
table = "people"
with = ["asker"]
identifiers = {{ email = "email/1", phone = "phone/1:US" }}
filter_on = ["place"]
minimum_matched = 0
filtered_rows = "hide"
[share.budget]
population = "shoppers"
queries = {}
sizes = {}
outputs = {}
"#,
            terms.queries, terms.sizes, terms.outputs
        );
        let asker = format!(
            r#"
[party]
name = "asker"

[[table]]
name = "known"
location = "known.csv"

[[peer]]
name = "shop"
address = "grpc://127.0.0.1:{port}"
plaintext = true

[[ask]]
of = ["shop"]
population = "known"
rows = "reveal"
identifiers = 2
[ask.budget]
queries = 100
sizes = {{ exact = true }}
"#
        );
        let shop = Arc::new(Party::parse(&shop, root.join("shop.toml")).unwrap());
        let asker = Arc::new(Party::parse(&asker, root.join("asker.toml")).unwrap());
        let server = peer_server(&shop, Budgets::in_memory(&shop)).unwrap();
        let mut servers = JoinSet::new();
        servers.spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });
        let mut context = SessionContext::new();
        register_tables(&context, &asker).await.unwrap();
        let budgets = Budgets::in_memory(&asker);
        register_all(&mut context, Arc::new(Asker::new(asker, budgets).unwrap())).unwrap();
        Pair { _folder: folder, context, _server: servers }
    }

    async fn try_ask(&self, sql: &str) -> Result<Seen> {
        let plan = self.context.sql(sql).await?.create_physical_plan().await?;
        let batches = collect(Arc::clone(&plan), self.context.task_ctx()).await?;
        let count = batches[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0);
        let outcome = report(&plan).unwrap().outcome.unwrap();
        Ok(Seen {
            count,
            sizes: outcome.sizes.into_iter().flat_map(|(_, sizes)| sizes).collect(),
            dummies: outcome.dummies,
            announced: outcome.persons_there,
        })
    }

    async fn ask(&self, sql: &str) -> Seen {
        self.try_ask(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

fn report(plan: &Arc<dyn ExecutionPlan>) -> Option<RunReport> {
    let node: &dyn Any = plan.as_ref();
    match node.downcast_ref::<PrivateQueryExec>() {
        Some(exec) => exec.report(),
        None => plan.children().into_iter().find_map(report),
    }
}

impl Seen {
    /// Every size is the truth plus what the dummies may add, and the answer the truth plus what its noise may.
    fn check(&self, sizes: &[u64], terms: Terms, what: &str) {
        assert_eq!(self.sizes.len(), sizes.len(), "{what}: {self:?}");
        for (seen, truth) in self.sizes.iter().zip(sizes) {
            assert!(
                (*truth..=truth + self.dummies).contains(seen),
                "{what}: {truth} plus 0 to {}: {self:?}",
                self.dummies
            );
        }
        let truth = sizes.iter().sum::<u64>() as i64;
        assert!(self.count.abs_diff(truth) <= noise_tail(terms), "{what}: {truth}: {self:?}");
        assert_eq!(self.dummies == 0, terms.sizes == EXACT.sizes, "{what}: {self:?}");
        // The table's length, whoever is in it and whatever the filter.
        assert_eq!(self.announced, PEOPLE + 2, "{what}: {self:?}");
    }
}

/// What the noise of a COUNT(*) exceeds with a probability of at most 2^-64; 0 where answers are exact.
fn noise_tail(terms: Terms) -> u64 {
    if terms.outputs == EXACT.outputs {
        return 0;
    }
    let budget = OutputBudget::Laplace { epsilon: Ratio::from_decimal("4").unwrap() };
    budget.per_query(terms.queries).unwrap().word_noise(1, 1).tail() as u64
}

fn different<T: Ord>(values: impl Iterator<Item = T>) -> usize {
    values.collect::<BTreeSet<T>>().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_all_but_one_and_repeats_a_question_sees_fresh_noise_and_then_a_refusal() {
    for present in [true, false] {
        let pair = Pair::open(present, PRIVATE).await;
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let seen = pair.ask(COUNT_ALL).await;
            seen.check(&[KNOWN + u64::from(present)], PRIVATE, "repeated");
            runs.push(seen);
        }
        // All equal by chance: less than once in a million runs of this test.
        assert!(different(runs.iter().map(|seen| &seen.sizes)) > 1, "{runs:?}");
        assert!(different(runs.iter().map(|seen| seen.count)) > 1, "{runs:?}");
        let refused = pair.try_ask(COUNT_ALL).await.unwrap_err().to_string();
        assert!(refused.contains("used up"), "{refused}");
        // Nor with other words, or about others.
        let other = format!("{COUNT_ALL} WHERE k.place < 10 AND p.place <> 3");
        let refused = pair.try_ask(&other).await.unwrap_err().to_string();
        assert!(refused.contains("used up"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_dummies_and_noise_one_question_finds_the_target() {
    // The test of the test above: with exact terms the same question gives the secret away, every time.
    for present in [true, false] {
        let pair = Pair::open(present, EXACT).await;
        for _ in 0..RUNS {
            let seen = pair.ask(COUNT_ALL).await;
            seen.check(&[KNOWN + u64::from(present)], EXACT, "exact");
            assert_eq!(seen.sizes, [KNOWN + u64::from(present)]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_the_askers_making_moves_every_size_of_a_query_by_one() {
    // The asker's entry has the target's e-mail address and person100's telephone number: it matches by the first if it can.
    let chain = "SELECT PRIVATE_INTERSECT_COUNT(*) AS n FROM known k JOIN shop.people p ON k.email = p.email OR k.phone = p.phone";
    for terms in [EXACT, PRIVATE] {
        for present in [true, false] {
            let pair = Pair::open(present, terms).await;
            for _ in 0..RUNS {
                let moved = [KNOWN + u64::from(present), u64::from(!present)];
                pair.ask(chain).await.check(&moved, terms, "chain");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_that_differ_in_one_person_announce_the_same_length_and_answer_with_noise_of_their_own() {
    let terms = Terms { queries: 2 * RUNS, ..PRIVATE };
    let pair = Pair::open(true, terms).await;
    let mut changes = Vec::new();
    for _ in 0..RUNS {
        let with = pair.ask(&format!("{COUNT_ALL} WHERE p.place <> 999")).await;
        with.check(&[KNOWN + 1], terms, "nobody left out");
        let without = pair.ask(&format!("{COUNT_ALL} WHERE p.place <> {TARGET_PLACE}")).await;
        without.check(&[KNOWN], terms, "one left out");
        assert_eq!((with.announced, with.dummies), (without.announced, without.dummies));
        changes.push((with.sizes[0] as i64 - without.sizes[0] as i64, with.count - without.count));
    }
    assert!(different(changes.iter().map(|change| change.0)) > 1, "{changes:?}");
    assert!(different(changes.iter().map(|change| change.1)) > 1, "{changes:?}");
    assert!(pair.try_ask(COUNT_ALL).await.is_err(), "both questions of a pair are charged");

    // Without protection the difference is the person.
    let pair = Pair::open(true, EXACT).await;
    for _ in 0..RUNS / 2 {
        let with = pair.ask(&format!("{COUNT_ALL} WHERE p.place <> 999")).await;
        let without = pair.ask(&format!("{COUNT_ALL} WHERE p.place <> {TARGET_PLACE}")).await;
        assert_eq!((with.count - without.count, with.sizes[0] - without.sizes[0]), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_halved_by_exact_sizes_and_by_noisy_ones_only_within_the_dummies() {
    // The asker's list from place 20 on: ten people who are in, then ten strangers.
    for terms in [EXACT, PRIVATE] {
        let pair = Pair::open(true, terms).await;
        let (mut low, mut high) = (20_u64, 209_u64);
        let mut asked = 0;
        while asked < RUNS {
            let middle = (low + high) / 2;
            let truth = (low..=middle).filter(|place| *place < KNOWN).count() as u64;
            let seen = pair.ask(&format!("{COUNT_ALL} WHERE k.place BETWEEN {low} AND {middle}")).await;
            seen.check(&[truth], terms, "half");
            asked += 1;
            // The half where the noisy size, less its expected dummies, says that there is nobody is left out.
            let estimate = seen.sizes[0] as f64 - seen.dummies as f64 / 2.0;
            if low >= high {
                continue;
            }
            if estimate >= 0.5 { high = middle } else { low = middle + 1 }
        }
        if terms.sizes == EXACT.sizes {
            assert_eq!((low, high), (20, 20), "exact sizes lead to a person who is in");
        }
        assert!(pair.try_ask(COUNT_ALL).await.is_err(), "ten questions are all");
    }
}
