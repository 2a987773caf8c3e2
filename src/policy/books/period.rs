//! When an account begins anew.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc};

/// When an account begins anew, by the calendar in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Period {
    /// Never: what is spent is spent for good.
    #[default]
    Forever,
    /// At each midnight.
    Day,
    /// On each Monday (ISO weeks).
    Week,
    /// On the first of each month.
    Month,
}

/// A word that names no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such period; there are \"forever\", \"day\", \"week\" and \"month\"")]
pub struct UnknownPeriod;

impl Period {
    /// Every period, for tables and tests that must be complete.
    pub const ALL: [Period; 4] = [Period::Forever, Period::Day, Period::Week, Period::Month];

    /// The policy's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Period::Forever => "forever",
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }

    /// The period of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Period> {
        Period::ALL.into_iter().find(|period| period.name() == name)
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Period {
    type Err = UnknownPeriod;

    fn from_str(text: &str) -> Result<Self, UnknownPeriod> {
        Period::from_name(text).ok_or(UnknownPeriod)
    }
}

/// One period in time: `start` is in it, `end` is not. `None` is without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Option<DateTime<Utc>>,
    pub(super) end: Option<DateTime<Utc>>,
}

/// The period that a moment belongs to.
pub(super) fn span(period: Period, now: DateTime<Utc>) -> Span {
    let today = now.date_naive();
    let first = match period {
        Period::Forever => return Span { start: None, end: None },
        Period::Day => Some(today),
        Period::Week => today.checked_sub_days(Days::new(today.weekday().num_days_from_monday().into())),
        Period::Month => today.with_day(1),
    };
    let next = first.and_then(|first| match period {
        Period::Forever => None,
        Period::Day => first.checked_add_days(Days::new(1)),
        Period::Week => first.checked_add_days(Days::new(7)),
        Period::Month => first.checked_add_months(Months::new(1)),
    });
    let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
    // At the calendar's very ends a period is open on that side, which renews nothing.
    Span { start: first.map(midnight), end: next.map(midnight) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn periods_begin_at_midnight_utc_on_mondays_and_on_the_first() {
        for (period, now, start, end) in [
            (Period::Day, "2024-02-29T23:59:59.999Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
            (Period::Day, "2024-03-01T00:00:00Z", "2024-03-01T00:00:00Z", "2024-03-02T00:00:00Z"),
            // 2021-01-03 is a Sunday, of the ISO week that began in 2020.
            (Period::Week, "2021-01-03T12:00:00Z", "2020-12-28T00:00:00Z", "2021-01-04T00:00:00Z"),
            (Period::Week, "2021-01-04T00:00:00Z", "2021-01-04T00:00:00Z", "2021-01-11T00:00:00Z"),
            (Period::Month, "2023-12-31T23:59:59Z", "2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z"),
            (Period::Month, "2024-02-29T00:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        ] {
            assert_eq!(span(period, at(now)), Span { start: Some(at(start)), end: Some(at(end)) }, "{period} {now}");
        }
        assert_eq!(span(Period::Forever, at("2024-01-01T00:00:00Z")), Span { start: None, end: None });
    }

    #[test]
    fn names_are_read_as_they_are_written_and_no_others() {
        for period in Period::ALL {
            assert_eq!(period.to_string().parse(), Ok(period));
        }
        assert_eq!("Month".parse::<Period>(), Err(UnknownPeriod));
    }

    #[test]
    fn the_ends_of_the_calendar_panic_nobody() {
        for now in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            for period in Period::ALL {
                let span = span(period, now);
                assert!(span.start.is_none_or(|start| start <= now) && span.end.is_none_or(|end| end > now));
            }
        }
    }

    proptest! {
        #[test]
        fn periods_tile_the_time(millis in -100_000_000_000_000i64..100_000_000_000_000) {
            let now = crate::policy::books::clock::time(millis);
            for period in [Period::Day, Period::Week, Period::Month] {
                let this = span(period, now);
                let (start, end) = (this.start.unwrap(), this.end.unwrap());
                prop_assert!(start <= now && now < end);
                prop_assert_eq!(span(period, end).start, Some(end), "the next begins where this one ends");
                prop_assert_eq!(span(period, start), this);
            }
        }
    }
}
