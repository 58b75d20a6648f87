#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Decodes the file /proc/PID/maps_lockless. Written from docs/abi.md alone.

    maps_lockless.py -m FILE...  writes what maps would show
    maps_lockless.py -a FILE...  writes all fields of all batches and records, and what is proved
    maps_lockless.py -j FILE...  writes a line for each file: what is proved, or that it is malformed

It shares no code with the library, so that their agreement says something of the document.
"""

import struct
import sys

MAGIC = 0x4C50414D
BATCH = struct.Struct("=IHHIIIIQQQQQQQQQII")
BATCH_NAMES = (
    "magic version header_size size count flags end_reason begin next mm_id seq_begin seq_end request "
    "fields_supported fields_wanted vma_flags_supported page_size vma_count"
).split()
VMA = struct.Struct("=HHIQIHBBQQQQQII")
VMA_NAMES = (
    "type fixed_size size valid flags name_kind page_shift pkey start end vma_start vma_flags offset "
    "file name_len"
).split()
FILE = struct.Struct("=HHIQIIQIIII")
FILE_NAMES = (
    "type fixed_size size valid flags path_len ino dev_major dev_minor build_id_len reserved"
).split()
UNKNOWN = struct.Struct("=HHIQQ")
UNKNOWN_NAMES = "type fixed_size size start end".split()
UNCHANGED = struct.Struct("=HHIQQII")
UNCHANGED_NAMES = "type fixed_size size start end vma_count reserved".split()

FINAL, FIRST = 0x1, 0x4
END_COMPLETE, END_GONE = 2, 3
TYPE_VMA, TYPE_FILE, TYPE_UNKNOWN, TYPE_UNCHANGED = 1, 2, 3, 4
FIELD_NAME, FIELD_PATH, FIELD_DELETED, FIELD_BUILD_ID = 0x8, 0x400, 0x800, 0x1000
FILE_DELETED, FILE_BUILD_ID_NOT_RESIDENT = 0x1, 0x4
NO_FILE = dict.fromkeys(FILE_NAMES, 0) | {"path": b"", "build_id": b""}


class Malformed(Exception):
    """The bytes are not of the format."""


def check(good, what, at):
    """Raises Malformed unless the bytes at an offset are good."""
    if not good:
        raise Malformed(f"{what} at {at}")


def batches(data):
    """Yields each batch's header, as a dict, and its records."""
    at = 0
    while at < len(data):
        check(len(data) - at >= BATCH.size, "truncated header", at)
        header = dict(zip(BATCH_NAMES, BATCH.unpack_from(data, at)))
        check(header["magic"] == MAGIC and header["version"] == 1, "not version 1", at)
        size, begin = header["size"], header["header_size"]
        check(BATCH.size <= begin <= size <= len(data) - at, "bad size", at)
        yield header, list(records(data[at : at + size], begin, header["count"]))
        at += size


def records(batch, begin, count):
    """Yields the records of a batch, as dicts. A VMA's has that of its file, or NO_FILE."""
    at = begin
    for _ in range(count):
        kind, _, size = head(batch, at)
        record = {"type": kind, "size": size}
        if kind == TYPE_FILE:
            record = file(batch, at)
        elif kind == TYPE_UNKNOWN:
            record = fixed(batch, at, UNKNOWN, UNKNOWN_NAMES)
            check(record["start"] <= record["end"], "bad range", at)
        elif kind == TYPE_UNCHANGED:
            record = fixed(batch, at, UNCHANGED, UNCHANGED_NAMES)
            check(record["start"] <= record["end"], "bad range", at)
        elif kind == TYPE_VMA:
            record = fixed(batch, at, VMA, VMA_NAMES)
            check(record["vma_start"] <= record["start"] <= record["end"], "bad range", at)
            record["name"], _ = blob(batch, at, record["fixed_size"], record["name_len"])
            offset = record["file"]
            if offset:
                check(offset % 8 == 0 and begin <= offset < at, "bad file", at)
                # It must end before this record begins.
                record["of"] = file(batch[:at], offset)
                check(record["of"]["type"] == TYPE_FILE, "bad file", at)
            else:
                record["of"] = NO_FILE
        yield record
        at += size
    check(at == len(batch), "bytes behind the last record", at)


