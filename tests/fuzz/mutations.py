"""Damage to the bytes of a file, as careless exports, tired people and malice produce it."""

from __future__ import annotations

import random
from collections.abc import Callable

ODD_CELLS = [
    "", " ", "0", "-1", "-0", "1e9", "1e308", "1e309", "-1e309", "nan", "NaN", "inf", "-inf",
    "Infinity", "99999999999999999999999999", "1_000", "0x10", "1,5", "1.5", "0.5", "٣", "½",
    "1e-400", "TRUE",
    "None", "NULL", "=1+1", "=cmd|'/c calc'!A1", "+1", "@SUM(A1)", "<script>alert(1)</script>",
    "../../etc/passwd", "a,b", 'a"b', '"', "'", "\\", "%s%n", "{0}", "[bold]", "x" * 10_000,
    "9" * 400, "é", "e\u0301", "\u202eabc", "\ufeff", "\u200b", "🧬", "\x1b[31m", "\x7f",
    "\x85", "\u2028",
    "a->b",    "share[her2=low]", "hazard_ratio[os ; ihc: 2+ vs 1+] < 1", "any", "-", "--",
    "#", "2020-01-01",
]  # fmt: skip
ODD_BYTES = [
    b"\x00", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b'"', b",", b";",
    b"\t",
    b"\x1a", b"\xc3", b"\xed\xa0\x80", b"=", b"[", b"]", b"#", b"'", b"{", b"}", b"\\",
]  # fmt: skip

Change = Callable[[bytes, random.Random], bytes]


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Apply one to three changes."""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        raw = chance.choice(CHANGES)(raw, chance)
    return raw


def _place(raw: bytes, chance: random.Random) -> int:
    return chance.randint(0, max(len(raw) - 1, 0))


def flip(raw: bytes, chance: random.Random) -> bytes:
    """Flip one bit."""
    if not raw:
        return raw
    at = _place(raw, chance)
    return raw[:at] + bytes([raw[at] ^ (1 << chance.randrange(8))]) + raw[at + 1 :]


def insert(raw: bytes, chance: random.Random) -> bytes:
    """Put odd bytes somewhere."""
    at = _place(raw, chance)
    return raw[:at] + chance.choice(ODD_BYTES) + raw[at:]


def cut(raw: bytes, chance: random.Random) -> bytes:
    """Lose the end, the beginning or the middle."""
    one, two = sorted((_place(raw, chance), _place(raw, chance)))
    return chance.choice([raw[:one], raw[one:], raw[:one] + raw[two:], raw[: one // 8]])


def whole(raw: bytes, chance: random.Random) -> bytes:
    """Make it another file altogether."""
    return chance.choice(
        [b"", b"\n", b" ", b"\x00" * 64, b"PAR1", b"PK\x03\x04",
         raw.decode("latin-1").encode("utf-16"),
         b"\xef\xbb\xbf" + raw, raw.replace(b"\n", b"\r\n"), raw.replace(b"\n", b"\r"), raw + raw,
         raw.replace(b",", b";"), raw.replace(b",", b"\t"), raw.replace(b".", b","), b"," * 5000,
         raw.swapcase(), raw.replace(b"\n", b"\n\n"), b"#" + raw, raw.rstrip(), raw + b"\n,,,\n"]
    )  # fmt: skip


def cells(raw: bytes, chance: random.Random) -> bytes:
    """Replace a cell, or swap two."""
    lines = [line.split(b",") for line in raw.split(b"\n")]
    row = chance.choice(lines)
    other = chance.choice(lines)
    one, two = chance.randrange(len(row)), chance.randrange(len(other))
    if chance.random() < 0.75:
        row[one] = chance.choice(ODD_CELLS).encode()
    else:
        row[one], other[two] = other[two], row[one]
    return b"\n".join(b",".join(line) for line in lines)


def column(raw: bytes, chance: random.Random) -> bytes:
    """Replace every cell of a column below the header."""
    lines = [line.split(b",") for line in raw.split(b"\n")]
    at, text = chance.randrange(len(lines[0])), chance.choice(ODD_CELLS).encode()
    for line in lines[1:]:
        if at < len(line):
            line[at] = text
    return b"\n".join(b",".join(line) for line in lines)


def values(raw: bytes, chance: random.Random) -> bytes:
    """Replace what stands right of an equals sign (TOML)."""
    lines = raw.split(b"\n")
    entries = [n for n, line in enumerate(lines) if b" = " in line]
    if not entries:
        return cells(raw, chance)
    at = chance.choice(entries)
    odd = [b"1", b"-1", b"1.5", b"nan", b"inf", b"true", b"[]", b"[[]]", b"{}", b'""', b"[1, 2]",
           b'["a", "a"]', b'{a = "b"}', b"1979-05-27", b'"x"', b"[{}]", b'[["a"]]',
           b"[[1, 2], 3]", b"999999999999999999999", b'"' + b"x" * 10_000 + b'"',
           b'"../../etc/passwd"']  # fmt: skip
    lines[at] = lines[at].split(b" = ")[0] + b" = " + chance.choice(odd)
    return b"\n".join(lines)


def names(raw: bytes, chance: random.Random) -> bytes:
    """Replace what stands left of an equals sign, or a [table] (TOML)."""
    lines = raw.split(b"\n")
    at = chance.randrange(len(lines))
    if b" = " in lines[at]:
        rest = lines[at].partition(b" = ")[2]
        other = chance.choice([b"axes", b"cross", b"schema", b'""', b'"a b"', b"column", b"x"])
        lines[at] = other + b" = " + rest
    else:
        lines[at] = chance.choice(
            [b"[axes]", b"[[axes]]", b"[factors]", b"[x.y]", b"[]", b"[[files]]"]
        )
    return b"\n".join(lines)


def header(raw: bytes, chance: random.Random) -> bytes:
    """Double, drop, rename or empty a name of the header."""
    first, mark, rest = raw.partition(b"\n")
    named = first.split(b",")
    at = chance.randrange(len(named))
    named[at] = chance.choice(
        [named[chance.randrange(len(named))], b"", b"x", named[at] + b" ", b'"']
    )
    if chance.random() < 0.2:
        del named[at]
    return b",".join(named) + mark + rest


def rows(raw: bytes, chance: random.Random) -> bytes:
    """Drop, double, move or repeat lines."""
    lines = raw.split(b"\n")
    at = chance.randrange(len(lines))
    how = chance.randrange(4)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(at, lines[at])
    elif how == 2:
        chance.shuffle(lines)
    else:
        lines = lines[: at + 1] * chance.choice([1, 2])
    return b"\n".join(lines)


CHANGES: list[Change] = [
    flip,
    insert,
    cut,
    whole,
    cells,
    cells,
    cells,
    column,
    values,
    names,
    header,
    rows,
]
