#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Decodes the file /proc/PID/maps_lockless. Written from docs/abi.md alone.

    maps_lockless.py -m FILE...  writes what maps would show
    maps_lockless.py -a FILE...  writes all fields of all batches and records

It shares no code with the library, so that their agreement says something of the document.
"""

import struct
import sys

MAGIC = 0x4C50414D
HEADER = struct.Struct("=IHHIIIIQQQQQQQII")
HEADER_NAMES = (
    "magic version header_size size count flags end_reason next mm_id seq_begin seq_end fields "
    "fields_asked vma_flags page_size reserved"
).split()
VMA = struct.Struct("=HHIQIIQQQQQQIIIIII")
VMA_NAMES = (
    "type fixed_size size valid flags name_kind start end vma_start vma_flags pgoff ino dev_major "
    "dev_minor name_off name_len build_id_off build_id_len"
).split()
FINAL = 0x1
TYPE_VMA = 1
FIELD_BUILD_ID = 0x20
DELETED = 0x8
BUILD_ID_NOT_RESIDENT = 0x20


class Malformed(Exception):
    """The bytes are not of the format."""


def batches(data):
    """Yields each batch's header, as a dict, and its records."""
    at = 0
    while at < len(data):
        if len(data) - at < HEADER.size:
            raise Malformed(f"truncated header at {at}")
        header = dict(zip(HEADER_NAMES, HEADER.unpack_from(data, at)))
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
            record = dict(zip(VMA_NAMES, VMA.unpack_from(batch, at)))
            for blob in ("name", "build_id"):
                off, length = record[blob + "_off"], record[blob + "_len"]
                if length and not begin <= off <= off + length <= at + size:
                    raise Malformed(f"bad {blob} at {at}")
                record[blob] = batch[off : off + length] if length else b""
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


def build_id(record):
    """What is known of a record's build ID."""
    if not record["valid"] & FIELD_BUILD_ID:
        return "not-resident" if record["flags"] & BUILD_ID_NOT_RESIDENT else "unknown"
    return record["build_id"].hex() or "absent"


def fields_line(what, names, values):
    """A line with all fields of a header or a record."""
    return what + "".join(f" {name}={values[name]}" for name in names)


def main(args):
    if len(args) < 2 or args[0] not in ("-a", "-m"):
        sys.exit(__doc__)
    out = sys.stdout.buffer
    for path in args[1:]:
        with open(path, "rb") as file:
            data = file.read()
        final = False
        for header, vmas in batches(data):
            if args[0] == "-a":
                out.write(fields_line("batch", HEADER_NAMES, header).encode() + b"\n")
            for vma in vmas:
                if args[0] == "-m":
                    out.write(maps_line(vma))
                    continue
                line = fields_line("vma", VMA_NAMES, vma)
                line += f" name={vma['name'].hex()} build_id={build_id(vma)}\n"
                out.write(line.encode())
            final = header["flags"] & FINAL
        if not final:
            raise Malformed(f"{path} has no final batch: the listing is not complete")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Malformed as error:
        sys.exit(f"maps_lockless.py: {error}")
