"""The page's style sheet: the site's colours, light and dark, and a phone's width."""

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --panel: #f3f5f8; --text: #1b1f24; --soft: #505a66;
  --link: #0a53a8; --edge: #c9d0d8; --grid: #dde2e8; --axis: #6b7580; --warn: #b34700; --c1: #0072b2;
  --c2: #c14f00; --c3: #00805c; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14181d; --panel: #1e242b; --text: #e8ecf0; --soft: #aab4bf; --link: #82b8ff;
    --edge: #3a434d; --grid: #2b323a; --axis: #88929d; --warn: #ffb057; --c1: #5db4ec; --c2: #ff9d57;
    --c3: #3fcf9f; }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground); max-width: 60rem;
  margin: 1.5rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem;
  padding-top: .6rem; border-top: 1px solid var(--edge); }
h3 { font-size: 1rem; margin: 1rem 0 .2rem; }
p { max-width: 68ch; } summary { cursor: pointer; color: var(--link); padding: .4rem 0; }
.answer { font-size: 1.15rem; }
.warning { border-left: 4px solid var(--warn); padding-left: .8rem; }
.note, figcaption { color: var(--soft); font-size: .92rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--edge); }
th { font-weight: 600; vertical-align: bottom; } .few th { white-space: normal; overflow-wrap: normal; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.wide { overflow-x: auto; }
.many { border-right: 2px solid var(--edge); width: fit-content; max-width: 100%; }
.wide td:first-child, .wide th:first-child { position: sticky; left: 0; background: var(--ground); }
details .wide { font-size: .85rem; }
figure { margin: 1rem 0; max-width: 34rem; } .chart { display: block; width: 100%; height: auto; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
  gap: 0 1.5rem; }
.chart text { font-size: 11px; fill: var(--soft); text-anchor: middle; }
.chart .name, .chart .start { text-anchor: start; } .chart .end { text-anchor: end; }
.chart .name { fill: var(--text); } .chart .leads { font-weight: 700; }
.chart .grid { stroke: var(--grid); } .chart .axis { stroke: var(--axis); }
.chart .wide-end { stroke: var(--c1); stroke-width: 1.5; }
.chart .narrow-end { stroke: var(--c1); stroke-width: 9; opacity: .45; }
.chart .dot { fill: var(--c1); }
.chart .dashed { stroke: var(--soft); stroke-dasharray: 4 3; stroke-width: 1.5; }
.chart .band { fill: var(--c1); opacity: .22; } .chart .inner { opacity: .4; }
.chart .estimate { fill: none; stroke: var(--c1); stroke-width: 2; } .chart .alarm { fill: var(--warn); }
.chart .actual { stroke: var(--c3); stroke-width: 2; }
.chart .curve { fill: none; stroke-width: 2; } .chart .curve.source { stroke: var(--c1); }
.chart .curve.target { stroke: var(--c2); } .chart .bar.target { fill: var(--c2); }
.chart .bar.other { fill: var(--c1); opacity: .6; }
.key::before { content: ""; display: inline-block; width: 1.1em; height: .25em; margin-right: .3em;
  vertical-align: middle; }
.key.source::before { background: var(--c1); } .key.target::before { background: var(--c2); }
.images { font-family: ui-monospace, monospace; font-size: .85rem; line-height: 1.7; margin-top: 0; }
.phone { display: none; }
@media (max-width: 30rem) {
  .phone { display: block; } th, td { padding: .25rem .5rem; } .wide { font-size: .9rem; }
}
@media print {
  body { max-width: none; } .wide { overflow: visible; } .many { border: 0; } .hint { display: none; }
  .many table { table-layout: fixed; width: 100%; font-size: .55rem; }
  .many th, .many td { white-space: normal; overflow-wrap: anywhere; padding: .15rem .2rem;
    position: static; }
}
"""
