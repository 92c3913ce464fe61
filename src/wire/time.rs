//! RFC 3339 date-times to the second, in UTC and in a site's own zone. The time-zone database is part of the binary.

use crate::units::SimTime;
use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use std::fmt::Write;
use std::ops::Range;
use tz::TimeZoneRef;

const DAY_S: i64 = 86_400;

/// The seconds an RFC 3339 date-time can say: its year has four digits.
const SECONDS_MIN: i64 = -62_167_219_200;
const SECONDS_MAX: i64 = 253_402_300_799;

/// Length of `2025-06-25T`, and with `15:30:00` after it.
const DATE_LEN: usize = 11;
const DATE_TIME_LEN: usize = 19;

/// A name that is not in the time-zone database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not in the time-zone database; expected a name such as `Europe/Rome`")]
pub struct UnknownZone(pub String);

/// Whether the time-zone database has that name.
#[must_use]
pub fn zone_exists(name: &str) -> bool {
    tzdb::tz_by_name(name).is_some()
}

/// The instant of an RFC 3339 text, to the millisecond below; `None` when it is none.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<SimTime> {
    let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    i64::try_from(nanos.div_euclid(1_000_000)).ok().map(SimTime)
}

/// `2025-06-25T15:30:00Z`: the instant in UTC, to the second below. Instants outside the years 0 to 9999 are held at the end.
#[must_use]
pub fn rfc3339_utc(at: SimTime) -> [u8; DATE_TIME_LEN + 1] {
    let second = seconds(at);
    let mut text = [b'Z'; DATE_TIME_LEN + 1];
    text[..DATE_LEN].copy_from_slice(&date(second.div_euclid(DAY_S)));
    text[DATE_LEN..DATE_TIME_LEN].copy_from_slice(&time_of_day(second));
    text
}

/// Displays an instant as [`rfc3339_utc`] writes it.
#[derive(Clone, Copy, Debug)]
pub struct Utc(pub SimTime);

impl std::fmt::Display for Utc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        rfc3339_utc(self.0).iter().try_for_each(|byte| f.write_char(char::from(*byte)))
    }
}

/// Writes date-times and keeps the last date: to find one takes longer than all the rest, and most date-times follow another
/// of the same day.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    day: i64,
    date: [u8; DATE_LEN],
}

impl Calendar {
    pub(super) fn new() -> Self {
        Self { day: 0, date: date(0) }
    }

    /// Appends what [`rfc3339_utc`] says.
    pub(super) fn write_utc(&mut self, out: &mut Vec<u8>, at: SimTime) {
        self.write(out, seconds(at));
        out.push(b'Z');
    }

    /// Appends the date-time without an offset.
    fn write(&mut self, out: &mut Vec<u8>, second: i64) {
        let day = second.div_euclid(DAY_S);
        if day != self.day {
            *self = Self { day, date: date(day) };
        }
        out.extend_from_slice(&self.date);
        out.extend_from_slice(&time_of_day(second));
    }
}

/// The clock on the wall of a site. It keeps the zone's offset until that changes.
#[derive(Clone, Debug)]
pub(super) struct LocalClock {
    zone: TimeZoneRef<'static>,
    offset_s: i64,
    /// `+02:00`
    offset: [u8; 6],
    /// The UTC seconds for which the offset is known to hold.
    valid: Range<i64>,
    calendar: Calendar,
}

impl LocalClock {
    /// The clock of a zone of the database.
    pub(super) fn new(zone: &str) -> Result<Self, UnknownZone> {
        let zone = tzdb::tz_by_name(zone).ok_or_else(|| UnknownZone(zone.to_owned()))?;
        Ok(Self { zone, offset_s: 0, offset: *b"+00:00", valid: 0..0, calendar: Calendar::new() })
    }

    /// Appends `2025-06-25T17:30:00+02:00`: the instant on this clock, to the second below.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, at: SimTime) {
        let second = seconds(at);
        if !self.valid.contains(&second) {
            self.find_offset(second);
        }
        self.calendar.write(out, (second + self.offset_s).clamp(SECONDS_MIN, SECONDS_MAX));
        out.extend_from_slice(&self.offset);
    }

    /// Looks the offset up and until when it holds: for a day, or to the change within it. No zone changes its offset and
    /// changes it back within a day.
    fn find_offset(&mut self, second: i64) {
        self.offset_s = self.offset_at(second);
        let mut until = second + DAY_S;
        if self.offset_at(until) != self.offset_s {
            let mut same = second;
            while until - same > 1 {
                let middle = same + (until - same) / 2;
                *(if self.offset_at(middle) == self.offset_s { &mut same } else { &mut until }) = middle;
            }
        }
        self.valid = second..until;
        let minutes = self.offset_s.unsigned_abs() as u32 / 60;
        let ([h1, h2], [m1, m2]) = (two(minutes / 60), two(minutes % 60));
        self.offset = [if self.offset_s < 0 { b'-' } else { b'+' }, h1, h2, b':', m1, m2];
    }

    /// Seconds east of UTC. RFC 3339 has whole minutes only: where a zone kept local mean time, the seconds are cut off from
    /// clock and offset alike, and the instant stays right.
    fn offset_at(&self, second: i64) -> i64 {
        let offset_s = self.zone.find_local_time_type(second).map_or(0, |local| i64::from(local.ut_offset()));
        offset_s / 60 * 60
    }
}

