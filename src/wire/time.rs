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

/// Length of `2025-06-25T15:30:00`.
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
    let mut text = [b'Z'; DATE_TIME_LEN + 1];
    write_date_time(&mut text, seconds(at));
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

/// The clock on the wall of a site. It keeps the zone's offset until that changes, and the last text for records of the
/// same second.
#[derive(Clone, Debug)]
pub(super) struct LocalClock {
    zone: TimeZoneRef<'static>,
    offset_s: i64,
    /// The UTC seconds for which `offset_s` is known to hold.
    valid: Range<i64>,
    second: i64,
    text: [u8; DATE_TIME_LEN + 6],
}

impl LocalClock {
    /// The clock of a zone of the database.
    pub(super) fn new(zone: &str) -> Result<Self, UnknownZone> {
        let zone = tzdb::tz_by_name(zone).ok_or_else(|| UnknownZone(zone.to_owned()))?;
        Ok(Self { zone, offset_s: 0, valid: 0..0, second: i64::MIN, text: [0; DATE_TIME_LEN + 6] })
    }

    /// `2025-06-25T17:30:00+02:00`: the instant on this clock, to the second below.
    pub(super) fn rfc3339(&mut self, at: SimTime) -> &[u8] {
        let second = seconds(at);
        if second != self.second {
            if !self.valid.contains(&second) {
                self.find_offset(second);
            }
            self.write(second);
        }
        &self.text
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
    }

    /// Seconds east of UTC. RFC 3339 has whole minutes only: where a zone kept local mean time, the seconds are cut off from
    /// clock and offset alike, and the instant stays right.
    fn offset_at(&self, second: i64) -> i64 {
        let offset_s = self.zone.find_local_time_type(second).map_or(0, |local| i64::from(local.ut_offset()));
        offset_s / 60 * 60
    }

    fn write(&mut self, second: i64) {
        self.second = second;
        write_date_time(&mut self.text, (second + self.offset_s).clamp(SECONDS_MIN, SECONDS_MAX));
        let minutes = self.offset_s.unsigned_abs() / 60;
        self.text[DATE_TIME_LEN] = if self.offset_s < 0 { b'-' } else { b'+' };
        write_two(&mut self.text[DATE_TIME_LEN + 1..], minutes / 60);
        self.text[DATE_TIME_LEN + 3] = b':';
        write_two(&mut self.text[DATE_TIME_LEN + 4..], minutes % 60);
    }
}

fn seconds(at: SimTime) -> i64 {
    at.0.div_euclid(1000).clamp(SECONDS_MIN, SECONDS_MAX)
}

/// Writes `YYYY-MM-DDTHH:MM:SS`.
fn write_date_time(text: &mut [u8], seconds: i64) {
    let (year, month, day) = civil(seconds.div_euclid(DAY_S));
    let second = seconds.rem_euclid(DAY_S).unsigned_abs();
    write_two(text, year / 100);
    write_two(&mut text[2..], year % 100);
    for (at, mark, value) in
        [(4, b'-', month), (7, b'-', day), (10, b'T', second / 3600), (13, b':', second / 60 % 60), (16, b':', second % 60)]
    {
        text[at] = mark;
        write_two(&mut text[at + 1..], value);
    }
}

fn write_two(text: &mut [u8], value: u64) {
    text[0] = b'0' + (value / 10) as u8;
    text[1] = b'0' + (value % 10) as u8;
}

/// Year, month and day of a count of days since 1970-01-01: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`. Years count from March, so that a leap day ends its year, in eras of 400 years. The days of
/// `SECONDS_MIN..=SECONDS_MAX` keep every step positive but the first.
fn civil(days: i64) -> (u64, u64, u64) {
    const ERA_DAYS: i64 = 146_097;
    const FROM_0000_03_01_TO_1970: i64 = 719_468;
    let days = days + FROM_0000_03_01_TO_1970;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year.unsigned_abs(), month.unsigned_abs(), day.unsigned_abs())
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
        String::from_utf8(clock.rfc3339(at).to_vec()).unwrap()
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
    fn instants_beyond_the_years_of_rfc_3339_are_held() {
        assert_eq!(rfc3339_utc(SimTime::NEVER), *b"9999-12-31T23:59:59Z");
        assert_eq!(rfc3339_utc(SimTime(i64::MIN)), *b"0000-01-01T00:00:00Z");
        let mut clock = LocalClock::new("Asia/Ho_Chi_Minh").unwrap();
        assert_eq!(clock.rfc3339(SimTime::NEVER), b"9999-12-31T23:59:59+07:00");
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
            let text = OffsetDateTime::from_unix_timestamp(second).unwrap().format(&Rfc3339).unwrap();
            prop_assert_eq!(rfc3339_utc(SimTime(second * 1000 + ms)), text.as_bytes());
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
