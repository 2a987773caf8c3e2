//! End to end: two parties, two processes, Parquet on disk, Flight on loopback; one table of figures.
//!
//! `cargo bench --bench end_to_end` runs 1e4, 1e5 and 1e6 persons by one identifier and 1e5 by three;
//! `cargo bench --bench end_to_end -- 1:10000 3:5000 1:1000:10000000` runs what it names: IDENTIFIERS:ROWS, or
//! IDENTIFIERS:ASKING:ANSWERING for tables of different lengths. Half of the smaller table's persons are in both.
//!
//! Each case has fresh processes: the answering party is `datafusion-psi serve`, the asking one this program, called anew.
//! Each has half of the machine's cores for its curve work, as two machines of that size would have. CPU seconds and peak
//! memory are the operating system's own figures for each process (`/proc`, so this bench is for Linux), scan and
//! preparation of the Parquet files included. *Curve* is the share of all CPU time that the curve operations account
//! for: their number times their time per element, measured with one thread before the table. *Said* is what EXPLAIN
//! says of the same question: seconds, megabytes up and down. `DATAFUSION_PSI_BENCH_MEMORY_MB=75` before it gives the answering
//! party so much `memory_mb`; `DATAFUSION_PSI_BENCH_AHEAD_MB=1024` so much `blind_ahead_mb`. With `DATAFUSION_PSI_BENCH_PAUSE_SECONDS=10` the
//! question is put twice, so far apart, and the figures are those of the second time.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints its table")]

mod parties;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, LargeBinaryArray};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use datafusion_psi::crypto::{ChaCha20Rng, HashDomain, SecretScalar, Source, evaluate, hash_and_blind};
use datafusion_psi::transport::{Observer, PhaseReport};
use datafusion_psi::{Asker, Budgets, Party, register_all, register_tables};
use rand_core::SeedableRng;

use parties::{Failure, Server, Tables, Usage, half_the_cores, write_parties};

/// The environment variable that makes this program the asking party of one case.
const CASE: &str = "DATAFUSION_PSI_BENCH_CASE";
/// How long that party waits before it puts its question for the second time.
const PAUSE: &str = "DATAFUSION_PSI_BENCH_PAUSE_SECONDS";
/// Microseconds of blinding and evaluating, for that party.
const CURVE: &str = "DATAFUSION_PSI_BENCH_CURVE";

fn main() -> Result<(), Failure> {
    if let Ok(case) = std::env::var(CASE) {
        let (case, folder) = case.split_once('@').ok_or("a case is CASE@FOLDER")?;
        return ask(read_case(case)?, Path::new(folder));
    }
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| arg.contains(':')).collect();
    let cases = if named.is_empty() {
        ["1:10000", "1:100000", "1:1000000", "3:100000"].map(str::to_owned).to_vec()
    } else {
        named
    };
    let (blind, evaluate) = curve_micros();
    println!("curve, one thread: hash, multiply, encode {blind:.2} µs; decode, multiply, encode {evaluate:.2} µs\n");
    println!(
        "| ids | asking | answering | matched | wall s | said s | CPU s asking | CPU s answering | MB up | said | MB down | said | peak MiB asking | peak MiB answering | curve |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for case in cases {
        let tables = read_case(&case)?;
        let folder = std::env::temp_dir().join(format!(
            "datafusion-psi-bench-{}-{}",
            std::process::id(),
            case.replace(':', "-")
        ));
        fs::create_dir_all(&folder)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // Written here, so that neither party's figures hold the making of its data.
        write_parties(&folder, tables, port, 10)?;
        let output = Command::new(std::env::current_exe()?)
            .env(CASE, format!("{case}@{}", folder.display()))
            .env(CURVE, format!("{blind}:{evaluate}"))
            .env("RAYON_NUM_THREADS", half_the_cores().to_string())
            .stderr(Stdio::inherit())
            .output()?;
        fs::remove_dir_all(&folder)?;
        if !output.status.success() {
            return Err(format!("case {case} failed").into());
        }
        print!("{}", String::from_utf8(output.stdout)?);
    }
    Ok(())
}

/// Microseconds per element of the two kinds of curve work, on one thread: the best of five.
fn curve_micros() -> (f64, f64) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    pool.install(|| {
        let rows = 4096;
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let scalar = SecretScalar::random(&mut rng);
        let domain = HashDomain::new(0, b"bench");
        let ids: LargeBinaryArray = (0..rows).map(|i| Some(format!("person-{i}@example.org"))).collect();
        let mut best = (f64::MAX, f64::MAX);
        for _ in 0..5 {
            let began = Instant::now();
            let column = hash_and_blind(&domain, rows, |i| Source::of(&ids, i), &scalar, &mut rng);
            best.0 = best.0.min(began.elapsed().as_secs_f64() * 1e6 / rows as f64);
            let began = Instant::now();
            let evaluated = evaluate(&column, &scalar).expect("our own elements are valid");
            best.1 = best.1.min(began.elapsed().as_secs_f64() * 1e6 / rows as f64);
            std::hint::black_box(evaluated);
        }
        best
    })
}

