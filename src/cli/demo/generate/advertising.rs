//! A publisher's impressions and readers; an advertiser's purchases.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};

use super::people::{Draw, Person};
use super::{Generated, YEAR_2026, dates, decimals};

#[derive(Default)]
struct Impressions {
    reader: Vec<i64>,
    campaign: Vec<&'static str>,
    channel: Vec<&'static str>,
    shown_on: Vec<i32>,
    cost: Vec<i64>,
    email: Vec<Option<String>>,
    phone: Vec<Option<String>>,
    device: Vec<Option<String>>,
}

#[derive(Default)]
struct Readers {
    reader: Vec<i64>,
    plan: Vec<&'static str>,
    email: Vec<Option<String>>,
    phone: Vec<Option<String>>,
}

#[derive(Default)]
struct Purchases {
    order: Vec<i64>,
    bought_on: Vec<i32>,
    category: Vec<&'static str>,
    amount: Vec<i64>,
    coupon: Vec<Option<&'static str>>,
    email: Vec<Option<String>>,
    phone: Vec<Option<String>>,
    device: Vec<Option<String>>,
}

/// `rows` impressions and as many purchases; a reader for each person of the former.
pub(in super::super) fn advertising(draw: &mut Draw, rows: u64) -> anyhow::Result<Vec<Generated>> {
    let rows = usize::try_from(rows)?;
    let (mut impressions, mut readers, mut purchases) =
        (Impressions::default(), Readers::default(), Purchases::default());
    for number in 0.. {
        let person = Person::new(number);
        let (reads, buys) = (draw.percent(70), draw.percent(60));
        if reads && impressions.reader.len() < rows {
            reader(draw, &person, number, rows, &mut impressions, &mut readers);
        }
        if buys && purchases.order.len() < rows {
            buyer(draw, &person, rows, &mut purchases);
        }
        if impressions.reader.len() == rows && purchases.order.len() == rows {
            break;
        }
    }
    Ok(vec![impressions.table()?, readers.table()?, purchases.table()?])
}

/// What a reader saw. A row names the person as far as it was known when the page was shown.
fn reader(draw: &mut Draw, person: &Person, number: u64, rows: usize, seen: &mut Impressions, readers: &mut Readers) {
    let id = 10_000 + number as i64;
    let (email, phone, device) =
        (draw.sometimes(88, &person.email), draw.sometimes(55, &person.phone), draw.sometimes(65, &person.device));
    let campaign = draw.one_of(&["spring", "spring", "summer", "brand"]);
    for _ in 0..draw.few(6).min((rows - seen.reader.len()) as i64) {
        let signed_in = draw.percent(80);
        seen.reader.push(id);
        seen.campaign.push(if draw.percent(80) { campaign } else { "brand" });
        seen.channel.push(draw.one_of(&["video", "banner", "banner", "newsletter"]));
        seen.shown_on.push(YEAR_2026 + draw.within(31..120) as i32);
        seen.cost.push(draw.within(5_000..60_000));
        seen.email.push(email.filter(|_| signed_in).map(|email| draw.spell_email(email)));
        seen.phone.push(phone.filter(|_| signed_in).map(|phone| draw.spell_phone(phone)));
        seen.device.push(device.cloned());
    }
    readers.reader.push(id);
    readers.plan.push(draw.one_of(&["free", "free", "plus"]));
    readers.email.push(email.map(|email| draw.spell_email(email)));
    readers.phone.push(phone.map(|phone| draw.spell_phone(phone)));
}

/// What a customer bought. All rows of one customer have the same identifiers, in many spellings.
fn buyer(draw: &mut Draw, person: &Person, rows: usize, bought: &mut Purchases) {
    let (phone, device) = (draw.sometimes(60, &person.phone), draw.sometimes(40, &person.device));
    // Everybody leaves something.
    let email =
        if phone.is_none() && device.is_none() { Some(&person.email) } else { draw.sometimes(75, &person.email) };
    for _ in 0..draw.few(6).min((rows - bought.order.len()) as i64) {
        bought.order.push(500_000 + bought.order.len() as i64);
        bought.bought_on.push(YEAR_2026 + draw.within(0..181) as i32);
        bought.category.push(draw.one_of(&["shoes", "coats", "sport", "gifts", "books"]));
        bought.amount.push(draw.within(499..25_000));
        bought.coupon.push(draw.percent(22).then(|| draw.one_of(&["SPRING10", "WELCOME"])));
        bought.email.push(email.map(|email| draw.spell_email(email)));
        bought.phone.push(phone.map(|phone| draw.spell_phone(phone)));
        bought.device.push(device.map(|device| device.to_uppercase()));
    }
}

impl Impressions {
    fn table(self) -> anyhow::Result<Generated> {
        Generated::new(
            "publisher",
            "impressions",
            [
                ("reader_id", Arc::new(Int64Array::from(self.reader)) as ArrayRef),
                ("campaign", Arc::new(StringArray::from(self.campaign))),
                ("channel", Arc::new(StringArray::from(self.channel))),
                ("shown_on", dates(self.shown_on)),
                ("cost", decimals(self.cost, 10, 4)?),
                ("email", Arc::new(StringArray::from(self.email))),
                ("phone", Arc::new(StringArray::from(self.phone))),
                ("device", Arc::new(StringArray::from(self.device))),
            ],
        )
    }
}

impl Readers {
    fn table(self) -> anyhow::Result<Generated> {
        Generated::new(
            "publisher",
            "readers",
            [
                ("reader_id", Arc::new(Int64Array::from(self.reader)) as ArrayRef),
                ("plan", Arc::new(StringArray::from(self.plan))),
                ("email", Arc::new(StringArray::from(self.email))),
                ("phone", Arc::new(StringArray::from(self.phone))),
            ],
        )
    }
}

impl Purchases {
    fn table(self) -> anyhow::Result<Generated> {
        Generated::new(
            "advertiser",
            "purchases",
            [
                ("order_id", Arc::new(Int64Array::from(self.order)) as ArrayRef),
                ("bought_on", dates(self.bought_on)),
                ("category", Arc::new(StringArray::from(self.category))),
                ("amount", decimals(self.amount, 10, 2)?),
                ("coupon", Arc::new(StringArray::from(self.coupon))),
                ("email", Arc::new(StringArray::from(self.email))),
                ("phone", Arc::new(StringArray::from(self.phone))),
                ("device", Arc::new(StringArray::from(self.device))),
            ],
        )
    }
}
