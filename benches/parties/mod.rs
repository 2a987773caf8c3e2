//! Two parties on this machine: their data, their configuration, the answering one's server, what a process has used.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion_psi::{Budgets, Party};

/// Whatever ends a bench: it is printed.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Rows of a Parquet row group, so that no writer holds a whole table.
const GROUP_ROWS: i64 = 1_000_000;

/// Two tables that share half of the smaller one's persons.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    /// Identifiers of a person.
    pub(crate) ids: usize,
    /// Persons of the asking party.
    pub(crate) asking: i64,
    /// Persons of the answering party.
    pub(crate) answering: i64,
}

impl Tables {
    /// Persons that both have.
    pub(crate) fn matched(self) -> i64 {
        let fewer = self.asking.min(self.answering);
        fewer - fewer / 2
    }

    fn asking_persons(self) -> Range<i64> {
        0..self.asking
    }

    fn answering_persons(self) -> Range<i64> {
        let first = self.asking - self.matched();
        first..first + self.answering
    }

    /// The answer: each person bought for its number modulo 100.
    pub(crate) fn total(self) -> i64 {
        (self.answering_persons().start..self.asking_persons().end).map(|person| person % 100).sum()
    }

    /// The question.
    pub(crate) fn sql(self) -> String {
        let terms: Vec<String> = (0..self.ids).map(|k| format!("c.id{k} = p.id{k}")).collect();
        format!(
            "SELECT PRIVATE_INTERSECT_SUM(p.amount) AS total FROM customers c JOIN answering.purchases p ON {}",
            terms.join(" OR ")
        )
    }
}

/// What each party has for its curve work, as if it were alone on a machine of that size.
pub(crate) fn half_the_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// The answering party's server, ended when dropped.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts the binary with `threads` threads for the curve and waits until it says that it answers.
    pub(crate) fn start(config: &Path, threads: usize) -> Result<Self, Failure> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_datafusion-psi"))
            .args(["serve", "--config"])
            .arg(config)
            .env("RAYON_NUM_THREADS", threads.to_string())
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

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the operating system's kernel says of a process (`/proc`, so for Linux).
pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu_seconds: f64,
    /// The most memory that it has held at once.
    pub(crate) peak_mib: u64,
}

impl Usage {
    /// What process `pid` has used so far.
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
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

/// Writes both parties' tables and files into `folder`, for `queries` questions: `answering.toml`, `asking.toml`. The sizes'
/// ε is 2 for ten questions and grows with their number, so that each has about as many dummies.
pub(crate) fn write_parties(folder: &Path, tables: Tables, port: u16, queries: u32) -> Result<(), Failure> {
    write_parquet(&folder.join("customers.parquet"), tables.ids, tables.asking_persons())?;
    write_parquet(&folder.join("purchases.parquet"), tables.ids, tables.answering_persons())?;
    // Less than its session takes makes the answering party put columns into files.
    let memory_mb = std::env::var("DATAFUSION_PSI_BENCH_MEMORY_MB").unwrap_or_else(|_| "4096".to_owned());
    let ahead_mb = std::env::var("DATAFUSION_PSI_BENCH_AHEAD_MB").unwrap_or_else(|_| "0".to_owned());
    let epsilon = 0.2 * f64::from(queries);
    let names: Vec<String> = (0..tables.ids).map(|k| format!("id{k} = \"exact/1\"")).collect();
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
[limits]
memory_mb = {memory_mb}
blind_ahead_mb = {ahead_mb}
persons_max = 100_000_000
sessions_max = 64
sessions_per_peer_max = 64
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
queries = {queries}
sizes = {{ epsilon = {epsilon:.1} }}
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
[limits]
persons_max = 100_000_000
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
queries = {queries}
sizes = {{ epsilon = {epsilon:.1} }}
"#
        ),
    )?;
    // The asking party keeps its books in memory, for this one process.
    Budgets::create(&Party::load(folder.join("answering.toml"))?)?;
    Ok(())
}

fn write_parquet(path: &Path, ids: usize, persons: Range<i64>) -> Result<(), Failure> {
    let mut writer = None;
    for first in persons.clone().step_by(GROUP_ROWS as usize) {
        let some = first..persons.end.min(first + GROUP_ROWS);
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for k in 0..ids {
            let values: StringArray =
                some.clone().map(|person| Some(format!("person-{k}-{person}@example.org"))).collect();
            columns.push((format!("id{k}"), Arc::new(values)));
        }
        let amounts: Int64Array = some.map(|person| person % 100).collect();
        columns.push(("amount".to_owned(), Arc::new(amounts)));
        let batch = RecordBatch::try_from_iter(columns)?;
        if writer.is_none() {
            writer = Some(ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
            writer.flush()?;
        }
    }
    writer.ok_or("a table without persons")?.close()?;
    Ok(())
}