/// Bytes each way, from the reports of all phases.
#[derive(Default)]
struct Bytes(Mutex<(u64, u64)>);

impl Observer for Bytes {
    fn phase_closed(&self, report: &PhaseReport) {
        let mut bytes = self.0.lock().expect("nobody panics while adding");
        bytes.0 += report.bytes_up;
        bytes.1 += report.bytes_down;
    }
}

/// IDENTIFIERS:ROWS or IDENTIFIERS:ASKING:ANSWERING.
fn read_case(case: &str) -> Result<Tables, Failure> {
    let numbers = case.split(':').map(str::parse).collect::<Result<Vec<i64>, _>>()?;
    match numbers[..] {
        [ids, rows] => Ok(Tables { ids: ids as usize, asking: rows, answering: rows }),
        [ids, asking, answering] => Ok(Tables { ids: ids as usize, asking, answering }),
        _ => Err("a case is IDENTIFIERS:ROWS or IDENTIFIERS:ASKING:ANSWERING".into()),
    }
}

/// One case as the asking party, whose files are in `folder`.
fn ask(tables: Tables, folder: &Path) -> Result<(), Failure> {
    let server = Server::start(&folder.join("answering.toml"), half_the_cores())?;

    let party = Arc::new(Party::load(folder.join("asking.toml"))?);
    let bytes = Arc::new(Bytes::default());
    let asker = Asker::new(Arc::clone(&party), Budgets::in_memory(&party))?.with_observer(Arc::clone(&bytes) as _);
    let sql = tables.sql();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (wall, total, explained, before) = runtime.block_on(async {
        let mut ctx = SessionContext::new();
        register_all(&mut ctx, Arc::new(asker))?;
        register_tables(&ctx, &party).await?;
        let mut before = (0.0, 0.0);
        if let Ok(pause) = std::env::var(PAUSE) {
            ctx.sql(&sql).await?.collect().await?;
            tokio::time::sleep(Duration::from_secs_f64(pause.parse()?)).await;
            *bytes.0.lock().expect("nobody panics while adding") = (0, 0);
            before = (Usage::of(std::process::id())?.cpu_seconds, Usage::of(server.pid())?.cpu_seconds);
        }
        let began = Instant::now();
        let batches = ctx.sql(&sql).await?.collect().await?;
        let wall = began.elapsed().as_secs_f64();
        let column =
            batches[0].column(0).as_any().downcast_ref::<Int64Array>().ok_or("a sum of integers is a bigint")?;
        let explained = ctx.sql(&format!("EXPLAIN {sql}")).await?.collect().await?;
        Ok::<_, Failure>((wall, column.value(0), pretty_format_batches(&explained)?.to_string(), before))
    })?;
    if total != tables.total() {
        return Err(format!("the sum is {total}, the truth {}", tables.total()).into());
    }
    let (asking, answering) = (Usage::of(std::process::id())?, Usage::of(server.pid())?);
    let (up, down) = *bytes.0.lock().expect("nobody panics while adding");
    let said = Said::read(&explained).ok_or("EXPLAIN says no costs")?;
    println!(
        "| {} | {} | {} | {} | {wall:.2} | {} | {:.1} | {:.1} | {:.1} | {} | {:.1} | {} | {} | {} | {:.0} % |",
        tables.ids,
        tables.asking,
        tables.answering,
        tables.matched(),
        said.time,
        asking.cpu_seconds - before.0,
        answering.cpu_seconds - before.1,
        up as f64 / 1e6,
        said.up,
        down as f64 / 1e6,
        said.down,
        asking.peak_mib,
        answering.peak_mib,
        100.0 * curve_seconds(tables)? / (asking.cpu_seconds + answering.cpu_seconds - before.0 - before.1)
    );
    Ok(())
}

/// What EXPLAIN says that the question costs.
struct Said {
    time: String,
    up: String,
    down: String,
}

impl Said {
    /// Reads `costs:    about 3.2 s on 1 core, 48.1 MB up, 52.0 MB down`.
    fn read(explained: &str) -> Option<Self> {
        let line = explained.lines().find_map(|line| line.split_once("costs:"))?.1;
        let (time, rest) = line.split_once("about ")?.1.split_once(" on ")?;
        let mut bytes = rest.split(", ").skip(1);
        let mut next = |suffix: &str| Some(bytes.next()?.split_once(suffix)?.0.to_owned());
        Some(Said { time: time.to_owned(), up: next(" up")?, down: next(" down")? })
    }
}

/// CPU seconds that both parties' curve operations take together. All persons match in column 1.
fn curve_seconds(tables: Tables) -> Result<f64, Failure> {
    let micros = std::env::var(CURVE)?;
    let (blind, evaluate) = micros.split_once(':').ok_or("two figures")?;
    let (blind, evaluate): (f64, f64) = (blind.parse()?, evaluate.parse()?);
    let (ids, both) = (tables.ids as f64, (tables.asking + tables.answering) as f64);
    let unmatched = both - 2.0 * tables.matched() as f64;
    Ok((both * (ids * blind + evaluate) + (ids - 1.0) * 2.0 * unmatched * evaluate) / 1e6)
}
