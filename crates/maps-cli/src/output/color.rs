// SPDX-License-Identifier: MIT OR Apache-2.0

//! Colour by permission.

use crate::listing::is_writable_executable;
use anstyle::{AnsiColor, Style};
use maps_lockless::MappingRef;

/// The colour of a mapping's line. What may be written and executed stands out.
pub fn of(mapping: &MappingRef<'_>) -> Style {
    let Some(permissions) = mapping.permissions() else {
        return Style::new().dimmed();
    };
    if is_writable_executable(mapping) {
        return Style::new()
            .fg_color(Some(AnsiColor::BrightRed.into()))
            .bold()
            .invert();
    }
    if permissions.execute {
        return AnsiColor::Green.on_default();
    }
    if permissions.write {
        return AnsiColor::Yellow.on_default();
    }
    match permissions.read {
        true => Style::new(),
        false => Style::new().dimmed(),
    }
}
