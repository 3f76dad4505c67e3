"""A result page: one HTML file that needs nothing else, in light and dark, on paper and on a phone."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #1c2230; --paper: #fff; --line: #d5d9e2; --soft: #5b6478; --mark: #eef3ff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ee; --paper: #14171f; --line: #363c4b; --soft: #9aa3b7; --mark: #1d2639; }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
body { max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .3em .6em; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom; }
tr.best td { background: var(--mark); font-weight: 600; }
figure { margin: 1.5rem 0; }
figure img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
figcaption, .soft { color: var(--soft); font-size: .9em; }
pre { overflow-x: auto; padding: .8em; border: 1px solid var(--line); border-radius: 6px; }
@media print { body { max-width: none; margin: 0; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""


class Page:
    """Headings, paragraphs, tables and figures, one below the other."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts = [f"<h1>{html.escape(title)}</h1>"]

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

    def table(self, rows: Sequence[Sequence[str]], best: int | None = None) -> None:
        """The first row is the head; the row numbered `best` below it stands out."""
        head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in rows[0])
        lines = []
        for number, row in enumerate(rows[1:]):
            mark = ' class="best"' if number == best else ""
            lines.append(f"<tr{mark}>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>")
        self._parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>")

    def figure(self, figure: Any, caption: str) -> None:
        """A matplotlib figure, as SVG inside the page."""
        data = base64.b64encode(svg(figure)).decode()
        words = html.escape(caption, quote=True)
        self._parts.append(
            f'<figure><img alt="{words}" src="data:image/svg+xml;base64,{data}"><figcaption>{words}</figcaption></figure>'
        )

    def __str__(self) -> str:
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(self.title)}</title>'
        body = "\n".join(self._parts)
        return f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'


def svg(figure: Any) -> bytes:
    """The figure as SVG: the same bytes for the same figure."""
    from matplotlib import rc_context

    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "mlkit"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
