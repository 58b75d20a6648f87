// SPDX-License-Identifier: MIT OR Apache-2.0

//! Values as text.

use crate::{columns::Value, processes::Target, sanitize, size};

/// Adds a value to a line. `escape` is for what somebody else chose.
pub fn write(line: &mut Vec<u8>, value: &Value<'_>, bytes: bool, escape: fn(&mut Vec<u8>, &[u8])) {
    match value {
        Value::None => {}
        Value::Hex(number) => hex(line, *number),
        Value::Size(number) if bytes => decimal(line, *number),
        Value::Size(bytes) => size::write_human(line, *bytes),
        Value::Number(number) => decimal(line, *number),
        Value::Bool(is_so) => line.extend(if *is_so { &b"yes"[..] } else { b"no" }),
        Value::Text(text) => line.extend(text.as_bytes()),
        Value::Bytes(name) => escape(line, name),
        Value::Words(words) => {
            for (i, word) in words.iter().enumerate() {
                if i > 0 {
                    line.push(b',');
                }
                line.extend(word.as_bytes());
            }
        }
    }
}

/// Whose mappings follow: `1234 bash`.
pub fn title(target: &Target) -> Vec<u8> {
    let mut title = format!("{} ", target.pid).into_bytes();
    sanitize::for_terminal(&mut title, &target.comm);
    title
}

/// How many ranges there are of which nothing is known: `2 ranges unknown`.
pub fn unknown(count: usize) -> String {
    match count {
        1 => "1 range unknown".into(),
        _ => format!("{count} ranges unknown"),
    }
}

/// By hand, for it is most of what is written.
fn hex(line: &mut Vec<u8>, number: u64) {
    let mut text = [0; 16];
    for (pair, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&HEX[usize::from(byte)]);
    }
    let zeroes = (number | 1).leading_zeros() as usize / 4;
    line.extend(&text[zeroes..]);
}

/// The two digits of each byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Likewise.
pub fn decimal(line: &mut Vec<u8>, mut number: u64) {
    // As many digits as u64::MAX has.
    let mut text = [0; 20];
    let mut first = text.len();
    loop {
        first -= 1;
        text[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line.extend(&text[first..]);
}

#[cfg(test)]
mod tests {
    use super::{decimal, hex};

    #[test]
    fn numbers_are_as_std_writes_them() {
        for number in [0, 1, 0xf, 0x10, 0x7fff_0123_4567, 1 << 63, u64::MAX] {
            let mut line = Vec::new();
            hex(&mut line, number);
            assert_eq!(line, format!("{number:x}").as_bytes());
            line.clear();
            decimal(&mut line, number);
            assert_eq!(line, number.to_string().as_bytes());
        }
    }
}
