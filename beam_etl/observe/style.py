"""The style sheet of a report's page, for light and dark."""

STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --text: #1c1d1f; --dim: #55585e; --line: #d9dbdf; --box: #ffffff;
  --time: #1f6feb; --size: #0f7b6c; --skew: #b4530a; --bad: #c0263a; --track: #e8eaee; }
@media (prefers-color-scheme: dark) { :root { --page: #16181c; --text: #e8e9eb; --dim: #a5a9b1; --line: #363a42;
  --box: #1f2228; --time: #6ea8fe; --size: #4fc7b4; --skew: #f0a35e; --bad: #ff7b8a; --track: #2b2f37; } }
body { background: var(--page); color: var(--text); font: 15px/1.45 system-ui, sans-serif; margin: 0; }
main { max-width: 1280px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 19px; margin: 36px 0 0; }
p { color: var(--dim); margin: 4px 0 10px; max-width: 80ch; }
code { overflow-wrap: anywhere; }
dl { display: flex; flex-wrap: wrap; gap: 10px; margin: 14px 0 0; }
dl div { background: var(--box); border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px; }
dt { color: var(--dim); font-size: 13px; } dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { padding: 4px 8px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { color: var(--dim); font-weight: 500; vertical-align: bottom; white-space: normal; }
th:first-child { text-align: left; font-weight: 400; padding-left: 0; white-space: normal; }
th:first-child { min-width: 15em; max-width: 26em; }
th b { font-weight: 600; } i { color: var(--dim); }
svg.bar { display: block; } svg .track { fill: var(--track); } svg .time { fill: var(--time); }
svg .size { fill: var(--size); } svg .skew { fill: var(--skew); } svg .bad { fill: var(--bad); }
svg.graph text { font: 600 12px system-ui, sans-serif; fill: var(--text); text-anchor: middle; }
svg.graph text.figures { font-weight: 400; fill: var(--dim); }
svg.graph .box { fill: var(--box); stroke: var(--line); }
svg.graph .shuffle .box { stroke: var(--skew); stroke-width: 2; }
svg.graph .edge { fill: none; stroke: var(--dim); stroke-width: 1.3; } svg.graph .head { fill: var(--dim); }
"""
