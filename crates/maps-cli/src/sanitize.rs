// SPDX-License-Identifier: MIT OR Apache-2.0

//! Keeps names that a hostile process chose from driving the terminal, or from looking like more fields
//! than one.

/// Adds bytes to a line. Control characters, those that turn the direction of text, and what is not UTF-8
/// are escaped.
pub fn for_terminal(line: &mut Vec<u8>, bytes: &[u8]) {
    escape(line, bytes, |_| false);
}

/// The same, with spaces and backslashes escaped as well: what was written can be read back.
pub fn as_field(line: &mut Vec<u8>, bytes: &[u8]) {
    escape(line, bytes, |c| c.is_whitespace() || c == '\\');
}

fn escape(line: &mut Vec<u8>, bytes: &[u8], is_bad_too: impl Fn(char) -> bool) {
    // Most names are of harmless letters alone.
    let harmless = |&byte: &u8| byte.is_ascii_graphic() && !is_bad_too(byte.into());
    if bytes.iter().all(harmless) {
        line.extend(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut utf8 = [0; 4];
            let utf8 = c.encode_utf8(&mut utf8).as_bytes();
            if is_bad(c) || is_bad_too(c) {
                hex(line, utf8);
            } else {
                line.extend(utf8);
            }
        }
        hex(line, chunk.invalid());
    }
}

/// Whether a character may drive a terminal, or mislead who reads it.
pub fn is_bad(c: char) -> bool {
    c.is_control() || is_bidi(c)
}

/// As util-linux does it: `\x1b`.
fn hex(line: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        line.extend(format!("\\x{byte:02x}").as_bytes());
    }
}

/// Unicode's Bidi_Control characters, and its line and paragraph separators.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{as_field, for_terminal};

    fn escaped(escape: impl Fn(&mut Vec<u8>, &[u8]), name: &[u8]) -> String {
        let mut line = Vec::new();
        escape(&mut line, name);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn hostile_names_are_escaped() {
        let name = b"a\x1b[2Jb\xffc\xe2\x80\xaed\n\xc2\x9b";
        let shown = "a\\x1b[2Jb\\xffc\\xe2\\x80\\xaed\\x0a\\xc2\\x9b";
        assert_eq!(escaped(for_terminal, name), shown);
        assert_eq!(escaped(as_field, name), shown);
    }

    #[test]
    fn ordinary_names_stay() {
        let name = "/usr/lib/ä.so".as_bytes();
        assert_eq!(escaped(for_terminal, name), "/usr/lib/ä.so");
        assert_eq!(escaped(as_field, name), "/usr/lib/ä.so");
    }

    #[test]
    fn a_field_is_one_word() {
        assert_eq!(escaped(for_terminal, b"/a b\\012"), "/a b\\012");
        assert_eq!(escaped(as_field, b"/a b\\012"), "/a\\x20b\\x5c012");
    }
}
