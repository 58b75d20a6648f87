#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Decodes the file /proc/PID/maps_lockless. Written from docs/abi.md alone.

    maps_lockless.py FILE...     writes what maps would show
    maps_lockless.py -b FILE...  writes the batches' headers besides

It shares no code with the library, so that their agreement says something of the document.
"""

import struct
import sys

MAGIC = 0x4C50414D
HEADER = struct.Struct("=IHHIIIIQQQQQQII")
VMA = struct.Struct("=HHIQIIQQQQQQIIII")
FINAL = 0x1
TYPE_VMA = 1
FIELD_FLAGS, FIELD_PGOFF, FIELD_DEV, FIELD_INO, FIELD_NAME = (1 << n for n in range(5))
DELETED = 0x8
END = {1: "full", 2: "complete", 3: "gone", 4: "no mm", 5: "budget", 6: "signal", 7: "poll"}


class Malformed(Exception):
    """The bytes are not of the format."""


def batches(data):
    """Yields each batch's header, as a dict, and its records."""
    at = 0
    while at < len(data):
        if len(data) - at < HEADER.size:
            raise Malformed(f"truncated header at {at}")
        names = (
            "magic version header_size size count flags end_reason next mm_id seq_begin seq_end "
            "fields vma_flags page_size reserved"
        )
        header = dict(zip(names.split(), HEADER.unpack_from(data, at)))
        if header["magic"] != MAGIC or header["version"] != 1:
            raise Malformed(f"not version 1 of the format at {at}")
        size, begin = header["size"], header["header_size"]
        if begin < HEADER.size or size < begin or size > len(data) - at:
            raise Malformed(f"bad size at {at}")
        batch = data[at : at + size]
        yield header, list(records(batch, begin, header["count"]))
        at += size


def records(batch, at, count):
    """Yields the VMA records of a batch, as dicts."""
    begin = at
    for _ in range(count):
        if len(batch) - at < 8:
            raise Malformed(f"truncated record at {at}")
        kind, fixed, size = struct.unpack_from("=HHI", batch, at)
        if size < 8 or size % 8 or size > len(batch) - at:
            raise Malformed(f"bad record size at {at}")
        if kind == TYPE_VMA:
            if fixed < VMA.size or fixed > size:
                raise Malformed(f"bad fixed size at {at}")
            names = (
                "type fixed_size size valid flags name_kind start end vma_start vma_flags pgoff ino "
                "dev_major dev_minor name_off name_len"
            )
            record = dict(zip(names.split(), VMA.unpack_from(batch, at)))
            off, length = record["name_off"], record["name_len"]
            if length and not begin <= off <= off + length <= at + size:
                raise Malformed(f"bad name at {at}")
            record["name"] = batch[off : off + length]
            yield record
        at += size
    if at != len(batch):
        raise Malformed("bytes behind the last record")


def maps_line(record):
    """The line that maps shows for a record."""
    flags, name = record["vma_flags"], record["name"]
    permissions = "".join(
        letter if flags >> bit & 1 else "-" for bit, letter in enumerate("rwx")
    ) + ("s" if flags >> 3 & 1 else "p")
    shown = {
        0: b"",
        1: name.replace(b"\n", b"\\012") + (b" (deleted)" if record["flags"] & DELETED else b""),
        2: b"[anon:" + name + b"]",
        3: b"[anon_shmem:" + name + b"]",
        4: b"[heap]",
        5: b"[stack]",
        6: name,
    }.get(record["name_kind"], b"")
    line = "%08x-%08x %s %08x %02x:%02x %d " % (
        record["start"],
        record["end"],
        permissions,
        record["pgoff"],
        record["dev_major"],
        record["dev_minor"],
        record["ino"],
    )
    if shown:
        line = line.ljust(73)
    return line.encode() + shown + b"\n"


def main(args):
    show_batches = args[:1] == ["-b"]
    out = sys.stdout.buffer
    for path in args[show_batches:]:
        with open(path, "rb") as file:
            data = file.read()
        final = False
        for header, vmas in batches(data):
            if show_batches:
                reason = END.get(header["end_reason"], "?")
                text = "# batch: %d records, %s, mm %d, count %d to %d\n"
                values = (header["count"], reason, header["mm_id"])
                out.write((text % (*values, header["seq_begin"], header["seq_end"])).encode())
            for vma in vmas:
                out.write(maps_line(vma))
            final = header["flags"] & FINAL
        if not final:
            raise Malformed(f"{path} has no final batch: the listing is not complete")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Malformed as error:
        sys.exit(f"maps_lockless.py: {error}")
