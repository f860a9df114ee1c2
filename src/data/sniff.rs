//! What a table does not say of itself: its delimiter, and whether its first row is a header.

use super::column::is_missing;
use super::date::DateForm;
use super::number::number;

/// How many records are looked at.
const RECORDS: usize = 100;

/// Tried in this order.
const DELIMITERS: [u8; 3] = [b'\t', b';', b','];

/// The delimiter of a text: the first of tab, semicolon and comma that cuts all of the first records into the same number of
/// fields, at least two; if none does, the one with which most of them have as many fields as the first.
///
/// Commas within the fields of a table with semicolons, as in decimal numbers, can cut its rows evenly too, but only into one
/// field more than the semicolons do. Where commas make more than that, it is they that delimit.
pub(super) fn delimiter(sample: &[u8]) -> u8 {
    let cuts = DELIMITERS.map(|delimiter| {
        let records = records(sample, delimiter);
        let fields = records.first().map_or(0, Vec::len);
        let same = records.iter().filter(|record| record.len() == fields).count();
        (delimiter, fields, same, records.len())
    });
    let [.., (_, comma_fields, comma_same, comma_all)] = cuts;
    let even = cuts.iter().find(|(_, fields, same, all)| *fields >= 2 && same == all);
    if let Some(&(delimiter, fields, ..)) = even {
        return if comma_same == comma_all && comma_fields > fields + 1 { b',' } else { delimiter };
    }
    let most = cuts.iter().filter(|(_, fields, ..)| *fields >= 2).rev().max_by_key(|(_, _, same, _)| *same);
    most.map_or(b',', |(delimiter, ..)| *delimiter)
}

/// Whether the first row names the columns.
///
/// It does if some column has a text there and nothing but numbers or dates below. It does not if it has a number, a date or a
/// missing value itself. A table of texts alone has a header if the texts of the first row are all different, and none comes
/// again in the column below it.
pub(super) fn header(sample: &[u8], delimiter: u8, missing: &[String]) -> bool {
    let mut records = records(sample, delimiter).into_iter();
    let Some(first) = records.next() else { return false };
    let below: Vec<_> = records.collect();
    let reads = |text: &str| {
        number(text, false).or_else(|| number(text, true)).is_some()
            || DateForm::ALL.iter().any(|form| form.days(text).is_some())
    };
    let gone = |text: &str| is_missing(text, missing);
    let column = |at: usize| below.iter().filter_map(move |row| row.get(at)).filter(|text| !gone(text));
    let titles = |(at, text): (usize, &String)| {
        !gone(text) && !reads(text) && column(at).next().is_some() && column(at).all(|text| reads(text))
    };
    if first.iter().enumerate().any(titles) {
        return true;
    }
    if first.iter().any(|text| reads(text) || gone(text)) {
        return false;
    }
    let again = |(at, text): (usize, &String)| first[..at].contains(text) || column(at).any(|other| other == text);
    !first.iter().enumerate().any(again)
}

/// The first records of a sample, trimmed.
fn records(sample: &[u8], delimiter: u8) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.has_headers(false).flexible(true).delimiter(delimiter).from_reader(sample);
    let records = reader.byte_records().map_while(Result::ok).take(RECORDS);
    records.map(|record| record.iter().map(|f| String::from_utf8_lossy(f).trim().to_owned()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_found() {
        for (text, want) in [
            ("a,b,c\n1,2,3\n", b','),
            ("a;b;c\n1;2;3\n", b';'),
            ("a\tb c,d\n1\t2\n", b'\t'),
            ("1,5;2,5;3,5\n4,5;5,5;6,5\n", b';'),
            ("\"a;b\",c\n\"d;e\",f\n", b','),
            ("a;b,c,d,e\nf;g,h,i,j\n", b','),
            ("\"x,y\";2\n\"z,w\";3\n", b';'),
            ("one, two\nthree\n", b','),
            ("a;b;c\n1;2\n3;4;5\n", b';'),
            ("lonely\n1\n2\n", b','),
            ("", b','),
        ] {
            assert_eq!(delimiter(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn the_header_is_found() {
        let missing = super::super::column::missing_words();
        for (text, want) in [
            ("a,b\n1,2\n", true),
            ("1,2\n3,4\n", false),
            ("5.1,setosa\n4.9,setosa\n", false),
            // Years as names: the text above numbers decides.
            ("name,2019,2020,total\nx,1,2,3\ny,4,5,9\n", true),
            ("0,1,2,class\n1,2,3,4\n", true),
            ("vhigh,2,low\nhigh,3,low\n", false),
            ("colour,size\nred,big\nblue,small\n", true),
            ("p,x,s\ne,x,y\np,b,s\n", false),
            ("a,a\nb,c\n", false),
            ("day,value\n2020-01-01,x\n", true),
            ("a,,c\nx,y,z\n", false),
            ("?,x\n1,y\n", false),
            ("only\n", true),
            ("3\n", false),
            ("", false),
        ] {
            assert_eq!(header(text.as_bytes(), b',', &missing), want, "{text}");
        }
    }
}
