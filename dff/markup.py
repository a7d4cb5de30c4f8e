"""The look of report pages, and helpers that write their tags."""

from __future__ import annotations

from html import escape

STYLE = """
:root {
  --ink: #1d2433; --soft: #5c6675; --line: #e3e7ee; --paper: #fff; --ground: #f5f7fa;
  --good: #00754a; --bad: #b3261e;
  --letters: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.55 var(--letters); }
main { max-width: 1180px; margin: 0 auto; padding: 34px 26px 80px; }
h1 { font-size: 30px; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 21px; margin: 0 0 2px; }
h3 { font-size: 15px; margin: 26px 0 8px; color: var(--soft); font-weight: 600; }
p { margin: 4px 0 12px; }
.soft { color: var(--soft); }
code { background: #eef1f6; padding: 1px 6px; border-radius: 4px; font-size: 13px; }
section {
  background: var(--paper); border: 1px solid var(--line); border-radius: 12px;
  padding: 24px 26px; margin-top: 22px;
}
nav { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 14px; }
nav a {
  color: var(--ink); text-decoration: none; border: 1px solid var(--line); background: var(--paper);
  border-radius: 99px; padding: 2px 13px; font-size: 13.5px;
}
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; width: 100%; }
th {
  text-align: right; font-weight: 600; color: var(--soft); padding: 6px 8px;
  border-bottom: 2px solid var(--line); vertical-align: bottom; line-height: 1.25;
}
th small { display: block; font-weight: 400; }
td { text-align: right; padding: 6px 8px; border-bottom: 1px solid var(--line); white-space: nowrap; }
.text { text-align: left; }
td.prose { white-space: normal; text-align: left; }
td.best { font-weight: 700; color: var(--good); }
tr.default td:first-child { font-weight: 700; }
.verdict {
  display: inline-block; min-width: 96px; text-align: center; border-radius: 99px;
  padding: 1px 10px; font-size: 12.5px; font-weight: 600;
}
.met { background: #def3e8; color: var(--good); }
.missed { background: #fbe4e2; color: var(--bad); }
.not { background: #eceff4; color: var(--soft); }
.plots { display: flex; flex-wrap: wrap; gap: 18px 34px; margin: 14px 0 6px; }
figure { margin: 0; }
figcaption { font-size: 13px; color: var(--soft); max-width: 500px; margin-top: 4px; }
svg { max-width: 100%; height: auto; font: 12.5px var(--letters); fill: var(--ink); }
svg .grid { stroke: #e7eaf0; }
svg .axis, svg .tick { stroke: #98a1b0; }
svg .title { fill: var(--soft); }
svg .value, svg .marktext { font-size: 11px; fill: var(--soft); }
svg .mark { stroke: var(--ink); stroke-dasharray: 4 4; }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(148px, 1fr)); gap: 10px; margin-bottom: 18px; }
.maps img { width: 100%; display: block; border-radius: 6px; border: 1px solid var(--line); }
.maps figcaption { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
details summary { cursor: pointer; color: var(--soft); font-weight: 600; margin: 18px 0 8px; }
ul { margin: 8px 0; padding-left: 20px; }
"""


def tag(name: str, *contents: str, **attributes: object) -> str:
    """An element around contents that are HTML already; attribute `kind` becomes `class`."""
    given = {("class" if key == "kind" else key): str(value) for key, value in attributes.items() if value}
    text = "".join(f' {key}="{escape(value)}"' for key, value in given.items())
    return f"<{name}{text}>{''.join(contents)}</{name}>"


def says(name: str, text: object, **attributes: object) -> str:
    """An element around plain text."""
    return tag(name, escape(str(text)), **attributes)


def table(head: list[str], lines: list[str]) -> str:
    """A table of header cells and rows that scrolls sideways where it is too wide."""
    return tag("div", tag("table", tag("tr", *head), *lines), kind="wide")
