// SPDX-License-Identifier: MIT OR Apache-2.0

//! The decoder in Python, written from docs/abi.md alone, against the library.

use crate::{
    paths,
    wire_source::{self, Field, Item},
};
use anyhow::{Context, Result, bail, ensure};
use maps_lockless::{
    BatchEvidence, BuildId, Judge,
    decode::{Batch, DecodeError, File, Record, batches},
    text,
};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};
use zerocopy::IntoBytes;

/// Fails where the two show different things of a stream in `dir`, in any field, or do not refuse and
/// prove the same of what becomes of a stream that is tampered with.
pub fn agree(dir: &Path) -> Result<()> {
    let streams = streams(dir)?;
    ensure!(!streams.is_empty(), "{} has no stream", dir.display());
    let items = wire_source::read()?;
    for path in streams {
        let bytes = fs::read(&path)?;
        let one = [path.clone()];
        compare("-m", &one, &as_maps(&bytes)?)?;
        compare("-a", &one, &all_fields(&items, &bytes)?)?;
        agree_on_variants(&bytes).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Fails where the decoder in Python writes something else of these files.
fn compare(option: &str, paths: &[PathBuf], ours: &[u8]) -> Result<()> {
    let theirs = Command::new("python3")
        .arg(paths::root().join("selftests/python/maps_lockless.py"))
        .arg(option)
        .args(paths)
        .output()
        .context("python3")?;
    if theirs.status.success() && theirs.stdout == ours {
        return Ok(());
    }
    let lines = |bytes: &[u8]| -> Vec<String> {
        let lines = bytes.split(|&byte| byte == b'\n');
        lines.map(|line| line.escape_ascii().to_string()).collect()
    };
    let (their_lines, our_lines) = (lines(&theirs.stdout), lines(ours));
    let mut differing = their_lines.iter().zip(&our_lines).enumerate();
    let first = differing.find(|(_, (a, b))| a != b);
    let shown = first.map(|(at, (a, b))| {
        let path = paths.get(at).unwrap_or(&paths[0]);
        format!("{}\nPython:  {a}\nlibrary: {b}\n", path.display())
    });
    bail!(
        "{} {option}: it shows something else\n{}{}",
        paths[0].display(),
        String::from_utf8_lossy(&theirs.stderr),
        shown.unwrap_or_default()
    )
}

/// Fails where the two judge a variant of a stream otherwise, or only one of them refuses it.
fn agree_on_variants(stream: &[u8]) -> Result<()> {
    let dir = paths::work("variants")?;
    let mut paths = Vec::new();
    let mut ours = Vec::new();
    for (number, variant) in variants(stream)?.iter().enumerate() {
        let path = dir.join(number.to_string());
        fs::write(&path, variant)?;
        paths.push(path);
        let verdict = verdict(variant).unwrap_or_else(|_| "malformed".to_owned());
        writeln!(ours, "{verdict}")?;
    }
    compare("-j", &paths, &ours)
}

/// The stream with batches that are missing, doubled and swapped, cut, and with damage to each word of its
/// beginning.
fn variants(stream: &[u8]) -> Result<Vec<Vec<u8>>> {
    /// How far there is damage, in bytes: a header and some records.
    const DAMAGED: usize = 1024;

    let mut all: Vec<&[u8]> = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (batch, behind) = rest.split_at(Batch::parse(rest)?.size());
        all.push(batch);
        rest = behind;
    }
    let mut variants = vec![stream.to_vec()];
    for at in 0..all.len() {
        let mut batches = all.clone();
        batches.remove(at);
        variants.push(batches.concat());
        batches.splice(at..at, [all[at], all[at]]);
        variants.push(batches.concat());
        batches.remove(at);
        batches.swap(0, at);
        variants.push(batches.concat());
    }
    for at in (0..stream.len().min(DAMAGED)).step_by(4) {
        variants.push(stream[..at].to_vec());
        for change in [1_u32, 8, u32::MAX] {
            let mut damaged = stream.to_vec();
            let word = damaged[at..at + 4].first_chunk_mut().context("a word")?;
            *word = (u32::from_ne_bytes(*word) ^ change).to_ne_bytes();
            variants.push(damaged);
        }
    }
    Ok(variants)
}

/// What is proved of a stream.
fn verdict(stream: &[u8]) -> Result<String, DecodeError> {
    let mut judge = Judge::default();
    for batch in batches(stream) {
        let batch = batch?;
        for record in batch.records() {
            record?;
        }
        judge.add(&BatchEvidence::new(&batch));
    }
    Ok(judge.judgement().to_string())
}

/// Writes the files that the guest has handed out to a folder of their own, which it returns.
///
/// See `streams.rs` of the guest for the form. Fails where the end is missing.
pub fn unpack(handed_out: &Path, dir: &str) -> Result<PathBuf> {
    let _ = fs::remove_dir_all(paths::work(dir)?);
    let dir = paths::work(dir)?;
    let bytes = fs::read(handed_out).with_context(|| handed_out.display().to_string())?;
    let mut rest = &bytes[..];
    loop {
        let mut take = |len: usize| {
            let (taken, left) = rest
                .split_at_checked(len)
                .with_context(|| format!("{} ends too early", handed_out.display()))?;
            rest = left;
            anyhow::Ok(taken)
        };
        let len = u32::from_ne_bytes(take(4)?.try_into()?) as usize;
        let contents = u32::from_ne_bytes(take(4)?.try_into()?) as usize;
        let name = std::str::from_utf8(take(len)?)?;
        if name == "end" {
            return Ok(dir);
        }
        fs::write(dir.join(name), take(contents)?)?;
    }
}

fn streams(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut streams = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "stream")
        {
            streams.push(path);
        }
    }
    streams.sort();
    Ok(streams)
}

