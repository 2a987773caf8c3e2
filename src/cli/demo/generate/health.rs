//! A research institute's study participants; a health insurer's hospital stays.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};

use super::people::{Draw, Person};
use super::{Generated, YEAR_2026, dates, decimals};

#[derive(Default)]
struct Participants {
    study: Vec<&'static str>,
    arm: Vec<&'static str>,
    insurance_number: Vec<Option<String>>,
    surname: Vec<&'static str>,
    born: Vec<i32>,
}

#[derive(Default)]
struct Stays {
    stay: Vec<i64>,
    insurance_number: Vec<Option<String>>,
    surname: Vec<String>,
    born: Vec<i32>,
    admitted_on: Vec<i32>,
    ward: Vec<&'static str>,
    days: Vec<Option<i64>>,
    cost: Vec<i64>,
}

/// `rows / 4` participations, `rows / 2` hospital stays.
pub(in super::super) fn health(draw: &mut Draw, rows: u64) -> anyhow::Result<Vec<Generated>> {
    let (taking_part, staying) = (usize::try_from(rows / 4)?, usize::try_from(rows / 2)?);
    let (mut participants, mut stays) = (Participants::default(), Stays::default());
    for number in 0.. {
        let person = Person::new(number);
        let (takes_part, insured) = (draw.percent(60), draw.percent(70));
        let arm = draw.one_of(&["treatment", "control"]);
        if takes_part && participants.study.len() < taking_part {
            participant(draw, &person, arm, taking_part, &mut participants);
        }
        if insured && stays.stay.len() < staying {
            patient(draw, &person, takes_part && arm == "treatment", staying, &mut stays);
        }
        if participants.study.len() == taking_part && stays.stay.len() == staying {
            break;
        }
    }
    Ok(vec![participants.table()?, stays.table()?])
}

/// The studies that somebody takes part in; some take part in both.
fn participant(draw: &mut Draw, person: &Person, arm: &'static str, rows: usize, found: &mut Participants) {
    let number = draw.sometimes(90, &person.insurance_number);
    let studies: &[&str] = if draw.percent(6) { &["heart-2026", "sleep-2025"] } else { &["heart-2026"] };
    let studies = if draw.percent(40) { &["sleep-2025"] } else { studies };
    for study in studies.iter().take(rows - found.study.len()) {
        found.study.push(study);
        found.arm.push(arm);
        found.insurance_number.push(number.map(|number| draw.spell_number(number)));
        found.surname.push(person.surname);
        found.born.push(person.born);
    }
}

/// Somebody's hospital stays, a little shorter after a treatment. The latest may not have ended.
fn patient(draw: &mut Draw, person: &Person, treated: bool, rows: usize, found: &mut Stays) {
    let number = draw.sometimes(97, &person.insurance_number);
    for _ in 0..draw.few(4).min((rows - found.stay.len()) as i64) {
        let admitted = draw.within(-120..150);
        let days = draw.within(1..8) + draw.within(0..if treated { 9 } else { 14 });
        found.stay.push(700_000 + found.stay.len() as i64);
        found.insurance_number.push(number.cloned());
        found.surname.push(person.surname.to_uppercase());
        found.born.push(person.born);
        found.admitted_on.push(YEAR_2026 + admitted as i32);
        found.ward.push(draw.one_of(&["cardiology", "cardiology", "surgery", "neurology", "maternity"]));
        found.days.push((admitted + days < 150).then_some(days));
        found.cost.push(days * draw.within(42_000..98_000) + draw.within(0..400_000));
    }
}

impl Participants {
    fn table(self) -> anyhow::Result<Generated> {
        Generated::new(
            "institute",
            "participants",
            [
                ("study", Arc::new(StringArray::from(self.study)) as ArrayRef),
                ("arm", Arc::new(StringArray::from(self.arm))),
                ("insurance_number", Arc::new(StringArray::from(self.insurance_number))),
                ("surname", Arc::new(StringArray::from(self.surname))),
                ("born", dates(self.born)),
            ],
        )
    }
}

impl Stays {
    fn table(self) -> anyhow::Result<Generated> {
        Generated::new(
            "insurer",
            "hospital_stays",
            [
                ("stay_id", Arc::new(Int64Array::from(self.stay)) as ArrayRef),
                ("insurance_number", Arc::new(StringArray::from(self.insurance_number))),
                ("surname", Arc::new(StringArray::from(self.surname))),
                ("born", dates(self.born)),
                ("admitted_on", dates(self.admitted_on)),
                ("ward", Arc::new(StringArray::from(self.ward))),
                ("days", Arc::new(Int64Array::from(self.days))),
                ("cost", decimals(self.cost, 12, 2)?),
            ],
        )
    }
}
