//! Numbers as people write them in tables.

/// The number that a field holds, if it holds one.
///
/// Taken are an optional sign, digits with at most one decimal point, and an exponent: `-1.5e3`. Beyond that a currency sign
/// (`$ € £ ¥`) before or after, a per cent sign after, which are passed over (`45 %` is 45), and a separator between groups of
/// three digits: `$1,234.50`. With `comma` the comma is the decimal point and the point separates groups: `1.234,50`.
/// Infinities and NaN are no numbers.
pub(super) fn number(text: &str, comma: bool) -> Option<f64> {
    let text = text.trim();
    let plain = |c: u8| c.is_ascii_digit() || matches!(c, b'-' | b'+' | b'e' | b'E') || (c == b'.' && !comma);
    let value = if text.bytes().all(plain) { text.parse().ok() } else { dressed(text, comma) };
    value.filter(|x: &f64| x.is_finite())
}

fn dressed(text: &str, comma: bool) -> Option<f64> {
    const CURRENCIES: [char; 4] = ['$', '€', '£', '¥'];
    let (decimal, group) = if comma { (',', '.') } else { ('.', ',') };
    let text = text.strip_suffix(|c| c == '%' || CURRENCIES.contains(&c)).unwrap_or(text).trim_end();
    let (minus, text) = sign(text);
    let text = text.strip_prefix(CURRENCIES).unwrap_or(text).trim_start();
    let (minus, text) = if minus.is_none() { sign(text) } else { (minus, text) };

    let end = text.find(['e', 'E']).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(end);
    let (whole, fraction) = mantissa.split_once(decimal).unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
    if !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let mut groups = whole.split(group);
    let first = groups.next()?;
    let mut plain = String::with_capacity(text.len() + 1);
    plain.extend(minus);
    plain.push_str(first);
    let mut grouped = false;
    for part in groups {
        if part.len() != 3 {
            return None;
        }
        grouped = true;
        plain.push_str(part);
    }
    // 0,123 and ,123 have no thousands to part; nor has 1234,567.
    if grouped && (!(1..=3).contains(&first.len()) || first.starts_with('0')) || !digits(plain.trim_start_matches('-'))
    {
        return None;
    }
    plain.push('.');
    plain.push_str(fraction);
    plain.push_str(exponent);
    plain.parse().ok()
}

/// A sign in front, and the rest. A plus is passed over.
fn sign(text: &str) -> (Option<char>, &str) {
    match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (Some('-'), rest),
        None => (None, text.strip_prefix('+').unwrap_or(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, want) in [
            ("5", 5.0),
            (" -5.25 ", -5.25),
            ("+.5", 0.5),
            ("1e3", 1000.0),
            ("1,234", 1234.0),
            ("12,345,678.5", 12_345_678.5),
            ("$1,234.50", 1234.5),
            ("-$7", -7.0),
            ("$-7", -7.0),
            ("7 €", 7.0),
            ("45%", 45.0),
            ("45 %", 45.0),
            ("\u{2212}3", -3.0),
        ] {
            assert_eq!(number(text, false), Some(want), "{text}");
        }
        for (text, want) in
            [("3,25", 3.25), ("1.234,5", 1234.5), ("5", 5.0), ("-0,5", -0.5), ("1,5e2", 150.0), ("2.000", 2000.0)]
        {
            assert_eq!(number(text, true), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "",
            " ",
            "-",
            ".",
            "e5",
            "inf",
            "nan",
            "NaN",
            "infinity",
            "1e999",
            "12a",
            "1,23",
            "0,123",
            "1234,567",
            "1,2345",
            "1..2",
            "--5",
            "$",
            "%",
            "1 2",
            "0x10",
            "1_000",
            "2020-01-02",
            "12:30",
            "é",
            "1,,234",
            "5-",
        ] {
            assert_eq!(number(text, false), None, "{text}");
        }
        for text in ["1.5", "3,1,4", "1,5.2", ",", "0.123"] {
            assert_eq!(number(text, true), None, "{text}");
        }
    }
}
