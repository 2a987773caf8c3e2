//! Two banks: customers whom one watches; accounts that the other watches, and its transfers.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};

use super::people::{Draw, Person};
use super::{Generated, YEAR_2026, dates, decimals};

#[derive(Default)]
struct Flagged {
    tax_number: Vec<Option<String>>,
    surname: Vec<&'static str>,
    born: Vec<i32>,
    reason: Vec<Option<&'static str>>,
    risk: Vec<i64>,
}

#[derive(Default)]
struct Accounts {
    account: Vec<i64>,
    tax_number: Vec<Option<String>>,
    surname: Vec<String>,
    born: Vec<i32>,
    reason: Vec<&'static str>,
}

#[derive(Default)]
struct Transfers {
    tax_number: Vec<Option<String>>,
    moved_on: Vec<i32>,
    direction: Vec<&'static str>,
    amount: Vec<i64>,
}

/// `rows / 5` flags of each bank, `rows / 2` transfers.
pub(in super::super) fn banks(draw: &mut Draw, rows: u64) -> anyhow::Result<Vec<Generated>> {
    let (flags, moves) = (usize::try_from(rows / 5)?, usize::try_from(rows / 2)?);
    let (mut flagged, mut accounts, mut transfers) = (Flagged::default(), Accounts::default(), Transfers::default());
    for number in 0.. {
        let person = Person::new(number);
        let (here, there) = (draw.percent(55), draw.percent(55));
        // The second bank knows a tax number of somebody in all its tables, or in none.
        let tax_number = draw.sometimes(94, &person.tax_number);
        if here && flagged.reason.len() < flags {
            watched(draw, &person, flags, &mut flagged);
        }
        if there && accounts.account.len() < flags {
            holder(draw, &person, tax_number, flags, &mut accounts);
        }
        if there && transfers.amount.len() < moves {
            mover(draw, tax_number, moves, &mut transfers);
        }
        if flagged.reason.len() == flags && accounts.account.len() == flags && transfers.amount.len() == moves {
            break;
        }
    }
    Ok(vec![flagged.table()?, accounts.table()?, transfers.table()?])
}

fn watched(draw: &mut Draw, person: &Person, rows: usize, found: &mut Flagged) {
    let tax_number = draw.sometimes(92, &person.tax_number);
    for _ in 0..draw.few(3).min((rows - found.reason.len()) as i64) {
        found.tax_number.push(tax_number.cloned());
        found.surname.push(person.surname);
        found.born.push(person.born);
        found.reason.push(draw.percent(95).then(|| draw.one_of(&["fraud", "sanctions", "identity", "dormant"])));
        found.risk.push(draw.within(20..100));
    }
}

fn holder(draw: &mut Draw, person: &Person, tax_number: Option<&String>, rows: usize, found: &mut Accounts) {
    for _ in 0..draw.few(3).min((rows - found.account.len()) as i64) {
        found.account.push(90_000_000 + found.account.len() as i64);
        found.tax_number.push(tax_number.cloned());
        found.surname.push(person.surname.to_uppercase());
        found.born.push(person.born);
        found.reason.push(draw.one_of(&["fraud", "identity", "cash"]));
    }
}

fn mover(draw: &mut Draw, tax_number: Option<&String>, rows: usize, found: &mut Transfers) {
    for _ in 0..draw.few(12).min((rows - found.amount.len()) as i64) {
        found.tax_number.push(tax_number.cloned());
        found.moved_on.push(YEAR_2026 + draw.within(0..181) as i32);
        found.direction.push(draw.one_of(&["out", "out", "in"]));
        // Many small sums and a few large ones, in cents.
        let most = draw.one_of(&[50_000, 50_000, 500_000, 4_000_000]);
        found.amount.push(draw.within(100..most));
    }
}

impl Flagged {
    fn table(self) -> anyhow::Result<Generated> {
        Generated::new(
            "westbank",
            "flagged",
            [
                ("tax_number", Arc::new(StringArray::from(self.tax_number)) as ArrayRef),
                ("surname", Arc::new(StringArray::from(self.surname))),
                ("born", dates(self.born)),
                ("reason", Arc::new(StringArray::from(self.reason))),
                ("risk", Arc::new(Int64Array::from(self.risk))),
            ],
        )
    }
}

impl Accounts {
    fn table(self) -> anyhow::Result<Generated> {
        Generated::new(
            "eastbank",
            "flagged_accounts",
            [
                ("account_id", Arc::new(Int64Array::from(self.account)) as ArrayRef),
                ("tax_number", Arc::new(StringArray::from(self.tax_number))),
                ("surname", Arc::new(StringArray::from(self.surname))),
                ("born", dates(self.born)),
                ("reason", Arc::new(StringArray::from(self.reason))),
            ],
        )
    }
}

impl Transfers {
    fn table(self) -> anyhow::Result<Generated> {
        Generated::new(
            "eastbank",
            "transfers",
            [
                ("tax_number", Arc::new(StringArray::from(self.tax_number)) as ArrayRef),
                ("moved_on", dates(self.moved_on)),
                ("direction", Arc::new(StringArray::from(self.direction))),
                ("amount", decimals(self.amount, 14, 2)?),
            ],
        )
    }
}
