//! Dates as text, and what a network gets of them.

use serde::{Deserialize, Serialize};

/// How a column writes its dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DateForm {
    /// `2024-02-29` or `2024/02/29`, year first.
    YearFirst,
    /// `29.02.2024`.
    Points,
    /// `02/29/2024`.
    MonthFirst,
    /// `29/02/2024`.
    DayFirst,
}

impl DateForm {
    /// In the order in which they are tried: where a whole column reads both ways, the month comes first.
    pub(super) const ALL: [Self; 4] = [Self::YearFirst, Self::Points, Self::MonthFirst, Self::DayFirst];

    /// Days since 1970-01-01, with the time of day as a fraction. A time may follow the date after a space or `T`:
    /// `14:30`, `14:30:05`, `14:30:05.5`, then `Z` or an offset, which is passed over.
    pub(super) fn days(self, text: &str) -> Option<f64> {
        let text = text.trim();
        let (date, time) = match text.find(['T', ' ']) {
            Some(at) => (text.get(..at)?, Some(text.get(at + 1..)?.trim())),
            None => (text, None),
        };
        let marks: &[char] = match self {
            Self::YearFirst => &['-', '/'],
            Self::Points => &['.'],
            Self::MonthFirst | Self::DayFirst => &['/'],
        };
        let mark = date.chars().find(|c| marks.contains(c))?;
        let mut parts = date.split(mark);
        let parts = [parts.next()?, parts.next()?, parts.next()?].into_iter().chain(parts).collect::<Vec<_>>();
        let &[a, b, c] = &parts[..] else { return None };
        let (year, month, day) = match self {
            Self::YearFirst => (a, b, c),
            Self::MonthFirst => (c, a, b),
            Self::Points | Self::DayFirst => (c, b, a),
        };
        if year.len() != 4 {
            return None;
        }
        let (year, month, day) = (whole(year)?, whole(month)?, whole(day)?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let longest = match month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=longest).contains(&day) {
            return None;
        }
        let time = time.map_or(Some(0.0), time_of_day)?;
        #[allow(clippy::cast_precision_loss, reason = "years have four digits")]
        Some(days_from_civil(year, month, day) as f64 + time)
    }
}

/// A whole number of one to four digits.
fn whole(text: &str) -> Option<i64> {
    if (1..=4).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The time of day as a part of a day.
fn time_of_day(text: &str) -> Option<f64> {
    let end = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let mut parts = text.get(..end)?.trim().split(':');
    let (hours, minutes) = (whole(parts.next()?)?, whole(parts.next()?)?);
    let seconds = match parts.next() {
        None => 0.0,
        Some(text) if text.bytes().all(|c| c.is_ascii_digit() || c == b'.') => text.parse().ok()?,
        Some(_) => return None,
    };
    let valid = parts.next().is_none() && hours <= 24 && minutes < 60 && (0.0..=60.0).contains(&seconds);
    #[allow(clippy::cast_precision_loss, reason = "below 24 * 60")]
    valid.then(|| ((hours * 60 + minutes) as f64 * 60.0 + seconds) / 86_400.0)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (H. Hinnant's algorithm).
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Where a date lies in the year, the week and the day: sine and cosine of each angle, so that December lies beside January.
pub(super) fn circles(days: f64) -> [f64; 6] {
    let turns = [days / 365.2425, days / 7.0, days];
    let mut out = [0.0; 6];
    for (pair, turn) in out.chunks_exact_mut(2).zip(turns) {
        let angle = std::f64::consts::TAU * (turn - turn.floor());
        pair[0] = libm::sin(angle);
        pair[1] = libm::cos(angle);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days() {
        for (form, text, want) in [
            (DateForm::YearFirst, "1970-01-01", 0.0),
            (DateForm::YearFirst, "1969-12-31", -1.0),
            (DateForm::YearFirst, "2000/03/01", 11_017.0),
            (DateForm::YearFirst, "2024-02-29T12:00:00Z", 19_782.5),
            (DateForm::YearFirst, "2024-02-29 06:00", 19_782.25),
            (DateForm::YearFirst, "2024-02-29 06:00:00.000+02:00", 19_782.25),
            (DateForm::Points, "29.2.2024", 19_782.0),
            (DateForm::MonthFirst, "2/29/2024 18:00", 19_782.75),
            (DateForm::DayFirst, "29/02/2024", 19_782.0),
        ] {
            assert_eq!(form.days(text), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-01-00",
            "24-01-01",
            "2024-1",
            "2024",
            "2024-01-01-01",
            "1.2.3",
            "2024-01-01 25:00",
            "2024-01-01 x",
            "2024-01-01T",
            "-",
            "",
            "é-é-é",
            "2024-01/01",
        ] {
            for form in DateForm::ALL {
                assert_eq!(form.days(text), None, "{text} {form:?}");
            }
        }
    }

    #[test]
    fn the_calendar_has_no_gaps() {
        let mut last = days_from_civil(1899, 12, 31);
        for year in 1900..2101 {
            for month in 1..=12 {
                for day in 1..=31 {
                    if let Some(days) = DateForm::YearFirst.days(&format!("{year}-{month:02}-{day:02}")) {
                        last += 1;
                        assert_eq!(Some(days), Some(last as f64), "{year}-{month}-{day}");
                    }
                }
            }
        }
    }
}