def head(batch, at):
    """Type, fixed size and size of the record at an offset, which ends in the batch."""
    check(len(batch) - at >= 8, "truncated record", at)
    kind, fixed_size, size = struct.unpack_from("=HHI", batch, at)
    check(size >= 8 and size % 8 == 0 and size <= len(batch) - at, "bad record size", at)
    check(fixed_size <= size, "bad fixed size", at)
    return kind, fixed_size, size


def fixed(batch, at, layout, names):
    """The fixed part of the record at an offset, as a dict."""
    _, fixed_size, _ = head(batch, at)
    check(fixed_size >= layout.size, "bad fixed size", at)
    return dict(zip(names, layout.unpack_from(batch, at)))


def blob(batch, at, offset, length):
    """Bytes of the record at an offset, and where in the record those end that pad them."""
    _, _, size = head(batch, at)
    end = offset + (length + 7) // 8 * 8
    check(end <= size, "bytes outside the record", at)
    return batch[at + offset : at + offset + length], end


def file(batch, at):
    """The record of a file, as a dict."""
    record = fixed(batch, at, FILE, FILE_NAMES)
    record["path"], end = blob(batch, at, record["fixed_size"], record["path_len"])
    check(record["build_id_len"] <= 20, "bad build ID", at)
    record["build_id"], _ = blob(batch, at, end, record["build_id_len"])
    return record


def judge(listing):
    """What is proved of a listing: a list of what batches() yields."""
    if not listing:
        return "tearing unknown"
    first, last = listing[0][0], listing[-1][0]
    gap = not first["flags"] & FIRST
    for (before, _), (after, _) in zip(listing, listing[1:]):
        gap |= bool(before["flags"] & FINAL or after["flags"] & FIRST)
        gap |= before["next"] != after["begin"]
        gap |= any(before[name] != after[name] for name in ("request", "mm_id"))
    counts = {header[name] for header, _ in listing for name in ("seq_begin", "seq_end")}
    unknown = any(record["type"] == TYPE_UNKNOWN for _, all in listing for record in all)
    if gap:
        return "gap in the listing"
    if not last["flags"] & FINAL or last["end_reason"] not in (END_COMPLETE, END_GONE):
        return "tearing unknown"
    if last["end_reason"] == END_GONE:
        return "possibly torn"
    if not first["mm_id"]:
        return "tearing unknown"
    if unknown or len(counts) > 1 or counts.pop() % 2:
        return "possibly torn"
    return "consistent"


def token(listing):
    """Identity and change count of a listing that is proved consistent, or None."""
    if judge(listing) != "consistent":
        return None
    header = listing[0][0]
    return header["mm_id"], header["seq_begin"]


class Contradiction(Exception):
    """An unchanged range has more VMAs than the earlier listing."""


def merge(earlier, listing, read_again):
    """The VMA records of a listing of what has changed since an earlier one, and whether they are proved.

    earlier has the VMA records of the earlier listing, which was proved, and listing is what batches() yields of the
    listing of what has changed. read_again(start, end) returns what batches() yields of a listing of a range.
    """
    merged = []
    proved = token(listing)
    moment = proved
    for record in (record for _, all in listing for record in all):
        if record["type"] == TYPE_VMA:
            merged.append(record)
        elif record["type"] == TYPE_UNCHANGED:
            start, end, count = record["start"], record["end"], record["vma_count"]
            held = [vma for vma in earlier if vma["start"] < end and start < vma["end"]]
            if len(held) < count:
                raise Contradiction(f"{count} VMAs and not {len(held)} from {start:#x} to {end:#x}")
            if len(held) > count:
                again = list(read_again(start, end))
                if token(again) != moment:
                    proved = None
                held = [vma for _, all in again for vma in all if vma["type"] == TYPE_VMA]
            merged += held
    return merged, proved is not None


