"""Small pictures for the metadata: SVG bars as Markdown, which Dagster's pages show."""

import base64
from collections.abc import Mapping
from xml.sax.saxutils import escape

import dagster as dg

BAR_HEIGHT = 22
BAR_WIDTH = 320
LABEL_WIDTH = 190


def bars(title: str, counts: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    """A horizontal bar for each count, in the order given."""
    most = max(counts.values(), default=0) or 1
    rows = [
        _bar(position, label, count, BAR_WIDTH * count / most)
        for position, (label, count) in enumerate(counts.items())
    ]
    return _drawn(title, rows)


def intervals(title: str, rows: list[tuple[str, float, float, float]]) -> dg.MarkdownMetadataValue:
    """A line from low to high with a point on it for each (label, low, value, high), and a zero."""
    ends = [0.0, *(low for _, low, _, _ in rows), *(high for _, _, _, high in rows)]
    least, most = min(ends), max(ends)
    scale = BAR_WIDTH / ((most - least) or 1)
    drawn = [
        _interval(position, label, [(end - least) * scale for end in told], told[1])
        for position, (label, *told) in enumerate(rows)
    ]
    zero = LABEL_WIDTH - least * scale
    bottom = 26 + BAR_HEIGHT * len(rows)
    line = f'<path d="M{zero:.1f} 22V{bottom}" stroke="#9ca3af" stroke-dasharray="3"/>'
    return _drawn(title, [line, *drawn], len(drawn))


def histogram(
    title: str, values: list[float], *, bins: int = 10, upper: int = 100
) -> dg.MarkdownMetadataValue:
    """Bars over `bins` equal parts of 0 to `upper`."""
    step = upper // bins
    counts = dict.fromkeys((f"{low}-{low + step}" for low in range(0, upper, step)), 0)
    labels = list(counts)
    for value in values:
        counts[labels[min(int(value // step), bins - 1)]] += 1
    return bars(title, counts)


def _drawn(title: str, rows: list[str], lines: int | None = None) -> dg.MarkdownMetadataValue:
    height = BAR_HEIGHT * (len(rows) if lines is None else lines) + 28
    width = LABEL_WIDTH + BAR_WIDTH + 70
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="#6b7280">'
        f'<text x="4" y="16" font-weight="bold">{escape(title)}</text>{"".join(rows)}</svg>'
    )
    encoded = base64.b64encode(svg.encode()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{encoded})")


def _interval(position: int, label: str, places: list[float], value: float) -> str:
    low, at, high = places
    top, left = 26 + position * BAR_HEIGHT + 8, LABEL_WIDTH
    return (
        f'<text x="{left - 6}" y="{top + 5}" text-anchor="end">{escape(_short(label))}</text>'
        f'<path d="M{left + low:.1f} {top}H{left + high:.1f}" stroke="#4f46e5" stroke-width="3"/>'
        f'<circle cx="{left + at:.1f}" cy="{top}" r="5" fill="#4f46e5"/>'
        f'<text x="{left + BAR_WIDTH + 6}" y="{top + 5}">{100 * value:+.2f} pp</text>'
    )


def _short(label: str) -> str:
    return label if len(label) <= 30 else f"{label[:29]}…"


def _bar(position: int, label: str, count: int, length: float) -> str:
    top = 26 + position * BAR_HEIGHT
    shown = escape(_short(label))
    return (
        f'<text x="{LABEL_WIDTH - 6}" y="{top + 13}" text-anchor="end">{shown}</text>'
        f'<rect x="{LABEL_WIDTH}" y="{top}" width="{length:.1f}" height="16" fill="#4f46e5"/>'
        f'<text x="{LABEL_WIDTH + length + 6:.1f}" y="{top + 13}">{count}</text>'
    )
