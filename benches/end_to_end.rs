//! End to end: two parties, two processes, Parquet on disk, Flight on loopback; one table of figures.
//!
//! `cargo bench --bench end_to_end` runs 1e4, 1e5 and 1e6 persons by one identifier and 1e5 by three;
//! `cargo bench --bench end_to_end -- 1:10000 3:5000` runs what it names (IDENTIFIERS:ROWS). Each case has fresh
//! processes: the answering party is `datafusion-psi serve`, the asking one this program, called anew. CPU seconds and
//! peak memory are the kernel's own figures for each process (`/proc`, so this bench is for Linux), scan and
//! preparation of the Parquet files included. *Curve* is the share of all CPU time that the curve operations account
//! for: their number times their time per element, measured with one thread before the table.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints its table")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, LargeBinaryArray, RecordBatch, StringArray};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::SessionContext;
use datafusion_psi::crypto::{HashDomain, SecretScalar, Source, evaluate, hash_and_blind};
use datafusion_psi::transport::{Observer, PhaseReport};
use datafusion_psi::{Asker, Budgets, Party, register_all, register_tables};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

type Failure = Box<dyn std::error::Error>;

/// The environment variable that makes this program the asking party of one case.
const CASE: &str = "DATAFUSION_PSI_BENCH_CASE";

