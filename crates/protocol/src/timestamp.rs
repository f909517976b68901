//! Time as text: RFC 3339. `received` is written in UTC with milliseconds; a runner's `time` is checked and kept as it is.

use crate::limits::TIME_BYTES_MAX;

/// The last millisecond that RFC 3339 can name: 9999-12-31T23:59:59.999Z.
pub const UNIX_MS_MAX: u64 = 253_402_300_799_999;

/// Writes milliseconds since the Unix epoch as `2026-11-20T09:00:00.123Z`; later than [`UNIX_MS_MAX`] is written as that.
pub fn write_rfc3339(unix_ms: u64, out: &mut String) {
    let unix_ms = unix_ms.min(UNIX_MS_MAX);
    let (days, ms_of_day) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = civil_from_days(days);
    let seconds = ms_of_day / 1_000;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], seconds / 3_600);
    put(&mut text[14..16], seconds / 60 % 60);
    put(&mut text[17..19], seconds % 60);
    put(&mut text[20..23], ms_of_day % 1_000);
    out.push_str(std::str::from_utf8(&text).expect("digits and punctuation are ASCII"));
}

/// The same as a string.
pub fn rfc3339(unix_ms: u64) -> String {
    let mut out = String::with_capacity(24);
    write_rfc3339(unix_ms, &mut out);
    out
}

/// Milliseconds since the Unix epoch of an RFC 3339 text (before 1970: negative); `None` if it is no such text or longer
/// than [`TIME_BYTES_MAX`]. Finer fractions are cut off; a leap second counts as the second after it.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes.len() > TIME_BYTES_MAX {
        return None;
    }
    let separators = bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b't')
        && bytes[13] == b':'
        && bytes[16] == b':';
    let (year, month, day) = (digits(&bytes[0..4])?, digits(&bytes[5..7])?, digits(&bytes[8..10])?);
    let (hour, minute, second) = (digits(&bytes[11..13])?, digits(&bytes[14..16])?, digits(&bytes[17..19])?);
    let valid = separators
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid {
        return None;
    }
    let (fraction_ms, zone) = fraction(&bytes[19..])?;
    let offset_minutes = offset(zone)?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + (minute - offset_minutes) * 60 + second;
    Some(seconds * 1_000 + fraction_ms)
}

/// Fills `slot` with decimal digits, leading zeros included.
fn put(slot: &mut [u8], mut value: u64) {
    for digit in slot.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).expect("a digit is below ten");
        value /= 10;
    }
}

/// All bytes as one decimal number.
fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |value, b| b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0')))
}

/// An optional `.123` in milliseconds, and what follows it.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = bytes.strip_prefix(b".") else { return Some((0, bytes)) };
    let length = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let ms = (0..3).fold(0, |ms, at| ms * 10 + if at < length { i64::from(rest[at] - b'0') } else { 0 });
    Some((ms, &rest[length..]))
}

/// `Z` or `+hh:mm`, in minutes east of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let total = hours * 60 + minutes;
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -total } else { total })
        }
        _ => None,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar. Years are counted from March, so that the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse, for days after the epoch.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::format_description::well_known::Rfc3339;

    #[test]
    fn received_is_utc_with_milliseconds() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_165_200_123), "2026-11-20T09:00:00.123Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for bad in [
            "",
            "now",
            "2026-11-20",
            "2026-11-20 09:00:00Z",
            "2026-11-20T09:00:00",
            "2026-11-20T09:00:00.Z",
            "2026-02-29T09:00:00Z",
            "2100-02-29T09:00:00Z",
            "2026-13-01T09:00:00Z",
            "2026-00-01T09:00:00Z",
            "2026-01-00T09:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00Z ",
            "2026-01-01T00:00:00.000000000000000000000000000Z",
            "２026-01-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad} was taken");
        }
    }

    #[test]
    fn offsets_and_fractions_are_understood() {
        for (text, ms) in [
            ("2026-11-20T09:00:00Z", 1_795_165_200_000),
            ("2026-11-20T10:00:00.5+01:00", 1_795_165_200_500),
            ("2026-11-20t03:30:00.123456789-05:30", 1_795_165_200_123),
            ("1969-12-31T23:59:59.999z", -1),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ] {
            assert_eq!(parse_rfc3339(text), Some(ms), "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_time_crate(unix_ms in 0..=UNIX_MS_MAX) {
            let text = rfc3339(unix_ms);
            let theirs = time::OffsetDateTime::parse(&text, &Rfc3339).expect("our own text");
            prop_assert_eq!(theirs.unix_timestamp_nanos(), i128::from(unix_ms) * 1_000_000);
            prop_assert_eq!(parse_rfc3339(&text), i64::try_from(unix_ms).ok());
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,45}") {
            let _ = parse_rfc3339(&text);
        }
    }
}
