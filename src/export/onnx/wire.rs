//! Protocol buffers, as far as ONNX needs them: fields of a message, one after the other.
//!
//! What is read borrows from the bytes, so that nothing is allocated for what a damaged file claims to hold.

/// What is wrong with a message.
pub(super) type Read<T> = Result<T, String>;

/// The value of a field, by wire type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(self, what: &str) -> Read<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(format!("{what} is no text and no message")) }
    }

    pub(super) fn text(self, what: &str) -> Read<&'a str> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| format!("{what} is not UTF-8"))
    }

    /// A whole number with a sign, in two's complement.
    pub(super) fn int(self, what: &str) -> Read<i64> {
        if let Self::Varint(value) = self { Ok(value.cast_signed()) } else { Err(format!("{what} is no whole number")) }
    }
}

/// The fields of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Option<(u32, Wire<'a>)> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|&number| number > 0)?;
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Wire::Fixed64
            }
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(len)?)
            }
            5 => Wire::Fixed32(*self.take(4)?.first_chunk()?),
            _ => return None,
        };
        Some((number, value))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// Seven bits a byte, the lowest first.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Read<(u32, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let left = self.rest.len();
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or_else(|| format!("a message is damaged or cut short, {left} bytes before its end")))
    }
}

/// Numbers of a repeated field of whole numbers, packed into one or one by one.
pub(super) fn ints(value: Wire<'_>, most: usize, what: &str, out: &mut Vec<i64>) -> Read<()> {
    match value {
        Wire::Bytes(packed) => {
            let mut fields = Fields::new(packed);
            while !fields.rest.is_empty() {
                let value = fields.varint().ok_or_else(|| format!("{what} is damaged or cut short"))?;
                push(out, value.cast_signed(), most, what)?;
            }
            Ok(())
        }
        value => push(out, value.int(what)?, most, what),
    }
}

/// Adds to a list that may not grow beyond `most`, whatever a file says.
pub(super) fn push<T>(list: &mut Vec<T>, item: T, most: usize, what: &str) -> Read<()> {
    if list.len() == most {
        return Err(format!("more than {most} of {what}"));
    }
    list.push(item);
    Ok(())
}

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            #[allow(clippy::cast_possible_truncation, reason = "seven bits and the mark that more follow")]
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        #[allow(clippy::cast_possible_truncation, reason = "seven bits are left")]
        self.0.push(value as u8);
    }

    pub(super) fn int(&mut self, field: u32, value: i64) {
        self.varint(u64::from(field) << 3);
        self.varint(value.cast_unsigned());
    }

    pub(super) fn float(&mut self, field: u32, value: f32) {
        self.varint(u64::from(field) << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    pub(super) fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Message::default();
        message.int(1, -1);
        message.int(20, 300);
        message.float(2, 0.5);
        message.message(7, |inner| inner.text(3, "name"));
        let fields: Vec<_> = Fields::new(&message.0).collect::<Read<_>>().unwrap();
        assert_eq!(fields.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 20, 2, 7]);
        assert_eq!((fields[0].1.int("a").unwrap(), fields[1].1.int("b").unwrap()), (-1, 300));
        assert!(matches!(fields[2].1, Wire::Fixed32(bytes) if bytes == 0.5_f32.to_le_bytes()));
        let inner: Vec<_> = Fields::new(fields[3].1.bytes("c").unwrap()).collect::<Read<_>>().unwrap();
        assert_eq!(inner[0].1.text("d").unwrap(), "name");
        let whole = message.0.len();
        for cut in 1..whole {
            let read: Read<Vec<_>> = Fields::new(&message.0[..cut]).collect();
            assert_eq!(read.is_ok(), [11, 15, 20].contains(&cut), "{cut} of {whole}");
        }
    }

    #[test]
    fn damage_is_an_error() {
        for bytes in
            [&[0x08][..], &[0x0a, 5, 1], &[0x0b], &[0x00, 1], &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]]
        {
            assert!(Fields::new(bytes).collect::<Read<Vec<_>>>().is_err(), "{bytes:?}");
        }
        let mut out = Vec::new();
        assert!(ints(Wire::Bytes(&[1, 2, 3]), 2, "dims", &mut out).is_err());
        assert!(ints(Wire::Bytes(&[0x80]), 9, "dims", &mut out).is_err());
    }
}
