// SPDX-License-Identifier: MIT OR Apache-2.0

//! How names, build IDs and flags are serialized. lib.rs says what JSON shows of them.
//!
//! The first two are structs of a fixed shape, which formats that do not describe themselves can read as well.
//! Such formats get the bytes as they are.

use crate::{BuildId, Name, NameRef};
use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt::Write;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

#[derive(Serialize, Deserialize)]
#[serde(rename = "Name")]
struct NameForm<'a> {
    kind: Kind,
    text: Option<Text<'a>>,
    marked: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Unknown,
    None,
    Path,
    PathTooLong,
    Anon,
    AnonShmem,
    Heap,
    Stack,
    Special,
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, text, marked) = match self.as_ref() {
            NameRef::Unknown => (Kind::Unknown, None, None),
            NameRef::None => (Kind::None, None, None),
            NameRef::Path { path, marked } => (Kind::Path, Some(path), Some(marked)),
            NameRef::PathTooLong => (Kind::PathTooLong, None, None),
            NameRef::Anon(name) => (Kind::Anon, Some(name), None),
            NameRef::AnonShmem(name) => (Kind::AnonShmem, Some(name), None),
            NameRef::Heap => (Kind::Heap, None, None),
            NameRef::Stack => (Kind::Stack, None, None),
            NameRef::Special(name) => (Kind::Special, Some(name), None),
        };
        let text = text.map(|bytes| Text(bytes.into()));
        NameForm { kind, text, marked }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = NameForm::deserialize(deserializer)?;
        let text = form.text.map(|text| text.0.into_owned());
        Ok(match (form.kind, text, form.marked) {
            (Kind::Unknown, None, None) => Self::Unknown,
            (Kind::None, None, None) => Self::None,
            (Kind::Path, Some(path), Some(marked)) => Self::Path { path, marked },
            (Kind::PathTooLong, None, None) => Self::PathTooLong,
            (Kind::Anon, Some(name), None) => Self::Anon(name),
            (Kind::AnonShmem, Some(name), None) => Self::AnonShmem(name),
            (Kind::Heap, None, None) => Self::Heap,
            (Kind::Stack, None, None) => Self::Stack,
            (Kind::Special, Some(name), None) => Self::Special(name),
            _ => {
                return Err(D::Error::custom(
                    "a name whose kind does not go with its text",
                ));
            }
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "BuildId")]
struct BuildIdForm<'a> {
    state: State,
    id: Option<Hex<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Unknown,
    Absent,
    NotResident,
    Present,
}

impl<B: AsRef<[u8]>> Serialize for BuildId<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (state, id) = match self {
            Self::Unknown => (State::Unknown, None),
            Self::Absent => (State::Absent, None),
            Self::NotResident => (State::NotResident, None),
            Self::Present(id) => (State::Present, Some(Hex(id.as_ref().into()))),
        };
        BuildIdForm { state, id }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BuildId<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = BuildIdForm::deserialize(deserializer)?;
        Ok(match (form.state, form.id) {
            (State::Unknown, None) => Self::Unknown,
            (State::Absent, None) => Self::Absent,
            (State::NotResident, None) => Self::NotResident,
            (State::Present, Some(id)) => Self::Present(id.0.into_owned()),
            _ => {
                return Err(D::Error::custom(
                    "a build ID whose state does not go with its bytes",
                ));
            }
        })
    }
}

/// A set of flags, which a reader that rounds numbers must not get as one.
pub(crate) mod flags {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(flags: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&format_args!("{flags:#x}"))
        } else {
            serializer.serialize_u64(*flags)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer);
        }
        let text = String::deserialize(deserializer)?;
        text.strip_prefix("0x")
            .filter(|digits| !digits.starts_with('+'))
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or_else(|| D::Error::custom("flags are hexadecimal and begin with 0x"))
    }
}

/// Bytes that are a text as a rule.
struct Text<'a>(Cow<'a, [u8]>);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&escape(&self.0))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Text<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = if deserializer.is_human_readable() {
            unescape(&String::deserialize(deserializer)?)
                .ok_or_else(|| D::Error::custom("a backslash that begins no escape"))?
        } else {
            Vec::deserialize(deserializer)?
        };
        Ok(Self(bytes.into()))
    }
}

fn escape(bytes: &[u8]) -> Cow<'_, str> {
    match core::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\\') => return text.into(),
        _ => {}
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                _ => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            // A String takes all.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.into()
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match *rest {
            [b'\\', ..] => {
                out.push(b'\\');
                rest = &rest[1..];
            }
            [b'x', high, low, ..] => {
                out.push(digits(high, low)?);
                rest = &rest[3..];
            }
            _ => return None,
        }
    }
    Some(out)
}

fn digits(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// Bytes that are no text.
struct Hex<'a>(Cow<'a, [u8]>);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let mut out = String::with_capacity(self.0.len() * 2);
        for byte in self.0.iter() {
            // A String takes all.
            let _ = write!(out, "{byte:02x}");
        }
        serializer.serialize_str(&out)
    }
}

impl<'de> Deserialize<'de> for Hex<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Ok(Self(Vec::deserialize(deserializer)?.into()));
        }
        let text = String::deserialize(deserializer)?;
        let bytes = text.as_bytes().chunks(2).map(|pair| match *pair {
            [high, low] => digits(high, low),
            _ => None,
        });
        bytes
            .collect::<Option<Vec<u8>>>()
            .map(|bytes| Self(bytes.into()))
            .ok_or_else(|| D::Error::custom("this is not hexadecimal"))
    }
}
