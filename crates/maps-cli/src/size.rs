// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sizes as util-linux shows them, in four places.

use crate::output::text::decimal;

const UNITS: &[u8; 7] = b"BKMGTPE";

/// A size in bytes: `132K`, `1.5M`. K is 1024 bytes. No crate at hand has this form.
pub fn human(bytes: u64) -> String {
    let mut size = Vec::new();
    write_human(&mut size, bytes);
    size.into_iter().map(char::from).collect()
}

/// Adds that to a line.
pub fn write_human(line: &mut Vec<u8>, bytes: u64) {
    let mut unit = 0;
    while bytes >> (10 * unit) >= 1024 {
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10 + (1 << (10 * unit) >> 1)) >> (10 * unit);
    // Ten times what is less than 1024.
    let tenths = tenths as u64;
    match tenths {
        // Rounding can lead to the next unit.
        10_235.. => {
            unit += 1;
            decimal(line, 1);
        }
        100.. => decimal(line, (tenths + 5) / 10),
        _ => {
            decimal(line, tenths / 10);
            if tenths % 10 > 0 {
                line.push(b'.');
                decimal(line, tenths % 10);
            }
        }
    }
    line.push(UNITS[unit]);
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_have_four_places() {
        for (bytes, shown) in [
            (0, "0B"),
            (512, "512B"),
            (4096, "4K"),
            (132 << 10, "132K"),
            ((1 << 20) - 4096, "1020K"),
            ((1 << 20) - 1, "1M"),
            (3 << 19, "1.5M"),
            (10 << 20, "10M"),
            ((10 << 20) + (1 << 19), "11M"),
            (128 << 40, "128T"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(human(bytes), shown, "{bytes}");
        }
    }
}
