// SPDX-License-Identifier: MIT OR Apache-2.0

//! Looks addresses of a process up: what is mapped there, at which offset of which file, and the file's
//! build ID. That is what it takes to find a symbol, here or on another machine.
//!
//!     cargo run --example symbolise -- PID ADDRESS...
//!
//! Addresses are hexadecimal, with or without `0x`. Each is looked up in the live process, without
//! reading the other mappings where the kernel can.

use maps_lockless::{BuildId, Fields, Lookup, Process, Request};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let pid = args.next().ok_or("usage: symbolise PID ADDRESS...")?;
    let request = Request {
        fields: Fields::ALL,
        ..Request::default()
    };
    let lookup = Process::pinned(pid.parse()?)?.lookup(&request)?;
    for address in args {
        let digits = address.strip_prefix("0x").unwrap_or(&address);
        let address = u64::from_str_radix(digits, 16)?;
        println!("{address:#x} {}", tell(&lookup, address)?);
    }
    Ok(())
}

fn tell(lookup: &Lookup, address: u64) -> Result<String, Box<dyn Error>> {
    let Some(mapping) = lookup.find(address)? else {
        return Ok("is not mapped".into());
    };
    let name = mapping.name.as_ref().to_maps();
    let name = match name.is_empty() {
        true => "[anonymous]".into(),
        false => name.escape_ascii().to_string(),
    };
    // A lookup's record may begin within the mapping. The offset is that of where it begins.
    let offset = match mapping.offset {
        Some(offset) => format!("file offset {:#x}", offset + (address - mapping.start)),
        None => "no file".into(),
    };
    let build_id = match mapping.build_id {
        BuildId::Present(id) => id.iter().map(|byte| format!("{byte:02x}")).collect(),
        BuildId::Absent => "none".into(),
        BuildId::NotResident => "not in memory".into(),
        BuildId::Unknown => "unknown".to_string(),
    };
    Ok(format!("{name}, {offset}, build ID {build_id}"))
}
