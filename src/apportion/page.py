"""The report of a batch as one HTML file that needs no network: a table, and for each instance figures and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from math import isfinite
from pathlib import Path
from typing import Any, cast

from apportion.instances.core import Json
from apportion.instances.files import write_text
from apportion.ledger import Row
from apportion.pictures import DARK, LIGHT, progress
from apportion.report import report_rows
from apportion.summary import HEADINGS, SUMMARY, cells_of

PAGE = "index.html"
MOST_PICTURES = 60
MOST_PICTURE_BYTES = 3 << 19

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)

_STYLE = """
:root { color-scheme: light dark; --ink: #111827; --soft: #5b6472; --paper: #ffffff; --panel: #f6f7f9;
  --line: #dfe3e8; --good: #14733f; --warn: #8a5a00; --bad: #b3202f; --accent: #0f5f9c; }
@media (prefers-color-scheme: dark) { :root { --ink: #eef1f5; --soft: #a5afbd; --paper: #14181f; --panel: #1b212a;
  --line: #313947; --good: #63d493; --warn: #efb64b; --bad: #ff8591; --accent: #74bdf3; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main, header, footer { max-width: 1160px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 36px; } h1 { font-size: 26px; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 19px; margin: 0 0 12px; } .lead, figcaption, footer { color: var(--soft); }
.scroll { overflow-x: auto; margin: 20px 0 36px; border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 9px; text-align: left; white-space: nowrap; }
thead th { background: var(--panel); font-weight: 600; font-size: 13px; color: var(--soft); }
tbody tr { border-top: 1px solid var(--line); } .number { text-align: right; }
.wide { white-space: normal; min-width: 9em; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
a { color: var(--accent); } a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
section { border: 1px solid var(--line); border-radius: 12px; padding: 20px 24px; margin: 0 0 24px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 0 0 16px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 18px 0 0; } .chart { overflow-x: auto; min-height: 40px; }
.chart svg { max-width: 100%; height: auto; }
.chart.vega-embed { display: block; padding: 0; }
footer { padding-bottom: 48px; font-size: 13px; }
@media print { section { break-inside: avoid; } }
"""

_SCRIPT = """
const themes = %(themes)s, dark = matchMedia('(prefers-color-scheme: dark)');
const charts = [...document.querySelectorAll('.chart')];
async function draw(element) {
  const spec = JSON.parse(document.getElementById(element.dataset.spec).textContent);
  try {
    const config = dark.matches ? themes.dark : themes.light;
    await vegaEmbed(element, spec, {renderer: 'svg', actions: false, config});
  } catch (error) { element.textContent = 'This picture cannot be drawn: ' + error; }
}
async function drawAll() { for (const element of charts) await draw(element); }
dark.addEventListener('change', drawAll);
drawAll();
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="lead">{lead}</p>
</header>
<main>
{body}
</main>
<footer><p>{footer}</p></footer>
{scripts}
</body>
</html>
"""


def write_page(folder: Path, rows: Sequence[Row]) -> Path:
    """Write ``folder/index.html`` for ``rows`` and return where it is; pictures come from the files that rows name."""
    where = folder / PAGE
    write_text(where, page(rows, {row.name: _spec_of(folder, row) for row in rows}))
    return where


def _spec_of(folder: Path, row: Row) -> Json | None:
    if not row.picture:
        return None
    try:
        return cast("Json", json.loads((folder / row.picture).read_text()))
    except (OSError, ValueError):
        return None


def page(rows: Sequence[Row], specs: dict[str, Json | None]) -> str:
    """The whole page: the table, then a section per instance with its report, its picture and its progress."""
    embedded: list[str] = []
    sections = [_section(number, row, specs.get(row.name), embedded) for number, row in enumerate(rows)]
    return _assembled(_title(rows), _lead(rows), _table(rows) + "\n".join(sections), embedded)


def picture_page(title: str, spec: Json) -> str:
    """One picture on a page of its own."""
    embedded: list[str] = []
    return _assembled(title, "", f"<section>{_figure('picture', spec, embedded)}</section>", embedded)


def _assembled(title: str, lead: str, body: str, embedded: Sequence[str]) -> str:
    from apportion import __version__

    return _PAGE.format(
        policy=escape(_POLICY),
        title=escape(title),
        style=_STYLE,
        lead=escape(lead),
        body=body,
        footer=f"Written by apportion {escape(__version__)}. This file holds all that it shows.",
        scripts=_scripts(embedded) if embedded else "",
    )


def _scripts(embedded: Sequence[str]) -> str:
    """The drawing library, once, and what draws."""
    library = _javascript_bundle().replace("</script", "<\\/script")
    script = _SCRIPT % {"themes": json.dumps({"light": LIGHT, "dark": DARK})}
    return "\n".join([*embedded, f"<script>{library}</script>", f'<script type="module">{script}</script>'])


def _javascript_bundle() -> str:
    import vl_convert

    bundle: Any = vl_convert.javascript_bundle  # its stub asks for an argument that has a default
    return str(bundle())


def _title(rows: Sequence[Row]) -> str:
    return rows[0].name if len(rows) == 1 else f"{len(rows)} instances"


def _lead(rows: Sequence[Row]) -> str:
    checked = sum(row.exit_code == 0 for row in rows)
    return f"{checked} of {len(rows)} with a plan that an independent check confirms."


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f'<th scope="col"{_align(name)}>{escape(name)}</th>' for name in HEADINGS)
    body = "".join(_table_row(number, row) for number, row in enumerate(rows))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n'


def _table_row(number: int, row: Row) -> str:
    first, *others = cells_of(row)
    tone = _tone(row)
    cells = [f'<th scope="row"><a href="#i{number}">{escape(first)}</a></th>']
    for name, cell in zip(HEADINGS[1:], others, strict=True):
        shade = f' class="{tone}"' if name == "status" else ' class="wide"' if name == "figures" else _align(name)
        cells.append(f"<td{shade}>{escape(cell)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _align(name: str) -> str:
    return ' class="number"' if SUMMARY[name] else ""


def _tone(row: Row) -> str:
    return "good" if row.exit_code == 0 else "warn" if row.exit_code in (1, 3) else "bad"


def _section(number: int, row: Row, spec: Json | None, embedded: list[str]) -> str:
    pairs = [("failed", row.reason)] if row.result is None else report_rows(row.result)
    if row.files:
        pairs = [*pairs, ("files", ", ".join(row.files))]
    listed = "".join(
        f"<dt>{escape(label)}</dt><dd{_shade(label, row)}>{escape(text)}</dd>" for label, text in pairs if text
    )
    figures = "" if spec is None else _figure(f"p{number}", spec, embedded)
    steps = None if row.result is None else progress(row.history, row.result["sense"])
    if steps is not None and isfinite(float(row.history[-1][0])):
        figures += _figure(f"h{number}", steps, embedded)
    return f'<section id="i{number}"><h2>{escape(row.name)}</h2><dl>{listed}</dl>{figures}</section>'


def _shade(label: str, row: Row) -> str:
    return f' class="{_tone(row)}"' if label in ("status", "failed") else ""


def _figure(name: str, spec: Json, embedded: list[str]) -> str:
    text = json.dumps(spec).replace("</", "<\\/")
    title = escape(str(spec["description"]))
    if len(embedded) >= MOST_PICTURES or sum(map(len, embedded)) + len(text) > MOST_PICTURE_BYTES:
        return f"<figure><figcaption>{title}: left out here, see its file in pictures/</figcaption></figure>"
    embedded.append(f'<script type="application/json" id="{name}">{text}</script>')
    chart = f'<div class="chart" role="img" aria-label="{title}" data-spec="{name}"></div>'
    return f"<figure>{chart}<noscript>{title}: drawing it needs scripts.</noscript></figure>"