fn as_maps(stream: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for batch in batches(stream) {
        for mapping in batch?.mappings() {
            text::write_line(&mut out, &mapping?)?;
        }
    }
    Ok(out)
}

fn all_fields(items: &[Item], stream: &[u8]) -> Result<Vec<u8>> {
    let fields = |name: &str| {
        items
            .iter()
            .find_map(|item| match item {
                Item::Struct(item) if item.name == name => Some(&item.fields[..]),
                _ => None,
            })
            .with_context(|| format!("wire.rs has no {name}"))
    };
    let batch_fields = fields("maps_lockless_batch")?;
    let file_fields = fields("maps_lockless_file")?;
    let vma_fields = fields("maps_lockless_vma")?;
    let mut out = Vec::new();
    for batch in batches(stream) {
        let batch = batch?;
        let header = shown(batch_fields, batch.header().as_bytes())?;
        writeln!(out, "batch{header}")?;
        for record in batch.records() {
            match record? {
                Record::Vma(vma) => {
                    let fixed = shown(vma_fields, vma.fields.as_bytes())?;
                    writeln!(out, "vma{fixed} name={}", hex(vma.name))?;
                }
                Record::File(file) => {
                    let fixed = shown(file_fields, file.fields.as_bytes())?;
                    writeln!(out, "file{fixed} {}", of_file(&file))?;
                }
                Record::Unknown(range) => {
                    writeln!(out, "unknown start={} end={}", range.start, range.end)?;
                }
                Record::Unchanged(unchanged) => {
                    let (range, vmas) = (&unchanged.range, unchanged.vma_count);
                    let (start, end) = (range.start, range.end);
                    writeln!(out, "unchanged start={start} end={end} vma_count={vmas}")?;
                }
                Record::Other { r#type, bytes } => {
                    writeln!(out, "other type={} size={}", r#type, bytes.len())?;
                }
                other => bail!("{other:?} is not compared"),
            }
        }
    }
    writeln!(out, "listing {}", verdict(stream)?)?;
    Ok(out)
}

/// What is known of a file beyond its fields.
fn of_file(file: &File<'_>) -> String {
    let deleted = match file.deleted() {
        None => "unknown",
        Some(true) => "yes",
        Some(false) => "no",
    };
    let build_id = match file.build_id() {
        BuildId::Unknown => "unknown".to_owned(),
        BuildId::Absent => "absent".to_owned(),
        BuildId::NotResident => "not-resident".to_owned(),
        BuildId::Present(id) => hex(id),
    };
    let path = hex(file.path);
    format!("path={path} deleted={deleted} build_id={build_id}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A struct's fields and their values.
fn shown(fields: &[Field], bytes: &[u8]) -> Result<String> {
    let mut out = String::new();
    for field in fields {
        let rest = bytes.get(field.offset..).unwrap_or_default();
        let value = match field.kind.as_str() {
            "u8" => rest.first().map(|&b| u64::from(b)),
            "u16" => rest
                .first_chunk()
                .map(|b| u64::from(u16::from_ne_bytes(*b))),
            "u32" => rest
                .first_chunk()
                .map(|b| u64::from(u32::from_ne_bytes(*b))),
            "u64" => rest.first_chunk().map(|b| u64::from_ne_bytes(*b)),
            _ => None,
        };
        let value = value.with_context(|| format!("{} of {}", field.name, field.kind))?;
        out += &format!(" {}={value}", field.name);
    }
    Ok(out)
}
