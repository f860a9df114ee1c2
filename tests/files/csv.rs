//! CSV files: what is found out about them, and what is said of those that are wrong.

use std::io::Read;
use std::path::Path;

use proptest::prelude::*;
use wgrad::data::{Field, Kind, Table, TableReader};
use wgrad::{Error, Result};

use crate::make::{Folder, contains, gzip, problem};
use crate::memory::peak;

fn read(text: impl AsRef<[u8]>) -> Result<Table> {
    TableReader::new().read_from(text.as_ref(), "t.csv")
}

fn table(text: impl AsRef<[u8]>) -> Table {
    read(text).unwrap()
}

/// All fields of a column, as they print.
fn column(table: &Table, name: &str) -> Vec<String> {
    let column = table.column(name).unwrap();
    let shown = |row| match column.field(row) {
        Field::Missing => "-".to_owned(),
        Field::Number(x) => x.to_string(),
        Field::Text(text) => format!("'{text}'"),
        other => panic!("{other:?}"),
    };
    (0..table.len()).map(shown).collect()
}

#[track_caller]
fn refusal(text: impl AsRef<[u8]>) -> String {
    let (result, held) = peak(|| read(text.as_ref()));
    assert!(held < 4 << 20, "{held} bytes for a file of {}", text.as_ref().len());
    result.unwrap_err().to_string()
}

// ---- files that are right --------------------------------------------------------------------------------------

#[test]
fn header_kinds_and_missing_fields() {
    let t = table("area,city,since,sold\n50,Bonn,2020-01-31,yes\n,Köln,1999-12-31,\n?,,NA,no\n7.5,Bonn,n/a,yes\n");
    assert_eq!((t.len(), t.columns().len()), (4, 4));
    let kinds: Vec<_> = t.columns().iter().map(|c| (c.name(), c.kind(), c.missing())).collect();
    use Kind::{Category, Date, Number};
    assert_eq!(kinds, [("area", Number, 2), ("city", Category, 1), ("since", Date, 2), ("sold", Category, 1)]);
    assert_eq!(column(&t, "area"), ["50", "-", "-", "7.5"]);
    assert_eq!(column(&t, "city"), ["'Bonn'", "'Köln'", "-", "'Bonn'"]);
    assert_eq!(column(&t, "since"), ["18292", "10956", "-", "-"]);
}

#[test]
fn without_a_header_columns_have_numbers() {
    let t = table("5.1,a\n4.9,b\n");
    assert_eq!(t.columns().iter().map(|c| c.name()).collect::<Vec<_>>(), ["0", "1"]);
    assert_eq!(t.column("-1").unwrap().name(), "1");
    let text = t.column("kind").unwrap_err().to_string();
    assert_eq!(
        text,
        "t.csv: there is no column 'kind'; the table has no header, and its columns are numbered from 0 to 1"
    );
    contains(&table("a,b\n1,2\n").column("c").unwrap_err().to_string(), "the columns are: a, b");
    assert_eq!(table("a,b\n1,2\n").column("1").unwrap().name(), "b");
    for number in ["2", "-3", "99999999999999999999", "-9223372036854775808"] {
        assert!(t.column(number).is_err(), "{number}");
    }
    // A name goes before a number.
    assert_eq!(column(&table("1,0,c\nx,2,5\ny,3,6\n"), "0"), ["2", "3"]);
}

#[test]
fn header_and_delimiter_can_be_set() {
    let t = TableReader::new().header(false).read_from(&b"a,b\nc,d\n"[..], "").unwrap();
    assert_eq!(column(&t, "0"), ["'a'", "'c'"]);
    let t = TableReader::new().header(true).read_from(&b"1,2\n3,4\n"[..], "").unwrap();
    assert_eq!(column(&t, "2"), ["4"]);
    let t = TableReader::new().delimiter(b'|').read_from(&b"a|b,c\n1|2\n"[..], "").unwrap();
    assert_eq!(column(&t, "b,c"), ["2"]);
    for delimiter in [b'"', b'\n', b'\r', 200] {
        let result = TableReader::new().delimiter(delimiter).read_from(&b"a\n"[..], "");
        assert!(matches!(result, Err(Error::InvalidOption { option: "delimiter", .. })));
    }
}

