"""Forms of output that are Go's: its JSON, its quotes, sizes, durations and tables.

Not here: what is printed (printer.py).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message as Proto

_ESCAPES = {7: r"\a", 8: r"\b", 9: r"\t", 10: r"\n", 11: r"\v", 12: r"\f", 13: r"\r",
            34: r"\"", 92: r"\\"}


def value_of(message: Proto) -> dict[str, Any]:
    """A message as Go's JSON has it: numbers as numbers, bytes in base64, nothing that is zero."""
    out: dict[str, Any] = {}
    for field, value in message.ListFields():
        convert = _convert
        one = field.containing_oneof
        name = field.name
        shown = ([convert(field, each) for each in value] if field.is_repeated
                 else convert(field, value))
        if one is not None and one.name == "response":
            shown = {"".join(part.capitalize() for part in name.split("_")): shown}
            name = "Response"
        out[name] = shown
    return out


def _convert(field: FieldDescriptor, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return value_of(value)
    return base64.b64encode(value).decode() if field.type == FieldDescriptor.TYPE_BYTES else value


def go_json(value: Any) -> str:
    """One line of JSON, with what HTML minds escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def quoted(value: bytes | str) -> str:
    """As Go's `%q`."""
    text = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
    out = []
    for sign in text:
        code = ord(sign)
        if code in _ESCAPES:
            out.append(_ESCAPES[code])
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02x}")
        elif sign.isprintable():
            out.append(sign)
        elif code < 0x80:
            out.append(f"\\x{code:02x}")
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


def size(count: int) -> str:
    """Bytes for people: two digits, powers of a thousand."""
    if count < 10:
        return f"{count} B"
    units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
    scaled, at = float(count), 0
    while scaled >= 1000 and at < len(units) - 1:
        scaled /= 1000
        at += 1
    scaled = int(scaled * 10 + 0.5) / 10
    return f"{scaled:.1f} {units[at]}" if scaled < 10 else f"{scaled:.0f} {units[at]}"


def took(seconds: float) -> str:
    """A duration as Go prints it."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.6f}".rstrip("0").rstrip(".") + unit
    return f"{round(seconds * 1e9)}ns"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: titles in the middle, cells to the right."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    line = "+" + "+".join("-" * (width + 2) for width in widths) + "+\n"

    def shown(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |\n"

    titles = ((" " * ((width - len(text)) // 2) + text.upper()).ljust(width)
              for text, width in zip(head, widths, strict=True))
    return line + shown(titles) + line + "".join(
        shown(map(str.rjust, row, widths)) for row in rows) + line


def hexed(value: bytes) -> bytes:
    """Each byte as \\xNN."""
    return "".join(f"\\x{byte:02x}" for byte in value).encode()
