// SPDX-License-Identifier: MIT OR Apache-2.0

//! The text of `/proc/<pid>/maps`, parsed and written. See proc_pid_maps(5).
//!
//! What the text cannot tell: a file that was unlinked from one whose name ends in ` (deleted)`, and
//! a newline in a path from the four characters `\012`. See [`MappingRef::deleted`] and [`NameRef::Path`].

use crate::{
    BuildId, Device, MappingRef, Marks, NameRef, VmaFlags,
    mapping::TOLD_BY_MAPS,
    wire::{
        MAPS_LOCKLESS_VMA_EXEC, MAPS_LOCKLESS_VMA_FILE, MAPS_LOCKLESS_VMA_READ,
        MAPS_LOCKLESS_VMA_SHARED, MAPS_LOCKLESS_VMA_WRITE,
    },
};
use core::iter::FusedIterator;

/// The lines of a text, each as a mapping, or [`None`] where a line is none.
///
/// No name, whatever its bytes, makes a line bad. Nothing is allocated.
///
/// ```
/// let text = b"7ffd-7fff rw-p 00000000 00:00 0                          [stack]\n";
/// let stack = maps_lockless::text::lines(text).next().flatten().unwrap();
/// assert_eq!((stack.start, stack.end), (0x7ffd, 0x7fff));
/// assert_eq!(stack.name, maps_lockless::NameRef::Stack);
/// ```
pub fn lines(text: &[u8]) -> Lines<'_> {
    Lines { rest: text }
}

/// See [`lines`].
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = Option<MappingRef<'a>>;

    // Where it is called, most of a mapping need not be stored at all: a quarter of the time is saved.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut fields = Fields {
            text: self.rest,
            at: 0,
        };
        let mapping = fields.mapping();
        if mapping.is_none() {
            fields.at = 0;
            fields.rest_of_line();
        }
        self.rest = &self.rest[fields.at..];
        Some(mapping)
    }
}

impl FusedIterator for Lines<'_> {}

/// What a name, as maps shows it, says: the name, and whether the mapped file was unlinked. `file`
/// tells whether the mapping is one of a file.
pub(crate) fn name(name: &[u8], file: bool) -> (NameRef<'_>, Option<bool>) {
    let within = |prefix: &[u8]| name.strip_prefix(prefix)?.strip_suffix(b"]");
    if name.is_empty() {
        return (NameRef::None, None);
    }
    if !file {
        let name = match name {
            b"[heap]" => NameRef::Heap,
            b"[stack]" => NameRef::Stack,
            _ => within(b"[anon:").map_or(NameRef::Special(name), NameRef::Anon),
        };
        return (name, None);
    }
    if let Some(anon) = within(b"[anon_shmem:") {
        return (NameRef::AnonShmem(anon), None);
    }
    match name.strip_suffix(b" (deleted)") {
        // A file may be called so.
        Some(path) => (NameRef::Path { path, marked: true }, None),
        None => {
            let path = NameRef::Path {
                path: name,
                marked: false,
            };
            (path, Some(false))
        }
    }
}

/// The fields of a line, from the first to the last. All but the name, which is last, end at a
/// newline at the latest.
struct Fields<'a> {
    text: &'a [u8],
    /// Where the next byte is. One number, so that the loops have no more to count.
    at: usize,
}