fn seconds(at: SimTime) -> i64 {
    at.0.div_euclid(1000).clamp(SECONDS_MIN, SECONDS_MAX)
}

/// `2025-06-25T`
fn date(day: i64) -> [u8; DATE_LEN] {
    let (year, month, day) = civil(day);
    let ([y1, y2], [y3, y4], [m1, m2], [d1, d2]) = (two(year / 100), two(year % 100), two(month), two(day));
    [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T']
}

/// `15:30:00`
fn time_of_day(second: i64) -> [u8; DATE_TIME_LEN - DATE_LEN] {
    let second = second.rem_euclid(DAY_S) as u32;
    let ([h1, h2], [m1, m2], [s1, s2]) = (two(second / 3600), two(second / 60 % 60), two(second % 60));
    [h1, h2, b':', m1, m2, b':', s1, s2]
}

/// Two decimal digits.
fn two(value: u32) -> [u8; 2] {
    [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]
}

/// Year, month and day of a count of days since 1970-01-01: Cassio Neri and Lorenz Schneider, "Euclidean affine functions and
/// their application to calendar algorithms" (2022), section 6. Years count from March, so that a leap day ends its year.
fn civil(days: i64) -> (u32, u32, u32) {
    const DAYS_OF_400_YEARS: u32 = 146_097;
    const FROM_0000_03_01_TO_1970: u32 = 719_468;
    /// 2^32 / 1461, the days of four years, closely enough for a century.
    const YEARS: u64 = 2_939_745;
    /// 2^16 / 30.6, the days of a month from March on.
    const MONTHS: u32 = 2_141;
    const JANUARY: u32 = 306;
    // Another 400 years keep the first months of the year 0 positive.
    let n = 4 * (days + i64::from(FROM_0000_03_01_TO_1970 + DAYS_OF_400_YEARS)) as u32 + 3;
    let (century, n) = (n / DAYS_OF_400_YEARS, (n % DAYS_OF_400_YEARS) | 3);
    let years = YEARS * u64::from(n);
    let year = 100 * century + (years >> 32) as u32;
    let day_of_year = years as u32 / YEARS as u32 / 4;
    let months = MONTHS * day_of_year + 197_913;
    let (month, day) = (months >> 16, months % (1 << 16) / MONTHS + 1);
    if day_of_year >= JANUARY { (year + 1 - 400, month - 12, day) } else { (year - 400, month, day) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::time::UtcOffset;
    use proptest::prelude::*;

    const ZONES: [&str; 8] = [
        "Europe/Rome",
        "America/Sao_Paulo",
        "Asia/Ho_Chi_Minh",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "Asia/Kathmandu",
        "Europe/London",
        "UTC",
    ];

    fn local(clock: &mut LocalClock, at: SimTime) -> String {
        let mut text = Vec::new();
        clock.write(&mut text, at);
        String::from_utf8(text).unwrap()
    }

    fn instant(text: &str) -> SimTime {
        parse_rfc3339(text).unwrap()
    }

    /// The same text by `time`'s own formatting, with the offset straight from the database.
    fn expected(zone: &str, at: SimTime) -> String {
        let second = at.0.div_euclid(1000);
        let offset = tzdb::tz_by_name(zone).unwrap().find_local_time_type(second).unwrap().ut_offset();
        let offset = UtcOffset::from_whole_seconds(offset / 60 * 60).unwrap();
        let text = OffsetDateTime::from_unix_timestamp(second).unwrap().to_offset(offset).format(&Rfc3339).unwrap();
        text.strip_suffix('Z').map_or(text.clone(), |date_time| format!("{date_time}+00:00"))
    }

    #[test]
    fn sites_show_their_own_time() {
        let june = instant("2025-06-25T15:30:00Z");
        let cases = [
            ("Europe/Rome", "2025-06-25T17:30:00+02:00"),
            ("America/Sao_Paulo", "2025-06-25T12:30:00-03:00"),
            ("Asia/Ho_Chi_Minh", "2025-06-25T22:30:00+07:00"),
            ("UTC", "2025-06-25T15:30:00+00:00"),
        ];
        for (zone, text) in cases {
            assert_eq!(local(&mut LocalClock::new(zone).unwrap(), june), text);
        }
    }

    #[test]
    fn summer_time_begins_and_ends_to_the_second() {
        let clock = &mut LocalClock::new("Europe/Rome").unwrap();
        for (utc, rome) in [
            ("2025-03-30T00:59:59Z", "2025-03-30T01:59:59+01:00"),
            ("2025-03-30T01:00:00Z", "2025-03-30T03:00:00+02:00"),
            ("2025-10-26T00:59:59Z", "2025-10-26T02:59:59+02:00"),
            ("2025-10-26T01:00:00Z", "2025-10-26T02:00:00+01:00"),
            ("2150-07-01T00:00:00Z", "2150-07-01T02:00:00+02:00"),
        ] {
            assert_eq!(local(clock, instant(utc)), rome);
        }
    }

    #[test]
    fn an_offset_is_kept_no_longer_than_it_holds() {
        // Walks each clock in steps shorter than a day through every change of a decade.
        for zone in ZONES {
            let mut clock = LocalClock::new(zone).unwrap();
            let mut at = instant("2015-01-01T00:00:00Z");
            while at < instant("2025-01-01T00:00:00Z") {
                assert_eq!(local(&mut clock, at), expected(zone, at), "{zone}");
                at = SimTime(at.0 + 17_234_567);
            }
        }
    }

    #[test]
    fn no_zone_changes_its_offset_and_back_within_a_day() {
        for name in tzdb::TZ_NAMES {
            let zone = tzdb::tz_by_name(name).unwrap();
            let offset = |index: usize| zone.local_time_types()[index].ut_offset();
            for changes in zone.transitions().windows(3) {
                let [before, first, second] = [0, 1, 2].map(|n| &changes[n]);
                let returns = offset(second.local_time_type_index()) == offset(before.local_time_type_index());
                let changed = offset(first.local_time_type_index()) != offset(before.local_time_type_index());
                let apart_s = second.unix_leap_time() - first.unix_leap_time();
                assert!(!(changed && returns) || apart_s > DAY_S, "{name}: {first:?}");
            }
        }
    }

    #[test]
    fn instants_beyond_the_years_of_rfc_3339_are_held() {
        assert_eq!(rfc3339_utc(SimTime::NEVER), *b"9999-12-31T23:59:59Z");
        assert_eq!(rfc3339_utc(SimTime(i64::MIN)), *b"0000-01-01T00:00:00Z");
        let mut clock = LocalClock::new("Asia/Ho_Chi_Minh").unwrap();
        assert_eq!(local(&mut clock, SimTime::NEVER), "9999-12-31T23:59:59+07:00");
    }

    #[test]
    fn texts_that_are_no_instant_are_refused() {
        for text in ["", "2025-06-25", "2025-06-25T10:00:00", "2025-02-30T10:00:00Z", "1750845600", "2025-06-25T10:00:00Z "]
        {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
        assert_eq!(parse_rfc3339("2025-06-25T12:00:00.1239+02:00"), Some(SimTime(1_750_845_600_123)));
    }

    #[test]
    fn an_unknown_zone_is_named() {
        assert!(!zone_exists("Europe/Roma"));
        assert_eq!(LocalClock::new("Europe/Roma").unwrap_err(), UnknownZone("Europe/Roma".into()));
    }

    proptest! {
        #[test]
        fn utc_equals_the_time_crate(second in SECONDS_MIN..=SECONDS_MAX, ms in 0i64..1000) {
            let expected = OffsetDateTime::from_unix_timestamp(second).unwrap().format(&Rfc3339).unwrap();
            let at = SimTime(second * 1000 + ms);
            prop_assert_eq!(rfc3339_utc(at), expected.as_bytes());
            let mut text = Vec::new();
            Calendar::new().write_utc(&mut text, at);
            prop_assert_eq!(text, expected.as_bytes());
        }

        #[test]
        fn local_time_equals_the_time_crate(zone in 0..ZONES.len(), seconds in prop::collection::vec(0i64..7_000_000_000, 1..20)) {
            let mut clock = LocalClock::new(ZONES[zone]).unwrap();
            for second in seconds {
                let at = SimTime(second * 1000);
                prop_assert_eq!(local(&mut clock, at), expected(ZONES[zone], at));
            }
        }
    }
}
