// SPDX-License-Identifier: MIT OR Apache-2.0

//! JSON, as one document or as lines. Its types are described in lsmaps(1).

use super::Output;
use crate::{
    columns::{Column, Row, Value},
    listing::Verdict,
    processes::Target,
    sanitize,
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::ser::Formatter;
use std::{
    borrow::Cow,
    io::{self, Write},
    ops::Range,
};

/// Fields may be added without a new number, and nothing else may change.
const SCHEMA: u32 = 1;

/// JSON. Nothing is kept, however much there is.
pub struct Json<W> {
    columns: Vec<(Column, String)>,
    out: W,
    lines: bool,
    processes: u64,
    mappings: u64,
}

impl<W: Write> Json<W> {
    /// One document.
    pub fn document(columns: &[Column], out: W) -> Self {
        Self::new(columns, out, false)
    }

    /// A document a line: a head, and for each process its mappings and an end.
    pub fn lines(columns: &[Column], out: W) -> Self {
        Self::new(columns, out, true)
    }

    fn new(columns: &[Column], out: W, lines: bool) -> Self {
        let columns = columns.iter().map(|column| (*column, column.key()));
        Self {
            columns: columns.collect(),
            out,
            lines,
            processes: 0,
            mappings: 0,
        }
    }

    fn head(&mut self) -> io::Result<()> {
        if self.processes > 0 {
            return Ok(());
        }
        match self.lines {
            true => writeln!(self.out, "{{\"type\":\"head\",\"schema\":{SCHEMA}}}"),
            false => write!(self.out, "{{\"schema\":{SCHEMA},\"processes\":["),
        }
    }
}

/// Escapes more than JSON demands, so that no name drives a terminal.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        text: &str,
    ) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(sanitize::is_bad) {
            let (good, from) = rest.split_at(at);
            out.write_all(good.as_bytes())?;
            let mut chars = from.chars();
            // All of these are within the first 65536.
            if let Some(c) = chars.next() {
                write!(out, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

fn write(out: impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Harmless);
    Ok(value.serialize(&mut serializer)?)
}

/// The types of objects in lines.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<T> {
    Mapping(T),
    End(T),
}

#[derive(Serialize)]
struct Head<'a> {
    pid: u32,
    tid: Option<u32>,
    #[serde(serialize_with = "lossless")]
    command: &'a [u8],
}

impl<'a> Head<'a> {
    fn new(target: &'a Target) -> Self {
        Self {
            pid: target.pid,
            tid: target.tid,
            command: &target.comm,
        }
    }
}

/// What is known of a process at its end.
#[derive(Serialize)]
struct End<'a> {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    head: Option<Head<'a>>,
    count: Option<u64>,
    marked: Option<u64>,
    unknown: Option<&'a [Range<u64>]>,
    source: Option<maps_lockless::Source>,
    completeness: Option<maps_lockless::Completeness>,
    judgement: Option<maps_lockless::Judgement>,
    error: Option<&'a str>,
}

impl<'a> End<'a> {
    fn new(head: Option<Head<'a>>, result: Result<&'a Verdict, &'a str>) -> Self {
        let verdict = result.ok();
        Self {
            head,
            count: verdict.map(|verdict| verdict.totals.mappings),
            marked: verdict.map(|verdict| verdict.totals.marked),
            unknown: verdict.map(|verdict| &verdict.unknown[..]),
            source: verdict.map(|verdict| verdict.source),
            completeness: verdict.map(|verdict| verdict.completeness),
            judgement: verdict.map(|verdict| verdict.judgement),
            error: result.err(),
        }
    }
}

/// A mapping, column by column.
struct Object<'a> {
    columns: &'a [(Column, String)],
    row: &'a Row<'a>,
    /// Whether it says whose mapping it is, whichever columns there are.
    pid: bool,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let has_pid = self
            .columns
            .iter()
            .any(|(column, _)| *column == Column::Pid);
        if self.pid && !has_pid {
            map.serialize_entry("pid", &self.row.target.pid)?;
        }
        for (column, key) in self.columns {
            map.serialize_entry(key, &column.value(self.row))?;
        }
        map.end()
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::Hex(number) | Self::Size(number) | Self::Number(number) => {
                serializer.serialize_u64(*number)
            }
            Self::Bool(is_so) => serializer.serialize_bool(*is_so),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => lossless(bytes, serializer),
            Self::Words(words) => words.serialize(serializer),
        }
    }
}

/// Bytes as a string: a backslash is doubled, and what is not UTF-8 is written `\xff`.
fn lossless<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\\') => Cow::Borrowed(text),
        _ => bytes
            .utf8_chunks()
            .fold(String::new(), |mut text, chunk| {
                text += &chunk.valid().replace('\\', "\\\\");
                for byte in chunk.invalid() {
                    text += &format!("\\x{byte:02x}");
                }
                text
            })
            .into(),
    })
}

impl<W: Write> Output for Json<W> {
    fn begin(&mut self, target: &Target) -> io::Result<()> {
        self.head()?;
        if !self.lines {
            if self.processes > 0 {
                self.out.write_all(b",")?;
            }
            let mut head = Vec::new();
            write(&mut head, &Head::new(target))?;
            // The end of a process closes what begins here.
            self.out.write_all(b"\n")?;
            self.out
                .write_all(head.strip_suffix(b"}").unwrap_or(&head))?;
            self.out.write_all(b",\"mappings\":[")?;
        }
        self.processes += 1;
        self.mappings = 0;
        Ok(())
    }

    fn mapping(&mut self, row: &Row<'_>) -> io::Result<()> {
        let object = Object {
            columns: &self.columns,
            row,
            pid: self.lines,
        };
        if self.lines {
            write(&mut self.out, &Line::Mapping(object))?;
            return self.out.write_all(b"\n");
        }
        let before = if self.mappings > 0 { ",\n " } else { "\n " };
        self.out.write_all(before.as_bytes())?;
        self.mappings += 1;
        write(&mut self.out, &object)
    }

    fn end(&mut self, target: &Target, result: Result<&Verdict, &str>) -> io::Result<()> {
        if self.lines {
            let end = End::new(Some(Head::new(target)), result);
            write(&mut self.out, &Line::End(end))?;
            return self.out.write_all(b"\n");
        }
        let mut end = Vec::new();
        write(&mut end, &End::new(None, result))?;
        self.out.write_all(b"],")?;
        self.out.write_all(end.strip_prefix(b"{").unwrap_or(&end))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.head()?;
        if !self.lines {
            self.out.write_all(b"]}\n")?;
        }
        self.out.flush()
    }
}
