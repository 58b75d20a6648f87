// SPDX-License-Identifier: MIT OR Apache-2.0

//! The decoder in Python, written from docs/abi.md alone, against the library.

use crate::{
    paths,
    wire_source::{self, Field, Item},
};
use anyhow::{Context, Result, bail, ensure};
use maps_lockless::{
    BuildId,
    decode::{Record, batches},
    text,
};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};
use zerocopy::IntoBytes;

/// Fails where the two show different things of a stream in `dir`, in any field.
pub fn agree(dir: &Path) -> Result<()> {
    let streams = streams(dir)?;
    ensure!(!streams.is_empty(), "{} has no stream", dir.display());
    let items = wire_source::read()?;
    for path in streams {
        let bytes = fs::read(&path)?;
        for (option, ours) in [
            ("-m", as_maps(&bytes)?),
            ("-a", all_fields(&items, &bytes)?),
        ] {
            let theirs = Command::new("python3")
                .arg(paths::root().join("selftests/python/maps_lockless.py"))
                .arg(option)
                .arg(&path)
                .output()
                .context("python3")?;
            if !theirs.status.success() || theirs.stdout != ours {
                let differing = theirs
                    .stdout
                    .split(|&b| b == b'\n')
                    .zip(ours.split(|&b| b == b'\n'));
                let differing = differing.filter(|(a, b)| a != b).map(|(a, b)| {
                    format!(
                        "Python:  {}\nlibrary: {}\n",
                        a.escape_ascii(),
                        b.escape_ascii()
                    )
                });
                bail!(
                    "{} {option}: it shows something else\n{}{}",
                    path.display(),
                    String::from_utf8_lossy(&theirs.stderr),
                    differing.take(1).collect::<String>()
                );
            }
        }
    }
    Ok(())
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
    let (batch_fields, vma_fields) = (fields("maps_lockless_batch")?, fields("maps_lockless_vma")?);
    let mut out = Vec::new();
    for batch in batches(stream) {
        let batch = batch?;
        writeln!(
            out,
            "batch{}",
            shown(batch_fields, batch.header().as_bytes())?
        )?;
        for record in batch.records() {
            let Record::Vma(vma) = record? else {
                continue;
            };
            let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let build_id = match vma.build_id() {
                BuildId::Unknown => "unknown".to_owned(),
                BuildId::Absent => "absent".to_owned(),
                BuildId::NotResident => "not-resident".to_owned(),
                BuildId::Present(id) => hex(id),
            };
            let fixed = shown(vma_fields, vma.fields.as_bytes())?;
            writeln!(out, "vma{fixed} name={} build_id={build_id}", hex(vma.name))?;
        }
    }
    Ok(out)
}

/// A struct's fields and their values.
fn shown(fields: &[Field], bytes: &[u8]) -> Result<String> {
    let mut out = String::new();
    for field in fields {
        let rest = bytes.get(field.offset..).unwrap_or_default();
        let value = match field.kind.as_str() {
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
