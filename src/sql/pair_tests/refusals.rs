//! What fails, in which words, and that nothing is charged or sent before it may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::kit::*;
use crate::policy::Budgets;
use crate::psi::{Error, Fault, Requester};
use crate::sql::{Asker, Keys, PeerLink, install_psi_planner, private_query_error, register};
use crate::transport::{Deadlines, Observer, PeerIdentity, SharedTable, TableSource};

const COUNT: &str =
    "SELECT PRIVATE_INTERSECT_COUNT(*) FROM impressions i JOIN advertiser.purchases p ON i.email = p.email";

/// A peer that publishes what a real one would, and then does as told.
#[derive(Debug)]
struct Fake {
    shares: Vec<SharedTable>,
    asked: AtomicU64,
    left: Arc<AtomicBool>,
    stays_silent: bool,
}

#[async_trait]
impl PeerLink for Fake {
    fn name(&self) -> &str {
        "advertiser"
    }

    async fn shares(&self) -> Result<Vec<SharedTable>, Error> {
        Ok(self.shares.clone())
    }

    async fn run(&self, session: Requester, _: &Deadlines, _: Arc<dyn Observer>) -> Result<Requester, Error> {
        /// Notes that the run was dropped.
        struct Left(Arc<AtomicBool>);
        impl Drop for Left {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.stays_silent {
            let _left = Left(Arc::clone(&self.left));
            std::future::pending::<()>().await;
        }
        drop(session);
        Err(Error::Reported { peer: "advertiser".to_owned(), fault: Fault::Refused, reason: "not today".to_owned() })
    }
}

/// A session whose peer is a fake with the real one's shares.
async fn faked(pair: &Pair, stays_silent: bool, context: SessionContext) -> (SessionContext, Arc<Fake>, Arc<Asker>) {
    let shares = pair.source.shares(&PeerIdentity { name: "publisher".to_owned(), certificate: None }).await.unwrap();
    let fake = Arc::new(Fake { shares, asked: AtomicU64::new(0), left: Arc::default(), stays_silent });
    let party = Arc::new(publisher(pair.folder.path(), OPEN_ASK, 1));
    let links = vec![Arc::clone(&fake) as Arc<dyn PeerLink>];
    let asker =
        Arc::new(Asker::with_links(Arc::clone(&party), Budgets::in_memory(&party), Keys::of(&party).unwrap(), links));
    let path = pair.folder.path().join("impressions.parquet");
    context.register_parquet("impressions", path.to_str().unwrap(), Default::default()).await.unwrap();
    register(&context, asker.schemas()).unwrap();
    install_psi_planner(&context, Arc::clone(&asker));
    (context, fake, asker)
}

fn spent(asker: &Asker) -> (u64, u64) {
    let balances = asker.budgets().balances().unwrap();
    (balances.iter().map(|balance| balance.open).sum(), balances.iter().map(|balance| balance.spent).sum())
}

#[tokio::test]
async fn a_local_side_that_fails_never_touches_the_peer_nor_the_budget() {
    let pair = Pair::open().await;
    let (context, fake, asker) = faked(&pair, false, SessionContext::new()).await;
    let failing = COUNT.replace("impressions i", "(SELECT email, CAST(surname AS INT) AS n FROM impressions) i")
        + " WHERE i.n > 0";
    let error = context.sql(&failing).await.unwrap().collect().await.unwrap_err().to_string();
    assert!(error.contains("nothing was sent") && error.contains("name"), "{error}");
    assert_eq!((fake.asked.load(Ordering::SeqCst), spent(&asker)), (0, (0, 0)));
}

#[tokio::test]
async fn a_local_side_too_large_for_the_engines_memory_never_touches_the_peer() {
    let pair = Pair::open().await;
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(1, 1.0).build_arc().unwrap();
    let (context, fake, _) =
        faked(&pair, false, SessionContext::new_with_config_rt(SessionConfig::new(), runtime)).await;
    let error = context.sql(COUNT).await.unwrap().collect().await.unwrap_err().to_string();
    assert!(error.contains("PrivateQuery[advertiser.purchases]"), "{error}");
    assert_eq!(fake.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_the_peer_says_reaches_the_analyst_with_its_fault() {
    let pair = Pair::open().await;
    let (context, fake, _) = faked(&pair, false, SessionContext::new()).await;
    let error = context.sql(COUNT).await.unwrap().collect().await.unwrap_err();
    assert!(error.to_string().contains("not today"), "{error}");
    assert_eq!(private_query_error(&error).map(Error::fault), Some(Fault::Refused));
    assert_eq!(fake.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn dropping_the_stream_ends_the_run() {
    let pair = Pair::open().await;
    let (context, fake, asker) = faked(&pair, true, SessionContext::new()).await;
    let frame = context.sql(COUNT).await.unwrap();
    let run = tokio::time::timeout(Duration::from_secs(5), frame.collect());
    let watch = async {
        while fake.asked.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = run => panic!("a silent peer gives no answer"),
        () = watch => {}
    }
    tokio::time::timeout(Duration::from_secs(5), async {
        while !fake.left.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the run ends with its stream");
    assert_eq!(spent(&asker), (0, 1), "what was charged stays charged");
}

#[tokio::test]
async fn a_cancelled_query_frees_the_server_and_the_next_one_is_answered() {
    let pair = Pair::open().await;
    // Early ones before the charge, late ones within the session.
    for millis in [5, 10, 20, 30, 45, 60] {
        let run = pair.run(COUNT);
        let _ = tokio::time::timeout(Duration::from_millis(millis), run).await;
    }
    assert_eq!(pair.row(COUNT).await, "7");
    // Every charge has an end in both books, and nothing is held for a session that is over.
    let open = |books: &Budgets| books.sessions().unwrap().iter().filter(|row| row.ended.is_none()).count();
    let left = || (open(&pair.answering), open(pair.asker.budgets()), pair.source.memory_held());
    for _ in 0..500 {
        if left() == (0, 0, 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(left(), (0, 0, 0));
}

#[tokio::test]
async fn explain_and_describe_run_nothing_and_charge_nothing() {
    let pair = Pair::open().await;
    let (context, fake, asker) = faked(&pair, false, SessionContext::new()).await;
    for statement in [
        format!("EXPLAIN {COUNT}"),
        format!("EXPLAIN VERBOSE {COUNT}"),
        format!("EXPLAIN FORMAT TREE {COUNT}"),
        "DESCRIBE advertiser.purchases".to_owned(),
    ] {
        context.sql(&statement).await.unwrap().collect().await.unwrap();
    }
    assert_eq!((fake.asked.load(Ordering::SeqCst), spent(&asker)), (0, (0, 0)));
}

#[tokio::test]
async fn each_sides_policy_refuses_in_its_own_words() {
    // This side: no [[ask]] for the peer, or for fewer identifiers.
    let pair = Pair::open().await;
    let text = format!("{}identifiers = 1\n{}", "", OPEN_ASK);
    let narrow = Pair::new(PURCHASES, IMPRESSIONS, OPEN_SHARE, &text).await;
    let error = narrow.error(&format!("{COUNT} OR i.phone = p.phone")).await;
    assert!(error.contains("own policy") && error.contains("identifiers = 2"), "{error}");
    assert_eq!((narrow.charged(), narrow.paid()), (0, 0));
    assert!(
        narrow.row(&format!("EXPLAIN {COUNT} OR i.phone = p.phone")).await.contains("refused:"),
        "EXPLAIN says so before"
    );
    // The peer's: a column that is not shared does not even exist here.
    let error = pair.error(&format!("{COUNT} WHERE p.secret = 1")).await;
    assert!(error.contains("secret"), "{error}");
    let error = pair.error(&format!("{COUNT} WHERE p.weight > 1")).await;
    assert!(error.contains("weight"), "{error}");
    assert_eq!((pair.charged(), pair.paid()), (0, 0));
}

#[tokio::test]
async fn a_used_up_budget_ends_the_answers_on_either_side() {
    let few = OPEN_SHARE.replace("queries = 100", "queries = 1");
    let pair = Pair::new(PURCHASES, IMPRESSIONS, &few, OPEN_ASK).await;
    assert_eq!(pair.row(COUNT).await, "7");
    let error = pair.error(COUNT).await;
    assert!(error.contains("1 of 1 queries") && error.contains("advertiser"), "{error}");
    assert_eq!((pair.charged(), pair.paid()), (1, 2), "asking was paid: it left before the refusal came");
    let few = OPEN_ASK.replace("queries = 100", "queries = 1");
    let pair = Pair::new(PURCHASES, IMPRESSIONS, OPEN_SHARE, &few).await;
    assert_eq!(pair.row(COUNT).await, "7");
    let error = pair.error(COUNT).await;
    assert!(error.contains("1 of 1 queries"), "{error}");
    assert_eq!((pair.charged(), pair.paid()), (1, 1), "the peer did not hear of the second");
}

#[tokio::test]
async fn a_minimum_that_is_not_reached_gives_no_answer() {
    let share = OPEN_SHARE.replace("minimum_matched = 0", "minimum_matched = 8");
    let pair = Pair::new(PURCHASES, IMPRESSIONS, &share, OPEN_ASK).await;
    let error = pair.error(COUNT).await;
    assert!(error.contains("advertiser") && error.contains('8'), "{error}");
    assert_eq!(pair.charged(), 1, "the charge stays");
}

#[tokio::test]
async fn a_peer_that_is_down_or_unknown_is_said_to_be() {
    let pair = Pair::open().await;
    let party = Arc::new(publisher(pair.folder.path(), OPEN_ASK, 1));
    let asker = Arc::new(Asker::new(Arc::clone(&party), Budgets::in_memory(&party)).unwrap());
    let context = session(&asker).await;
    let error = context.sql(COUNT).await.unwrap_err().to_string();
    assert!(error.contains("advertiser") && error.contains("cannot be reached"), "{error}");
    let error = pair.error(&COUNT.replace("advertiser.purchases", "advertiser.returns")).await;
    assert!(error.contains("returns"), "{error}");
    let error = pair.error(&COUNT.replace("advertiser.purchases", "stranger.purchases")).await;
    assert!(error.contains("stranger"), "{error}");
}