impl<'a> Fields<'a> {
    /// A line, with its newline.
    #[inline]
    fn mapping(&mut self) -> Option<MappingRef<'a>> {
        let start = self.hex()?;
        self.skip(b'-')?;
        let end = self.hex()?;
        self.skip(b' ')?;
        let permissions = self.permissions()?;
        self.skip(b' ')?;
        let offset = self.hex()?;
        self.skip(b' ')?;
        let major = self.hex()?.try_into().ok()?;
        self.skip(b':')?;
        let minor = self.hex()?.try_into().ok()?;
        self.skip(b' ')?;
        let inode = self.decimal()?;
        let shown = self.name()?;
        if end < start {
            return None;
        }
        let device = Device { major, minor };
        // Memory has neither, and each file has one of them.
        let file = inode != 0 || device != Device::default();
        let or_file = if file { MAPS_LOCKLESS_VMA_FILE } else { 0 };
        let (name, deleted) = name(shown, file);
        Some(MappingRef {
            start,
            end,
            vma_start: start,
            flags: VmaFlags {
                set: permissions | or_file,
                known: TOLD_BY_MAPS,
            },
            offset: file.then_some(offset),
            page_size: None,
            pkey: None,
            device: file.then_some(device),
            inode: file.then_some(inode),
            deleted,
            name,
            build_id: BuildId::Unknown,
            marks: Marks::default(),
        })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn skip(&mut self, byte: u8) -> Option<()> {
        let found = self.peek()? == byte;
        self.at += 1;
        found.then_some(())
    }

    /// A number without sign, which neither is empty nor overflows.
    #[inline]
    fn hex(&mut self) -> Option<u64> {
        let rest = self.text.get(self.at..)?;
        // Where the length is known, nothing has to ask for each byte whether it is there.
        let (number, digits) = match rest.first_chunk::<HEX_WINDOW>() {
            Some(window) => hex_digits(window),
            None => hex_digits(rest),
        };
        self.at += digits;
        (1..HEX_WINDOW).contains(&digits).then_some(number)
    }

    /// As [`hex`](Self::hex), to the base of ten.
    #[inline]
    fn decimal(&mut self) -> Option<u64> {
        let first = self.at;
        let mut number = 0_u64;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            let digit = u64::from(byte - b'0');
            number = number.checked_mul(10)?.checked_add(digit)?;
            self.at += 1;
        }
        (self.at > first).then_some(number)
    }

    /// As flags. Which of them are set is hard to predict, so that nothing branches on one.
    #[inline]
    fn permissions(&mut self) -> Option<u64> {
        let &[r, w, x, kind] = self.text[self.at..].first_chunk()?;
        self.at += 4;
        let flag = |byte, set, clear, flag| {
            let (is_set, is_clear) = (byte == set, byte == clear);
            (is_set | is_clear, u64::from(is_set) * flag)
        };
        let (good_r, r) = flag(r, b'r', b'-', MAPS_LOCKLESS_VMA_READ);
        let (good_w, w) = flag(w, b'w', b'-', MAPS_LOCKLESS_VMA_WRITE);
        let (good_x, x) = flag(x, b'x', b'-', MAPS_LOCKLESS_VMA_EXEC);
        let (good_kind, shared) = flag(kind, b's', b'p', MAPS_LOCKLESS_VMA_SHARED);
        (good_r & good_w & good_x & good_kind).then_some(r | w | x | shared)
    }

    /// The rest of the line, if a space parts it from what was before.
    #[inline]
    fn name(&mut self) -> Option<&'a [u8]> {
        if !matches!(self.peek(), None | Some(b' ' | b'\n')) {
            return None;
        }
        // The kernel aligns names by many spaces.
        while self.next_eight() == Some(each(b' ')) {
            self.at += 8;
        }
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        Some(self.rest_of_line())
    }

    /// What is in front of the next newline. Goes on behind it.
    #[inline]
    fn rest_of_line(&mut self) -> &'a [u8] {
        let first = self.at;
        while let Some(eight) = self.next_eight() {
            // Zero where there is a newline. The subtraction sets the high bit of the first zero,
            // and, of the bytes before it, of none that has not set it already.
            let zeroed = eight ^ each(b'\n');
            let found = zeroed.wrapping_sub(each(1)) & !zeroed & each(0x80);
            if found != 0 {
                self.at += found.trailing_zeros() as usize / 8;
                break;
            }
            self.at += 8;
        }
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
        let line = &self.text[first..self.at];
        // The last line may lack a newline.
        self.at += usize::from(self.at < self.text.len());
        line
    }

    /// Eight bytes as one number, the first one lowest.
    #[inline]
    fn next_eight(&self) -> Option<u64> {
        let bytes = self.text.get(self.at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }
}

