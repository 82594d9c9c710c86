"""Metrics in Prometheus' text format 0.0.4, written as Go's client library writes them.

Members count in plain integers and in `Histogram`s; when somebody asks, those become `Family`s.
(The Python client library cannot name a counter without `_total`, as etcd has several.)

Not here: what is counted (member/measures.py, api/calls.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Kind(Enum):
    """Of a family."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """Edges of a histogram, each `factor` times the one before."""
    edges = [start]
    while len(edges) < count:
        edges.append(edges[-1] * factor)
    return tuple(edges)


SECONDS = exponential(0.001, 2, 14)
"""Edges of most durations in etcd: 1 ms to 8 s."""


class Histogram:
    """How often a value was at most each edge."""

    __slots__ = ("_counts", "_edges", "total")

    def __init__(self, edges: tuple[float, ...] = SECONDS) -> None:
        self._edges = edges
        self._counts = [0] * (len(edges) + 1)
        self.total = 0.0
        """The sum of all values."""

    def observe(self, value: float) -> None:
        """One more. Of one histogram, call it from one thread at a time."""
        self._counts[bisect_left(self._edges, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, int]]:
        """Each edge, and how many values were at most that."""
        out, seen = [], 0
        for edge, count in zip((*map(number, self._edges), "+Inf"), self._counts, strict=True):
            seen += count
            out.append((edge, seen))
        return out


Labels = Mapping[str, str]


class Sample(NamedTuple):
    """One series."""

    value: float | Histogram
    labels: Labels = {}


class Family(NamedTuple):
    """Series of one name."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]


def counter(name: str, help_: str, value: float) -> Family:
    """A counter without labels."""
    return Family(name, Kind.COUNTER, help_, (Sample(value),))


def gauge(name: str, help_: str, value: float) -> Family:
    """A gauge without labels."""
    return Family(name, Kind.GAUGE, help_, (Sample(value),))


def histogram(name: str, help_: str, value: Histogram) -> Family:
    """A histogram without labels."""
    return Family(name, Kind.HISTOGRAM, help_, (Sample(value),))


def render(families: Iterable[Family]) -> bytes:
    """The page, in the order of names. Families without series are left out."""
    lines: list[str] = []
    for family in sorted(families, key=lambda one: one.name):
        if not family.samples:
            continue
        text = family.help.replace("\\", r"\\").replace("\n", r"\n")
        lines += (f"# HELP {family.name} {text}", f"# TYPE {family.name} {family.kind.value}")
        for sample in family.samples:
            lines += _series(family.name, sample)
    return ("\n".join(lines) + "\n").encode()


def _series(name: str, sample: Sample) -> Iterable[str]:
    value, labels = sample
    if not isinstance(value, Histogram):
        yield f"{name}{_labels(labels)} {number(value)}"
        return
    buckets = value.buckets()
    for edge, count in buckets:
        yield f"{name}_bucket{_labels({**labels, 'le': edge})} {count}"
    yield f"{name}_sum{_labels(labels)} {number(value.total)}"
    yield f"{name}_count{_labels(labels)} {buckets[-1][1]}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{_quoted(value)}"' for name, value in labels.items()]) + "}"


@lru_cache(maxsize=1000)
def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def number(value: float) -> str:
    """As Go prints the shortest form of a float: with an exponent from a million on."""
    if type(value) is int and -1_000_000 < value < 1_000_000:  # nearly all of a page
        return str(value)
    if value != value or value in (float("inf"), float("-inf")):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(str(value), "NaN")
    exact = Decimal(repr(value + 0))  # a bool is a number, too
    sign, digits, _ = exact.as_tuple()
    exponent = exact.adjusted()
    if value == 0 or -4 <= exponent < 6:
        text = format(exact, "f")
        return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
    mantissa = "".join(map(str, digits)).rstrip("0")
    return (f"{'-' if sign else ''}{mantissa[0]}{'.' if mantissa[1:] else ''}{mantissa[1:]}"
            f"e{exponent:+03d}")
