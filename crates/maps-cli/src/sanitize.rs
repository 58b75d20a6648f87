// SPDX-License-Identifier: MIT OR Apache-2.0

//! Keeps names that a hostile process chose from driving the terminal.

/// Escapes what is not UTF-8, control characters and those that turn the direction of text.
/// The line's own newline stays.
pub fn for_terminal(line: &[u8]) -> String {
    let (body, newline) = match line.strip_suffix(b"\n") {
        Some(body) => (body, "\n"),
        None => (line, ""),
    };
    let mut out = String::with_capacity(line.len());
    for chunk in body.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || is_bidi(c) {
                out.extend(c.escape_unicode());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out + newline
}

/// Unicode's Bidi_Control characters.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::for_terminal;

    #[test]
    fn hostile_names_are_escaped() {
        assert_eq!(
            for_terminal(b"a\x1b[2Jb\xffc\xe2\x80\xaed\n"),
            "a\\u{1b}[2Jb\\xffc\\u{202e}d\n"
        );
    }

    #[test]
    fn ordinary_names_stay() {
        assert_eq!(
            for_terminal("/usr/lib/ä.so\n".as_bytes()),
            "/usr/lib/ä.so\n"
        );
    }
}