/// Digits that a number has at most, and one. More would overflow, unless they begin with zeroes,
/// which maps never writes.
const HEX_WINDOW: usize = 17;

/// The number that begins here, and how many digits it has.
#[inline]
fn hex_digits(text: &[u8]) -> (u64, usize) {
    let mut number = 0;
    for (digits, &byte) in text.iter().take(HEX_WINDOW).enumerate() {
        let digit = HEX_DIGITS[usize::from(byte)];
        if digit >= 16 {
            return (number, digits);
        }
        number = number << 4 | u64::from(digit);
    }
    (number, text.len().min(HEX_WINDOW))
}

/// What a byte is worth as a hexadecimal digit: 16 and more if it is none.
const HEX_DIGITS: [u8; 256] = {
    let mut digits = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 16 {
        digits[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digits[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};

/// As many times the byte.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Writes a mapping as a line of maps, byte for byte as the kernel does.
///
/// What is not known is written as maps writes what a mapping does not have.
#[cfg(feature = "std")]
pub fn write_line(out: &mut impl std::io::Write, mapping: &MappingRef<'_>) -> std::io::Result<()> {
    let mut prefix = Prefix::default();
    prefix.hex(mapping.start, 8);
    prefix.push(b'-');
    prefix.hex(mapping.end, 8);
    prefix.push(b' ');
    let permissions = mapping.permissions().unwrap_or_default();
    let letter = |is_set, letter| if is_set { letter } else { b'-' };
    prefix.push(letter(permissions.read, b'r'));
    prefix.push(letter(permissions.write, b'w'));
    prefix.push(letter(permissions.execute, b'x'));
    prefix.push(if permissions.shared { b's' } else { b'p' });
    prefix.push(b' ');
    prefix.hex(mapping.offset.unwrap_or_default(), 8);
    prefix.push(b' ');
    let device = mapping.device.unwrap_or_default();
    prefix.hex(device.major.into(), 2);
    prefix.push(b':');
    prefix.hex(device.minor.into(), 2);
    prefix.push(b' ');
    prefix.number(mapping.inode.unwrap_or_default(), 10, 1);
    prefix.push(b' ');
    let name = mapping.name.to_maps();
    if !name.is_empty() {
        prefix.pad_to(NAME_COLUMN);
    }
    out.write_all(prefix.text())?;
    out.write_all(&name)?;
    out.write_all(b"\n")
}

/// Where the kernel aligns names: 25 + 6 * sizeof(void *), for 64 bits.
#[cfg(feature = "std")]
const NAME_COLUMN: usize = 73;

/// What is in front of the name. Written by hand, for `format!` takes longer than to read the line.
#[cfg(feature = "std")]
struct Prefix {
    /// Three numbers of 16 hexadecimal digits, two of 8, one of 20 decimal ones, four permissions, and
    /// seven separators are no more.
    text: [u8; 96],
    len: usize,
}

#[cfg(feature = "std")]
impl Default for Prefix {
    fn default() -> Self {
        Self {
            text: [b' '; 96],
            len: 0,
        }
    }
}

#[cfg(feature = "std")]
impl Prefix {
    fn push(&mut self, byte: u8) {
        self.text[self.len] = byte;
        self.len += 1;
    }

    fn hex(&mut self, number: u64, least: usize) {
        self.number(number, 16, least);
    }

    /// A number of at least so many digits. Inlined, so that the base is known, and a shift divides.
    #[inline(always)]
    fn number(&mut self, number: u64, base: u64, least: usize) {
        let mut digits = [b'0'; 20];
        let mut first = digits.len();
        let mut rest = number;
        while rest != 0 {
            first -= 1;
            digits[first] = b"0123456789abcdef"[(rest % base) as usize];
            rest /= base;
        }
        for &digit in &digits[first.min(digits.len() - least)..] {
            self.push(digit);
        }
    }

    fn pad_to(&mut self, column: usize) {
        // There are spaces already.
        self.len = self.len.max(column);
    }

    fn text(&self) -> &[u8] {
        &self.text[..self.len]
    }
}