fn main() -> Result<(), Failure> {
    if let Ok(case) = std::env::var(CASE) {
        return ask(&case);
    }
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| arg.contains(':')).collect();
    let cases = if named.is_empty() {
        ["1:10000", "1:100000", "1:1000000", "3:100000"].map(str::to_owned).to_vec()
    } else {
        named
    };
    let (blind, evaluate) = curve_micros();
    println!("curve, one thread: hash, multiply, encode {blind:.1} µs; decode, multiply, encode {evaluate:.1} µs\n");
    println!(
        "| ids | rows each | matched | wall s | CPU s asking | CPU s answering | MB up | MB down | peak MiB asking | peak MiB answering | curve |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for case in cases {
        let (ids, rows) = read_case(&case)?;
        let folder = std::env::temp_dir().join(format!("datafusion-psi-bench-{}-{ids}-{rows}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // Written here, so that neither party's figures hold the making of its data.
        write_party(&folder, ids, rows, port)?;
        let output = Command::new(std::env::current_exe()?)
            .env(CASE, format!("{case}:{}", folder.display()))
            .env("DATAFUSION_PSI_BENCH_CURVE", format!("{blind}:{evaluate}"))
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

/// IDENTIFIERS:ROWS.
fn read_case(case: &str) -> Result<(usize, i64), Failure> {
    let (ids, rows) = case.split_once(':').ok_or("a case is IDENTIFIERS:ROWS")?;
    Ok((ids.parse()?, rows.parse()?))
}

/// One case, IDENTIFIERS:ROWS:FOLDER, as the asking party.
fn ask(case: &str) -> Result<(), Failure> {
    let mut parts = case.splitn(3, ':');
    let (ids, rows) = (parts.next().ok_or("no identifiers")?.parse()?, parts.next().ok_or("no rows")?.parse()?);
    run(Path::new(parts.next().ok_or("no folder")?), ids, rows)
}

fn run(folder: &Path, ids: usize, rows: i64) -> Result<(), Failure> {
    let server = Server::start(&folder.join("answering.toml"))?;

    let party = Arc::new(Party::load(folder.join("asking.toml"))?);
    let bytes = Arc::new(Bytes::default());
    let asker = Asker::new(Arc::clone(&party), Budgets::in_memory(&party))?.with_observer(Arc::clone(&bytes) as _);
    let terms: Vec<String> = (0..ids).map(|k| format!("c.id{k} = p.id{k}")).collect();
    let sql = format!(
        "SELECT PRIVATE_INTERSECT_SUM(p.amount) AS total FROM customers c JOIN answering.purchases p ON {}",
        terms.join(" OR ")
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (wall, total) = runtime.block_on(async {
        let mut ctx = SessionContext::new();
        register_all(&mut ctx, Arc::new(asker))?;
        register_tables(&ctx, &party).await?;
        let began = Instant::now();
        let batches = ctx.sql(&sql).await?.collect().await?;
        let column =
            batches[0].column(0).as_any().downcast_ref::<Int64Array>().ok_or("a sum of integers is a bigint")?;
        Ok::<_, Failure>((began.elapsed().as_secs_f64(), column.value(0)))
    })?;

    // Persons rows/2 .. rows are at both; each bought for its number modulo 100.
    let expected: i64 = (rows / 2..rows).map(|person| person % 100).sum();
    if total != expected {
        return Err(format!("the sum is {total}, the truth {expected}").into());
    }
    let (asking, answering) = (Usage::of(std::process::id())?, Usage::of(server.child.id())?);
    let (up, down) = *bytes.0.lock().expect("nobody panics while adding");
    println!(
        "| {ids} | {rows} | {} | {wall:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {} | {:.0} % |",
        rows - rows / 2,
        asking.cpu_seconds,
        answering.cpu_seconds,
        up as f64 / 1e6,
        down as f64 / 1e6,
        asking.peak_mib,
        answering.peak_mib,
        100.0 * curve_seconds(ids, rows)? / (asking.cpu_seconds + answering.cpu_seconds)
    );
    Ok(())
}

/// CPU seconds that both parties' curve operations take together. All persons match in column 1.
fn curve_seconds(ids: usize, rows: i64) -> Result<f64, Failure> {
    let micros = std::env::var("DATAFUSION_PSI_BENCH_CURVE")?;
    let (blind, evaluate) = micros.split_once(':').ok_or("two figures")?;
    let (blind, evaluate): (f64, f64) = (blind.parse()?, evaluate.parse()?);
    let unmatched = (rows / 2) as f64;
    let per_party =
        ids as f64 * rows as f64 * blind + rows as f64 * evaluate + (ids - 1) as f64 * 2.0 * unmatched * evaluate;
    Ok(2.0 * per_party / 1e6)
}

struct Server {
    child: Child,
}

impl Server {
    /// Starts the binary and waits until it says that it answers.
    fn start(config: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_datafusion-psi"))
            .args(["serve", "--config"])
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()?;
        let log = BufReader::new(child.stderr.take().ok_or("the server has no log")?);
        let mut lines = log.lines();
        for line in lines.by_ref() {
            if line?.contains("answers at") {
                // The rest is read, so that the server never waits for its log.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Server { child });
            }
        }
        Err("the server ended before it answered".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the kernel says of a process.
struct Usage {
    cpu_seconds: f64,
    peak_mib: u64,
}

impl Usage {
    fn of(pid: u32) -> Result<Self, Failure> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit_once(')').ok_or("an odd /proc/PID/stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // utime and stime are fields 14 and 15 of proc(5), in ticks of 1/100 s.
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
        let kib: u64 = peak.split_whitespace().nth(1).ok_or("no VmHWM")?.parse()?;
        Ok(Usage { cpu_seconds: ticks / 100.0, peak_mib: kib / 1024 })
    }
}

fn write_party(folder: &Path, ids: usize, rows: i64, port: u16) -> Result<(), Failure> {
    write_parquet(&folder.join("customers.parquet"), ids, 0..rows)?;
    write_parquet(&folder.join("purchases.parquet"), ids, rows / 2..rows / 2 + rows)?;
    let names: Vec<String> = (0..ids).map(|k| format!("id{k} = \"exact/1\"")).collect();
    fs::write(
        folder.join("answering.toml"),
        format!(
            r#"
[party]
name = "answering"
state = "answering/"
[server]
listen = "127.0.0.1:{port}"
plaintext = true
[[table]]
name = "purchases"
location = "purchases.parquet"
[[peer]]
name = "asking"
address = "grpc://127.0.0.1:1"
plaintext = true
[[share]]
table = "purchases"
with = ["asking"]
identifiers = {{ {} }}
aggregates = {{ amount = {{ min = 0, max = 500, max_rows = 20 }} }}
[share.budget]
population = "people"
queries = 10
sizes = {{ epsilon = 2.0 }}
outputs = {{ noise = "none" }}
"#,
            names.join(", ")
        ),
    )?;
    fs::write(
        folder.join("asking.toml"),
        format!(
            r#"
[party]
name = "asking"
[[table]]
name = "customers"
location = "customers.parquet"
[[peer]]
name = "answering"
address = "grpc://127.0.0.1:{port}"
plaintext = true
[[ask]]
of = ["answering"]
population = "people"
[ask.budget]
queries = 10
sizes = {{ epsilon = 2.0 }}
"#
        ),
    )?;
    // The asking party keeps its books in memory, for this one question.
    Budgets::create(&Party::load(folder.join("answering.toml"))?)?;
    Ok(())
}

fn write_parquet(path: &Path, ids: usize, persons: std::ops::Range<i64>) -> Result<(), Failure> {
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for k in 0..ids {
        let values: StringArray =
            persons.clone().map(|person| Some(format!("person-{k}-{person}@example.org"))).collect();
        columns.push((format!("id{k}"), Arc::new(values)));
    }
    let amounts: Int64Array = persons.map(|person| person % 100).collect();
    columns.push(("amount".to_owned(), Arc::new(amounts)));
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
