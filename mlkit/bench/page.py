"""A result page: one HTML file that needs nothing else, in light and dark, on paper and on a phone."""

import base64
import html
import io
import re
from collections.abc import Sequence
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #1c2230; --paper: #fff; --line: #d5d9e2; --soft: #5b6478; }
:root { --mark: #eef3ff; --heat: #7fb3ff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ee; --paper: #14171f; --line: #363c4b; --soft: #9aa3b7; --mark: #1d2639; --heat: #2f5fae; }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
body { max-width: 50rem; margin: 2rem auto; padding: 0 1rem; } body.wide { max-width: 75rem; }
h1, p, figure { max-width: 50rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .3em .6em; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .words { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); }
th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
td[style] { background: color-mix(in srgb, var(--heat) calc(var(--share) * 100%), transparent); }
tr.best td, tr.best td:first-child { background: var(--mark); font-weight: 600; }
figure { margin: 1.5rem 0; }
figure img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
figcaption, .soft { color: var(--soft); font-size: .9em; }
pre { overflow-x: auto; padding: .8em; border: 1px solid var(--line); border-radius: 6px; }
@media (max-width: 40rem) { td:first-child { white-space: normal; max-width: 8rem; } }
@media print {
  body, body.wide { max-width: none; margin: 0; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; }
  table { display: table; font-size: .8em; } td { white-space: normal; print-color-adjust: exact; }
}
"""


SCRIPT = """
for (const button of document.querySelectorAll("th button")) button.onclick = () => {
  const th = button.parentNode, column = th.cellIndex, body = th.closest("table").tBodies[0];
  const down = th.getAttribute("aria-sort") === "ascending";
  const value = row => { const text = row.cells[column].textContent, n = parseFloat(text); return isNaN(n) ? text : n; };
  const sign = down ? -1 : 1;
  const order = (a, b) => { const x = value(a), y = value(b);
    return typeof x === typeof y ? (x < y ? -sign : x > y ? sign : 0) : (typeof x === "number" ? -1 : 1); };
  for (const other of th.parentNode.cells) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...[...body.rows].sort(order));
};
"""


class Page:
    """Headings, paragraphs, tables and figures, one below the other; `wide` gives tables more room than text."""

    def __init__(self, title: str, wide: bool = False) -> None:
        self.title, self.wide = title, wide
        self._parts = [f"<h1>{html.escape(title)}</h1>"]
        self._script = False

    def heading(self, text: str) -> None:
        """Of a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, *sentences: str, soft: bool = False) -> None:
        """A paragraph of plain text."""
        kind = ' class="soft"' if soft else ""
        self._parts.append(f"<p{kind}>{html.escape(' '.join(sentences))}</p>")

    def code(self, text: str) -> None:
        """Lines as they stand."""
        self._parts.append(f"<pre>{html.escape(text)}</pre>")

    def table(
        self, rows: Sequence[Sequence[str]], best: int | None = None, sortable: bool = False,
        shares: Sequence[Sequence[float | None]] | None = None,
    ) -> None:  # fmt: skip
        """The first row is the head; the row numbered `best` below it stands out; a cell is coloured by its share, 0 to 1.

        Of a sortable table a click on a head sorts the rows.
        """
        inside = '<button type="button">{}</button>' if sortable else "{}"
        kinds = ["" if _numbers(column) else ' class="words"' for column in zip(*rows[1:])] or [""] * len(rows[0])
        head = "".join(f'<th scope="col"{kind}>{inside.format(html.escape(cell))}</th>' for cell, kind in zip(rows[0], kinds))
        lines = []
        for number, row in enumerate(rows[1:]):
            mark = ' class="best"' if number == best else ""
            heat = shares[number] if shares else [None] * len(row)
            cells = (f"<td{kind}{_heat(share)}>{html.escape(cell)}</td>" for cell, kind, share in zip(row, kinds, heat))
            lines.append(f"<tr{mark}>{''.join(cells)}</tr>")
        self._parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>")
        self._script = self._script or sortable

    def figure(self, figure: Any, caption: str) -> None:
        """A matplotlib figure, as SVG inside the page."""
        data = base64.b64encode(svg(figure)).decode()
        words = html.escape(caption, quote=True)
        self._parts.append(
            f'<figure><img alt="{words}" src="data:image/svg+xml;base64,{data}"><figcaption>{words}</figcaption></figure>'
        )

    def __str__(self) -> str:
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(self.title)}</title>'
        kind = ' class="wide"' if self.wide else ""
        body = "\n".join([*self._parts, *([f"<script>{SCRIPT}</script>"] if self._script else [])])
        return f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body{kind}>\n{body}\n</body></html>\n'


def _numbers(column: Sequence[str]) -> bool:
    """Whether most cells of a column are figures, also such as "1.5 (1.4–1.6)", but not sizes such as 64×64."""
    return sum(bool(re.match(r"[-−]?\d[\d,.]*(e[-+]?\d+)?( |%|$)", cell)) for cell in column) * 2 > len(column)


def _heat(share: float | None) -> str:
    return "" if share is None else f' style="--share: {share:.2f}"'


def svg(figure: Any) -> bytes:
    """The figure as SVG: the same bytes for the same figure."""
    from matplotlib import rc_context

    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "mlkit"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
