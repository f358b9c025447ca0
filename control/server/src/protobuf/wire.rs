//! Protobuf's wire format: numbered fields, one after the other (protobuf.dev "Encoding").

use super::ProtobufError;

/// What a field carries.
pub(super) enum Payload<'a> {
    /// A varint, or fixed bits.
    Number(u64),
    /// Text, bytes, or a message.
    Bytes(&'a [u8]),
}

/// The fields of a message, in order.
pub(super) struct Wire<'a>(pub &'a [u8]);

// === impl Payload ===

impl<'a> Payload<'a> {
    pub(super) fn bytes(&self) -> Result<&'a [u8], ProtobufError> {
        match self {
            Payload::Bytes(bytes) => Ok(bytes),
            Payload::Number(_) => Err(ProtobufError::Malformed),
        }
    }

    pub(super) fn number(&self) -> Result<u64, ProtobufError> {
        match self {
            Payload::Number(number) => Ok(*number),
            Payload::Bytes(_) => Err(ProtobufError::Malformed),
        }
    }
}

// === impl Wire ===

impl<'a> Wire<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Payload<'a>)> {
        let key = self.varint()?;
        let payload = match key & 7 {
            0 => Payload::Number(self.varint()?),
            1 => Payload::Number(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let count = usize::try_from(self.varint()?).ok()?;
                Payload::Bytes(self.take(count)?)
            }
            5 => Payload::Number(u64::from(u32::from_le_bytes(self.take(4)?.try_into().ok()?))),
            _ => return None,
        };
        Some((key >> 3, payload))
    }
}

impl<'a> Iterator for Wire<'a> {
    type Item = Result<(u64, Payload<'a>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(ProtobufError::Malformed))
    }
}

/// Appends a number.
fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a field that is a number.
pub(super) fn number_field(out: &mut Vec<u8>, field: u64, number: u64) {
    varint(out, field << 3);
    varint(out, number);
}

/// Appends a field that is text, bytes or a message.
pub(super) fn bytes_field(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    length_field(out, field, content.len());
    out.extend_from_slice(content);
}

/// Appends the beginning of such a field, whose content of `length` bytes follows.
pub(super) fn length_field(out: &mut Vec<u8>, field: u64, length: usize) {
    varint(out, field << 3 | 2);
    varint(out, length as u64);
}

/// Appends a field that is a floating-point number.
pub(super) fn fixed_field(out: &mut Vec<u8>, field: u64, number: f64) {
    varint(out, field << 3 | 1);
    out.extend_from_slice(&number.to_bits().to_le_bytes());
}