#[test]
fn semicolons_tabs_and_decimal_commas() {
    let t = table("a;b\n1,5;x\n-2,25;y\n1.000;z\n");
    assert_eq!(column(&t, "a"), ["1.5", "-2.25", "1000"]);
    // With semicolons and points, points stay decimal.
    assert_eq!(column(&table("a;b\n1.5;x\n0.125;y\n"), "a"), ["1.5", "0.125"]);
    assert_eq!(column(&table("a\tb\n1\tp q, r\n"), "b"), ["'p q, r'"]);
    assert_eq!(
        column(&table("price,n\n\"$1,234.50\",1\n$7,2\n\"1,000,000\",3\n"), "price"),
        ["1234.5", "7", "1000000"]
    );
    // Three digits after the comma: a decimal comma where semicolons part, thousands where commas do.
    assert_eq!(column(&table("a;b\n1,234;x\n"), "a"), ["1.234"]);
    assert_eq!(column(&table("a,b\n\"1,234\",x\n"), "a"), ["1234"]);
}

#[test]
fn quotes_line_ends_and_byte_order_mark() {
    let want = ["'a, b'", "'say \"x\"'", "'two\nlines'"];
    for end in ["\n", "\r\n", "\r"] {
        let lines = ["\u{feff}t,n", "\"a, b\",1", "\"say \"\"x\"\"\",2", "\"two", "lines\",3"];
        for last in ["", end] {
            let t = table(lines.join(end) + last);
            assert_eq!(t.columns()[0].name(), "t");
            assert_eq!(column(&t, "t"), want, "{end:?}");
            assert_eq!(column(&t, "n"), ["1", "2", "3"]);
        }
    }
}

#[test]
fn spaces_around_fields_do_not_count() {
    let t = table("a, b\n 1 , x\n 2 , NA \n");
    assert_eq!(column(&t, "a"), ["1", "2"]);
    assert_eq!(column(&t, "b"), ["'x'", "-"]);
}

#[test]
fn names_that_are_empty_or_come_twice() {
    let t = table("x,,x,x (2),x\n1,2,3,4,5\n");
    assert_eq!(t.columns().iter().map(|c| c.name()).collect::<Vec<_>>(), ["x", "1", "x (2)", "x (2) (2)", "x (3)"]);
}

#[test]
fn a_few_slips_in_a_column_of_numbers_count_as_missing() {
    let mut text = String::from("n,m\n");
    (0..99).for_each(|i| text.push_str(&format!("{i},{i}.5\n")));
    text.push_str("oops,unknown\n");
    let t = table(&text);
    let n = t.column("n").unwrap();
    assert_eq!((n.kind(), n.missing(), n.misfits()), (Kind::Number, 1, Some((1, "oops"))));
    // The same word over and over stands for missing too; several words are categories.
    let rows = |words: [&str; 2]| {
        let row = |i: usize| if i.is_multiple_of(2) { format!("{i}\n") } else { format!("{}\n", words[i / 2 % 2]) };
        TableReader::new().header(false).read_from((0..60).map(row).collect::<String>().as_bytes(), "").unwrap()
    };
    assert_eq!(rows(["none", "none"]).columns()[0].kind(), Kind::Number);
    assert_eq!(rows(["none", "some"]).columns()[0].kind(), Kind::Category);
    // Codes with a letter here and there are codes.
    assert_eq!(table("c\n1\n2\nA\n1\n2\nA\n").columns()[0].kind(), Kind::Category);
}

#[test]
fn kinds_can_be_set() {
    let text = b"zip,n\n01067,1\n10115,2\n";
    assert_eq!(column(&table(text), "zip"), ["1067", "10115"]);
    let t = TableReader::new().categorical("zip").read_from(&text[..], "").unwrap();
    assert_eq!(column(&t, "zip"), ["'01067'", "'10115'"]);
    let error = TableReader::new().kind("n", Kind::Date).read_from(&text[..], "z.csv").unwrap_err();
    assert_eq!(error.to_string(), "z.csv, line 2, column 'n': '1' is no date");
    let error = TableReader::new().numeric("nn").read_from(&text[..], "z.csv").unwrap_err();
    contains(&error.to_string(), "there is no column 'nn'; the columns are: zip, n");
}

#[test]
fn missing_words_can_be_set() {
    let text = b"a,b\nnone,?\nx,y\n";
    assert_eq!(column(&table(text), "a"), ["'none'", "'x'"]);
    let t = TableReader::new().missing_words(["NONE"]).read_from(&text[..], "").unwrap();
    assert_eq!(column(&t, "a"), ["-", "'x'"]);
    assert_eq!(column(&t, "b"), ["'?'", "'y'"]);
}

#[test]
fn gzip_is_known_by_its_first_bytes() {
    let folder = Folder::new();
    let text = b"a,b\n1,x\n2,y\n";
    let want = Table::read(folder.put("t.csv", text)).unwrap();
    let packed = Table::read(folder.put("packed", &gzip(text))).unwrap();
    assert_eq!(packed.columns(), want.columns());
    let members = [gzip(&text[..5]), gzip(&text[5..])].concat();
    assert_eq!(Table::read(folder.put("members", &members)).unwrap().columns(), want.columns());
}

