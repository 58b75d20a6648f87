// SPDX-License-Identifier: MIT OR Apache-2.0

//! Values as text.

use crate::{columns::Value, size::human};

/// Adds a value to a line. `escape` is for what somebody else chose.
pub fn write(line: &mut Vec<u8>, value: &Value<'_>, bytes: bool, escape: fn(&mut Vec<u8>, &[u8])) {
    match value {
        Value::None => {}
        Value::Hex(number) => hex(line, *number),
        Value::Size(size) if bytes => line.extend(size.to_string().as_bytes()),
        Value::Size(size) => line.extend(human(*size).as_bytes()),
        Value::Number(number) => line.extend(number.to_string().as_bytes()),
        Value::Bool(is_so) => line.extend(if *is_so { &b"yes"[..] } else { b"no" }),
        Value::Text(text) => line.extend(text.as_bytes()),
        Value::Bytes(name) => escape(line, name),
        Value::Words(words) => line.extend(words.join(",").as_bytes()),
    }
}

/// By hand, for it is most of what is written.
fn hex(line: &mut Vec<u8>, number: u64) {
    let digits = 16 - (number | 1).leading_zeros() / 4;
    for digit in (0..digits).rev() {
        line.push(b"0123456789abcdef"[(number >> (4 * digit) & 15) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn hexadecimal_is_as_std_writes_it() {
        for number in [0, 1, 0xf, 0x10, 0x7fff_0123_4567, 1 << 63, u64::MAX] {
            let mut line = Vec::new();
            hex(&mut line, number);
            assert_eq!(line, format!("{number:x}").as_bytes());
        }
    }
}
