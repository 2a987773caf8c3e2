//! Many small questions at once: throughput and latencies of one answering server.
//!
//! `cargo bench --bench load` asks 10 questions on each of 16 sessions, 10,000 rows on either side;
//! `cargo bench --bench load -- 16:10:10000` says so in numbers: SESSIONS:QUESTIONS:ROWS. The answering party is
//! `datafusion-psi serve`, the asking one this process; each has half of the machine's cores for its curve work. Every
//! question is a whole private run, charged in the answering party's ledger on disk before it begins.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints its table")]

#[allow(dead_code, reason = "shared with another bench")]
mod parties;

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::Int64Array;
use datafusion::prelude::SessionContext;
use datafusion_psi::{Asker, Budgets, Party, register_all, register_tables};
use tokio::task::JoinSet;

use parties::{Failure, Server, Tables, Usage, half_the_cores, write_parties};

fn main() -> Result<(), Failure> {
    let named = std::env::args().skip(1).find(|arg| arg.contains(':')).unwrap_or_else(|| "16:10:10000".to_owned());
    let numbers = named.split(':').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let [sessions, questions, rows] = numbers[..] else { return Err("SESSIONS:QUESTIONS:ROWS".into()) };
    let tables = Tables { ids: 1, asking: rows as i64, answering: rows as i64 };
    let folder = tempfile::tempdir()?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let queries = u32::try_from(sessions * (questions + 1))?;
    write_parties(folder.path(), tables, port, queries)?;
    let threads = half_the_cores();
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let server = Server::start(&folder.path().join("answering.toml"), threads)?;
    let party = Arc::new(Party::load(folder.path().join("asking.toml"))?);
    let asker = Arc::new(Asker::new(Arc::clone(&party), Budgets::in_memory(&party))?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (wall, mut latencies) = runtime.block_on(async {
        // One question before the clock starts: connections, the prepared table.
        session(&asker, &party, tables, 1).await?;
        let before = [Usage::of(std::process::id())?, Usage::of(server.pid())?];
        let began = Instant::now();
        let mut all = JoinSet::new();
        for _ in 0..sessions {
            let (asker, party) = (Arc::clone(&asker), Arc::clone(&party));
            all.spawn(async move { session(&asker, &party, tables, questions).await });
        }
        let mut latencies: Vec<f64> = Vec::with_capacity(sessions * questions);
        while let Some(done) = all.join_next().await {
            latencies.extend(done??);
        }
        let wall = began.elapsed().as_secs_f64();
        let cpu = [std::process::id(), server.pid()].map(|pid| Usage::of(pid).map_or(0.0, |usage| usage.cpu_seconds));
        let per_question = |side: usize| 1e3 * (cpu[side] - before[side].cpu_seconds) / latencies.len() as f64;
        println!("CPU per question: {:.0} ms asking, {:.0} ms answering", per_question(0), per_question(1));
        Ok::<_, Failure>((wall, latencies))
    })?;
    latencies.sort_by(f64::total_cmp);
    let quantile = |q: f64| latencies[((latencies.len() - 1) as f64 * q).round() as usize];
    println!("| sessions | questions | rows each | questions per s | p50 s | p90 s | p99 s | peak MiB answering |");
    println!("|---|---|---|---|---|---|---|---|");
    println!(
        "| {sessions} | {} | {rows} | {:.1} | {:.2} | {:.2} | {:.2} | {} |",
        latencies.len(),
        latencies.len() as f64 / wall,
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        Usage::of(server.pid())?.peak_mib
    );
    drop(server);
    fs::remove_dir_all(folder.path())?;
    Ok(())
}

/// One analyst's session: its questions one after the other, each answer checked; the seconds that each took.
async fn session(asker: &Arc<Asker>, party: &Party, tables: Tables, questions: usize) -> Result<Vec<f64>, Failure> {
    let mut ctx = SessionContext::new();
    register_all(&mut ctx, Arc::clone(asker))?;
    register_tables(&ctx, party).await?;
    let mut latencies = Vec::with_capacity(questions);
    for _ in 0..questions {
        let began = Instant::now();
        let batches = ctx.sql(&tables.sql()).await?.collect().await?;
        latencies.push(began.elapsed().as_secs_f64());
        let total = batches[0].column(0).as_any().downcast_ref::<Int64Array>().ok_or("a sum is a bigint")?.value(0);
        if total != tables.total() {
            return Err(format!("the sum is {total}, the truth {}", tables.total()).into());
        }
    }
    Ok(latencies)
}