#[test]
fn empty_lines_are_passed_over_and_lines_are_counted() {
    for end in ["\n", "\r\n", "\r"] {
        let lines = ["a,b", "", "1,2", "", "", "\"3", "4\",5", "", "6,7,8"];
        let error = read(lines.join(end)).unwrap_err();
        assert_eq!(error.to_string(), "t.csv, line 9: 3 fields, where the rows before it have 2 fields", "{end:?}");
    }
    let error = TableReader::new().numeric("b").read_from(&b"a,b\n\n1,2\n\"x\ny\",z\n"[..], "t").unwrap_err();
    assert_eq!(error.to_string(), "t, line 4, column 'b': 'z' is no number");
}

// ---- files that are wrong --------------------------------------------------------------------------------------

#[test]
fn missing_file_and_directory() {
    let folder = Folder::new();
    let path = folder.path().join("nothing.csv");
    assert!(matches!(Table::read(&path), Err(Error::Io { path: named, .. }) if named == path));
    #[cfg(unix)]
    contains(&problem(folder.path(), Table::read(folder.path())), "directory");
}

#[test]
fn no_rows() {
    contains(&refusal(""), "there are no rows in this table");
    contains(&refusal("\n\r\n\n"), "there are no rows in this table");
    contains(&refusal("\u{feff}"), "there are no rows in this table");
    contains(&refusal(gzip(b"")), "there are no rows in this table");
    contains(&refusal("a,b\n"), "there are no rows below the header");
}

#[test]
fn rows_of_different_lengths() {
    assert_eq!(refusal("a,b\n1,2\n3\n"), "t.csv, line 3: 1 field, where the rows before it have 2 fields");
    contains(&refusal("a\n1\n2,3\n"), "perhaps the delimiter is another one");
    let text = refusal("a,b\n1,\"2\n3,4\n5\",6\n");
    assert_eq!(
        text,
        "t.csv, line 2: 3 fields, where the rows before it have 2 fields; the row goes on to line 4, so perhaps a quote is missing"
    );
}

#[test]
fn quote_that_is_never_closed() {
    for text in ["a,b\n1,\"2\n3,4\n5,6\n", "a,b\n1,\"2\n3,4", "a,b\n\n\"", "a,b\n1,\"\"\"", "a,b\n1,\"x\n\n\n"] {
        let line = if text.contains("\n\n\"") { 3 } else { 2 };
        let want = format!("t.csv, line {line}: a quote that is opened in this row is never closed");
        assert_eq!(refusal(text), want, "{text}");
    }
    for text in ["a,b\n1,\"x\"", "a,b\n1,\"x\n\"\n\n\n", "a,b\n1,\"\"", "a,b\n1,x\"\n"] {
        assert_eq!(table(text).len(), 1, "{text}");
    }
}

#[test]
fn text_that_is_not_utf8() {
    assert_eq!(
        refusal(b"name,n\nx,1\nK\xf6ln,2\n"),
        "t.csv, line 3, column 'name': this is not UTF-8; save the file as UTF-8"
    );
    contains(&refusal(b"K\xf6ln,n\nx,1\n"), "line 1, column '0': this is not UTF-8");
    contains(&refusal(b"\xff\xfea\0,\0b\0\n\0"), "UTF-16");
    contains(&refusal(b"\xfe\xff\0a\0,\0b\0\n"), "UTF-16");
}

#[test]
fn too_many_columns_or_fields_or_bytes() {
    contains(&refusal(vec![b','; 16_384]), "t.csv, line 1: 16385 columns; a table has at most 16384");
    assert_eq!(table(vec![b','; 16_383]).columns().len(), 16_384);
    let error = TableReader::new().max_fields(5).read_from(&b"a,b\n1,2\n3,4\n5,6\n"[..], "t").unwrap_err();
    contains(&error.to_string(), "t, line 4: the table has more than the 5 fields");
    for (max, fits) in [(12, true), (11, false)] {
        assert_eq!(TableReader::new().max_bytes(max).read_from(&b"a,b\n1,2\n3,4\n"[..], "t").is_ok(), fits);
    }
}

