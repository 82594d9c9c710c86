"""The text format of metrics, as Go's library writes it."""

import pytest

from quorate.wire.prometheus import (
    SECONDS, Family, Histogram, Kind, Sample, counter, exponential, gauge, histogram, number,
    render,
)


@pytest.mark.parametrize(("value", "text"), [
    (0, "0"), (True, "1"), (-1, "-1"), (999_999, "999999"), (1_000_000, "1e+06"),
    (2_147_483_648, "2.147483648e+09"), (0.25, "0.25"), (0.0001, "0.0001"), (0.00001, "1e-05"),
    (1e21, "1e+21"), (-1.5e-7, "-1.5e-07"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"),
    (float("nan"), "NaN"),
])
def test_numbers(value: float, text: str) -> None:
    """As `strconv.FormatFloat(value, 'g', -1, 64)`."""
    assert number(value) == text


def test_a_page() -> None:
    """Sorted by name; labels and help are escaped; what has no series is left out."""
    page = render([
        gauge("b", "two\nlines \\", 3), counter("a_total", "A.", 1),
        Family("none", Kind.COUNTER, "Nothing.", ()),
        Family("c", Kind.GAUGE, "C.", (Sample(1, {"x": 'a "b"\n\\', "y": ""}),))])

    assert page.decode() == (
        '# HELP a_total A.\n# TYPE a_total counter\na_total 1\n'
        '# HELP b two\\nlines \\\\\n# TYPE b gauge\nb 3\n'
        '# HELP c C.\n# TYPE c gauge\nc{x="a \\"b\\"\\n\\\\",y=""} 1\n')


def test_a_histogram() -> None:
    """Buckets count what is at most their edge, so they only rise."""
    values = Histogram(exponential(1, 2, 3))
    for value in (0.5, 1, 1.5, 4, 5):
        values.observe(value)

    assert (values.count, values.total) == (5, 12)
    assert render([histogram("h", "H.", values)]).decode() == (
        '# HELP h H.\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="2"} 3\n'
        'h_bucket{le="4"} 4\nh_bucket{le="+Inf"} 5\nh_sum 12\nh_count 5\n')


def test_edges() -> None:
    """etcd's for durations: 1 ms, doubled, to 8.192 s."""
    assert [number(edge) for edge in SECONDS[:3]] == ["0.001", "0.002", "0.004"]
    assert number(SECONDS[-1]) == "8.192"
