"""Reading pages of metrics: small, and written against the format, not against our writer."""

import re
import urllib.error
import urllib.request
from dataclasses import dataclass, field

_SERIES = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')

Labels = frozenset[tuple[str, str]]


@dataclass
class Page:
    """`kinds` and `series` by family; series by name (with _bucket, _sum, _count) and labels."""

    kinds: dict[str, str] = field(default_factory=dict)
    series: dict[str, dict[tuple[str, Labels], float]] = field(default_factory=dict)

    def value(self, family: str, **labels: str) -> float:
        """The sum of a family's series that have these labels; of a histogram, its counts."""
        name = f"{family}_count" if self.kinds[family] == "histogram" else family
        wanted = set(labels.items())
        return sum(value for (one, has), value in self.series[family].items()
                   if one == name and wanted <= has)

    def edges(self, family: str) -> set[str]:
        """The bucket edges of a histogram."""
        return {dict(labels)["le"] for name, labels in self.series[family]
                if name == f"{family}_bucket"}

    def labels(self, family: str) -> set[str]:
        """Names of labels that a family's series have, but for the edges."""
        return {name for _, labels in self.series[family] for name, _ in labels} - {"le"}


def parse(text: str) -> Page:
    """Raises AssertionError for what is not the format."""
    page, family = Page(), ""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family not in page.kinds, f"{family} comes twice"
            page.kinds[family] = kind
            page.series[family] = {}
        elif not line.startswith("# HELP "):
            match = _SERIES.fullmatch(line)
            assert match, f"not a series: {line!r}"
            name, inner, value = match[1], match[3] or "", match[4]
            assert name in (family, f"{family}_bucket", f"{family}_sum", f"{family}_count")
            assert _LABEL.sub("", inner) == "", f"not labels: {inner!r}"
            key = name, frozenset(_LABEL.findall(inner))
            assert key not in page.series[family], f"{key} comes twice"
            page.series[family][key] = float(value)
    return page


def fetch(port: int, path: str, body: bytes | None = None) -> tuple[int, str]:
    """Status and text of a page; with a body it is posted. Raises OSError."""
    try:
        with urllib.request.urlopen(
                f"http://127.0.0.1:{port}{path}", data=body, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def scrape(port: int) -> Page:
    """A member's metrics."""
    status, text = fetch(port, "/metrics")
    assert status == 200, text
    return parse(text)