#[test]
fn gzip_that_unpacks_to_much_more() {
    let rows = gzip(&b"1,2\n".repeat(16 << 20));
    assert!(rows.len() < 500_000);
    let reader = TableReader::new().max_bytes(1 << 20);
    let (result, held) = peak(|| reader.read_from(&rows[..], "bomb"));
    contains(&result.unwrap_err().to_string(), "bomb: the table has, unpacked, more than the 1048576 bytes");
    assert!(held < 16 << 20, "{held}");
    // A row without end, in quotes or not.
    for text in [vec![b'x'; 64 << 20], [&b"a,b\n1,\""[..], &vec![b'x'; 64 << 20]].concat()] {
        let packed = gzip(&text);
        let (result, held) = peak(|| read(&packed));
        contains(&result.unwrap_err().to_string(), "t.csv: a row is longer than 4 MiB");
        assert!(held < 20 << 20, "{held}");
    }
}

#[test]
fn gzip_that_is_damaged() {
    let packed = gzip(&b"a,b\n1,2\n".repeat(100));
    for len in [3, 10, packed.len() / 2, packed.len() - 1] {
        contains(&refusal(&packed[..len]), "t.csv: the gzip stream is damaged or cut short");
    }
    let mut wrong = packed.clone();
    let at = wrong.len() - 6;
    wrong[at] ^= 1;
    contains(&refusal(&wrong), "the gzip stream is damaged");
}

#[test]
fn failing_disk() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(5))
        }
    }
    for start in [&b""[..], b"a,b\n1,2\n", &[b'1'; 100_000]] {
        let error = TableReader::new().read_from(start.chain(Failing), "disk").unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if path == Path::new("disk")), "{error:?}");
    }
}

#[test]
fn a_slow_reader_gives_the_same() {
    struct Slow<R>(R, bool);
    impl<R: Read> Read for Slow<R> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(std::io::ErrorKind::Interrupted.into()) } else { self.0.read(&mut buffer[..1]) }
        }
    }
    let text = "\u{feff}a,b\r\n1,x\r\n\"2\r\n\",y\r\n".as_bytes();
    for file in [text.to_vec(), gzip(text)] {
        assert_eq!(TableReader::new().read_from(Slow(&file[..], false), "t.csv").unwrap(), table(text));
    }
}

#[test]
fn a_million_different_texts_do_not_take_a_million_names() {
    let text: String = (0..100_000).map(|i| format!("x{i}\n")).collect();
    let t = TableReader::new().header(false).read_from(text.as_bytes(), "").unwrap();
    assert_eq!(column(&t, "0")[65_535..65_538], ["'x65535'", "'(any other text)'", "'(any other text)'"]);
    let same = "x,".repeat(16_383) + "x\n1" + &",1".repeat(16_383);
    let names: std::collections::HashSet<_> = table(same).columns().iter().map(|c| c.name().to_owned()).collect();
    assert_eq!(names.len(), 16_384);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Any bytes are a table or an error, and a table keeps what it promises.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), packed in any::<bool>()) {
        let file = if packed { gzip(&bytes) } else { bytes };
        if let Ok(t) = read(&file) {
            prop_assert!(!t.is_empty() && !t.columns().is_empty());
            for c in t.columns() {
                prop_assert_eq!((0..t.len() + 1).filter(|&row| c.field(row) == Field::Missing).count(), c.missing() + 1);
            }
        }
    }

    /// Text that looks like a table is one, or an error that names the file.
    #[test]
    fn anything_like_a_table(text in "([ab1-9.,;\"\t\n\r?]|NA|é|2020-01-02|-){0,200}") {
        match read(&text) {
            Ok(t) => prop_assert!(t.columns().iter().all(|c| c.missing() <= t.len())),
            Err(error) => prop_assert!(error.to_string().starts_with("t.csv"), "{error}"),
        }
    }

    /// What is written is read: numbers to the bit, texts as they are.
    #[test]
    fn what_is_written_is_read(
        rows in proptest::collection::vec((any::<f64>(), "[a-z ,;\"\n]{0,6}[a-z]"), 1..30),
        delimiter in proptest::sample::select(vec![b',', b';', b'\t']),
    ) {
        let rows: Vec<_> = rows.into_iter().filter(|(x, text)| x.is_finite() && !["na", "nan", "null"].contains(&text.trim())).collect();
        prop_assume!(!rows.is_empty());
        let mut file = format!("n{}t\n", char::from(delimiter));
        for (x, text) in &rows {
            file.push_str(&format!("{x:?}{}\"{}\"\n", char::from(delimiter), text.replace('"', "\"\"")));
        }
        let t = TableReader::new().delimiter(delimiter).header(true).read_from(file.as_bytes(), "t").unwrap();
        for (row, (x, text)) in rows.iter().enumerate() {
            prop_assert_eq!(t.column("n").unwrap().field(row), Field::Number(*x));
            prop_assert_eq!(t.column("t").unwrap().field(row), Field::Text(text.trim()));
        }
    }
}
