//! JSON as the wire has it: compact, members in the order they are written, numbers with a fixed count of decimals.

use crate::units::Span;

/// Appends a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into memory has no way to fail.
    let _ = serde_json::to_writer(out, text);
}

/// A JSON string as bytes of its own, for texts that are written again and again.
pub(super) fn rendered(text: &str) -> Box<[u8]> {
    let mut out = Vec::new();
    string(&mut out, text);
    out.into()
}

/// Longest text of a number: a sign, 19 digits and a point.
const NUMBER_LEN_MAX: usize = 21;

/// Appends `scaled / 10^decimals`, exactly, with that many decimals, at most 18. Trailing zeros stay, so that a reader which
/// guesses types from the text sees a real number in every record and not now and then an integer.
pub(super) fn number(out: &mut Vec<u8>, scaled: i64, decimals: u8) {
    let mut text = [0; NUMBER_LEN_MAX];
    let mut start = NUMBER_LEN_MAX;
    let mut put = |byte| {
        start -= 1;
        text[start] = byte;
    };
    let mut rest = scaled.unsigned_abs();
    let mut digits = 0;
    while digits <= decimals || rest > 0 {
        if digits == decimals && decimals > 0 {
            put(b'.');
        }
        put(b'0' + (rest % 10) as u8);
        rest /= 10;
        digits += 1;
    }
    if scaled < 0 {
        put(b'-');
    }
    out.extend_from_slice(&text[start..]);
}

/// Writes the members of one object.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `out`.
    pub(super) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes a member's name; its value is what the caller appends to the buffer handed back.
    pub(super) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        string(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// A string.
    pub(super) fn string(mut self, name: &str, text: &str) -> Self {
        string(self.member(name), text);
        self
    }

    /// A number, as [`number`] writes it.
    pub(super) fn number(mut self, name: &str, scaled: i64, decimals: u8) -> Self {
        number(self.member(name), scaled, decimals);
        self
    }

    /// Seconds, exact to the millisecond.
    pub(super) fn seconds(self, name: &str, span: Span) -> Self {
        self.number(name, span.0, 3)
    }

    /// Minutes, rounded to the nearest hundredth.
    pub(super) fn minutes(self, name: &str, span: Span) -> Self {
        const HUNDREDTH_MS: i64 = 600;
        self.number(name, span.0.saturating_add(HUNDREDTH_MS / 2).div_euclid(HUNDREDTH_MS), 2)
    }

    /// Closes it and hands the buffer back.
    pub(super) fn close(self) -> &'a mut Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(scaled: i64, decimals: u8) -> String {
        let mut out = Vec::new();
        number(&mut out, scaled, decimals);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_keep_their_decimals() {
        assert_eq!(text(0, 0), "0");
        assert_eq!(text(0, 2), "0.00");
        assert_eq!(text(7, 3), "0.007");
        assert_eq!(text(4550, 2), "45.50");
        assert_eq!(text(-5, 2), "-0.05");
        assert_eq!(text(i64::MIN, 9), "-9223372036.854775808");
    }

    proptest! {
        #[test]
        fn numbers_equal_a_float_rendering(scaled in -(1i64 << 50)..(1i64 << 50), decimals in 0u8..=4) {
            let float = scaled as f64 / 10f64.powi(i32::from(decimals));
            prop_assert_eq!(text(scaled, decimals), format!("{float:.*}", usize::from(decimals)));
        }

        #[test]
        fn strings_are_read_back(original: String) {
            prop_assert_eq!(serde_json::from_slice::<String>(&rendered(&original)).unwrap(), original);
        }
    }
}