def shown_name(record):
    """What maps shows behind the inode number."""
    name, of = record["name"], record["of"]
    kind = record["name_kind"] if record["valid"] & FIELD_NAME else 0
    if kind:
        return {
            1: b"[anon:" + name + b"]",
            2: b"[anon_shmem:" + name + b"]",
            3: b"[heap]",
            4: b"[stack]",
            5: name,
        }.get(kind, b"")
    if not of["valid"] & FIELD_PATH:
        return b""
    deleted = of["valid"] & FIELD_DELETED and of["flags"] & FILE_DELETED
    return of["path"].replace(b"\n", b"\\012") + (b" (deleted)" if deleted else b"")


def maps_line(record):
    """The line that maps shows for a VMA's record."""
    flags, of, shown = record["vma_flags"], record["of"], shown_name(record)
    permissions = "".join(
        letter if flags >> bit & 1 else "-" for bit, letter in enumerate("rwx")
    ) + ("s" if flags >> 3 & 1 else "p")
    line = "%08x-%08x %s %08x %02x:%02x %d " % (
        record["start"],
        record["end"],
        permissions,
        record["offset"],
        of["dev_major"],
        of["dev_minor"],
        of["ino"],
    )
    if shown:
        line = line.ljust(73)
    return line.encode() + shown + b"\n"


def build_id(record):
    """What is known of a file's build ID."""
    if not record["valid"] & FIELD_BUILD_ID:
        return "not-resident" if record["flags"] & FILE_BUILD_ID_NOT_RESIDENT else "unknown"
    return record["build_id"].hex() or "absent"


def deleted(record):
    """Whether a file was unlinked."""
    if not record["valid"] & FIELD_DELETED:
        return "unknown"
    return "yes" if record["flags"] & FILE_DELETED else "no"


def all_fields(record):
    """A line with all that is known of a record."""
    kind = record["type"]
    if kind == TYPE_VMA:
        return fields("vma", VMA_NAMES, record) + f" name={record['name'].hex()}"
    if kind == TYPE_FILE:
        line = fields("file", FILE_NAMES, record) + f" path={record['path'].hex()}"
        return line + f" deleted={deleted(record)} build_id={build_id(record)}"
    if kind == TYPE_UNKNOWN:
        return fields("unknown", ("start", "end"), record)
    if kind == TYPE_UNCHANGED:
        return fields("unchanged", ("start", "end", "vma_count"), record)
    return fields("other", ("type", "size"), record)


def fields(what, names, values):
    """A line with fields of a header or a record."""
    return what + "".join(f" {name}={values[name]}" for name in names)


def lines(option, data):
    """Yields what an option writes of a stream, line by line."""
    if option == "-j":
        try:
            yield judge(list(batches(data))).encode() + b"\n"
        except Malformed:
            yield b"malformed\n"
        return
    listing = list(batches(data))
    for header, all in listing:
        if option == "-m":
            yield from (maps_line(record) for record in all if record["type"] == TYPE_VMA)
            continue
        yield fields("batch", BATCH_NAMES, header).encode() + b"\n"
        yield from (all_fields(record).encode() + b"\n" for record in all)
    if option == "-a":
        yield b"listing " + judge(listing).encode() + b"\n"


def main(args):
    if len(args) < 2 or args[0] not in ("-a", "-j", "-m"):
        sys.exit(__doc__)
    for path in args[1:]:
        with open(path, "rb") as stream:
            sys.stdout.buffer.writelines(lines(args[0], stream.read()))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Malformed as error:
        sys.exit(f"maps_lockless.py: {error}")
