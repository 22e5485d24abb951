"""Small pictures for the metadata: SVG as Markdown, which Dagster's pages show."""

import base64
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

import dagster as dg

BAR_HEIGHT = 22
BAR_WIDTH = 320
LABEL_WIDTH = 190
SQUARE = 280
MARGIN = 56


def bars(
    title: str,
    counts: Mapping[str, int] | Mapping[str, float],
    limits: Mapping[str, int] | None = None,
) -> dg.MarkdownMetadataValue:
    """A horizontal bar for each count, in the order given, within a frame as long as its limit."""
    limits = limits or {}
    most = max((*counts.values(), *limits.values()), default=0) or 1
    rows = [
        _bar(position, label, count, BAR_WIDTH * count / most)
        + _frame(position, BAR_WIDTH * limits.get(label, 0) / most)
        for position, (label, count) in enumerate(counts.items())
    ]
    height = BAR_HEIGHT * len(rows) + 28
    width = LABEL_WIDTH + BAR_WIDTH + 70
    return _picture(title, "".join(rows), width, height)


def calibration_plot(title: str, points: Sequence[tuple[float, float]]) -> dg.MarkdownMetadataValue:
    """A dot for each (expected, observed) share, and the line on which they would agree."""
    left, top, bottom = MARGIN, 30, 30 + SQUARE
    axes = (
        f'<rect x="{left}" y="{top}" width="{SQUARE}" height="{SQUARE}" fill="none" '
        f'stroke="#9ca3af"/>'
        f'<line x1="{left}" y1="{bottom}" x2="{left + SQUARE}" y2="{top}" stroke="#9ca3af" '
        f'stroke-dasharray="4"/>'
    )
    marks = "".join(
        f'<text x="{left + SQUARE * share:.0f}" y="{bottom + 16}" text-anchor="middle">{share}'
        f'</text><text x="{left - 6}" y="{bottom - SQUARE * share + 4:.0f}" text-anchor="end">'
        f"{share}</text>"
        for share in (0, 0.5, 1)
    )
    dots = "".join(
        f'<circle cx="{left + SQUARE * expected:.1f}" cy="{bottom - SQUARE * observed:.1f}" r="4" '
        f'fill="#4f46e5"/>'
        for expected, observed in points
    )
    names = (
        f'<text x="{left + SQUARE / 2}" y="{bottom + 34}" text-anchor="middle">expected</text>'
        f'<text x="14" y="{top + SQUARE / 2}" transform="rotate(-90 14 {top + SQUARE / 2})" '
        f'text-anchor="middle">observed</text>'
    )
    return _picture(title, axes + marks + names + dots, left + SQUARE + 30, bottom + 44)


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
    width = LABEL_WIDTH + BAR_WIDTH + 70
    return _picture(title, "".join([line, *drawn]), width, bottom + 2)


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


def _frame(position: int, length: float) -> str:
    if not length:
        return ""
    top = 26 + position * BAR_HEIGHT
    return (
        f'<rect x="{LABEL_WIDTH}" y="{top}" width="{length:.1f}" height="16" fill="none" '
        f'stroke="#6b7280" stroke-dasharray="3 2"/>'
    )


def _picture(title: str, shapes: str, width: float, height: float) -> dg.MarkdownMetadataValue:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="#6b7280">'
        f'<text x="4" y="16" font-weight="bold">{escape(title)}</text>{shapes}</svg>'
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


def _bar(position: int, label: str, count: float, length: float) -> str:
    top = 26 + position * BAR_HEIGHT
    shown = escape(_short(label))
    return (
        f'<text x="{LABEL_WIDTH - 6}" y="{top + 13}" text-anchor="end">{shown}</text>'
        f'<rect x="{LABEL_WIDTH}" y="{top}" width="{length:.1f}" height="16" fill="#4f46e5"/>'
        f'<text x="{LABEL_WIDTH + length + 6:.1f}" y="{top + 13}">{count}</text>'
    )
