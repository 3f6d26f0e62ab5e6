"""The style of the page of a report. It needs no script and no network."""

STYLE = """
:root {
  color-scheme: light dark;
  --bg: #fff; --sunken: #f4f5f7; --line: #e2e5e9; --control: #868d97;
  --text: #16181d; --muted: #5a616b; --area: #c9d0d8; --pending: #bd8a00;
  --ready: #0b69c7; --error: #b5123e; --violet: #7a4fb5; --grey: #858b94;
  --error-soft: #fbecf0; --ready-soft: #e9f2fb; --ready-area: #b5d2ee;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}
@media screen and (prefers-color-scheme: dark) { :root {
  --bg: #0c0e11; --sunken: #1b1f25; --line: #272c33; --control: #6a727d;
  --text: #eceef1; --muted: #9ba2ac; --area: #39414c; --pending: #f0c544;
  --ready: #5aa9f8; --error: #ff7386; --violet: #b491ee; --grey: #848b95;
  --error-soft: #33161d; --ready-soft: #12263b; --ready-area: #24476b;
} }
* { box-sizing: border-box }
body { margin: 0; background: var(--bg); color: var(--text); font: 14px/1.5 var(--sans);
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100% }
h1, h2, h3, p, dl, dd, ul { margin: 0; padding: 0; font: inherit }
code { font-family: var(--mono); font-size: .9em; overflow-wrap: anywhere }
main { max-width: 1160px; margin: 0 auto; padding: 0 24px }
.title { padding: 34px 0 20px }
.title h1 { font-size: 28px; line-height: 1.2; font-weight: 650; letter-spacing: -.01em;
  margin-bottom: 8px; overflow-wrap: anywhere }
.title p { color: var(--muted); max-width: 92ch; overflow-wrap: anywhere }
.verdict { border: 1px solid var(--line); border-radius: 10px; overflow: hidden }
.verdict > header { padding: 16px 20px; display: flex; gap: 14px; align-items: flex-start;
  background: var(--ready-soft) }
.verdict.failed > header { background: var(--error-soft) }
.verdict h2 { font-size: 19px; font-weight: 650; line-height: 1.35 }
.sign { flex: none; width: 26px; height: 26px; margin-top: 1px }
.thresholds { list-style: none }
.thresholds li { display: grid; gap: 14px; align-items: center; padding: 8px 20px;
  grid-template-columns: 20px minmax(150px, 1fr) 100px minmax(120px, 1.4fr) 190px;
  border-top: 1px solid var(--line) }
.thresholds .sign { width: 16px; height: 16px; display: block; margin: 0 }
.thresholds b { font-weight: 600; text-align: right } .thresholds .note { color: var(--muted); text-align: right }
.thresholds .missed .note { color: var(--error) }
.gauge { position: relative; height: 8px; background: var(--sunken); border-radius: 2px }
.gauge i { position: absolute; left: 0; top: 0; bottom: 0; background: var(--grey); border-radius: 2px }
.gauge u { position: absolute; top: -4px; bottom: -4px; width: 2px; margin-left: -1px; background: var(--text) }
.missed .gauge i { background: var(--error) }
.figures { display: grid; grid-template-columns: repeat(4, 1fr); margin: 22px 0 8px; border-top: 1px solid var(--line) }
.figures div { padding: 14px 16px 14px 0; border-bottom: 1px solid var(--line) }
.figures dt { font-size: 13px; color: var(--muted) }
.figures dd { font-size: 24px; font-weight: 600; line-height: 1.3; letter-spacing: -.01em }
.figures small { font-size: 14px; font-weight: 400; color: var(--muted); letter-spacing: 0 }
.figures .note { font-size: 12.5px; font-weight: 400; line-height: 1.5; letter-spacing: 0; color: var(--muted) }
.part { margin-top: 40px }
.part > h2 { font-size: 19px; font-weight: 650; margin-bottom: 2px; letter-spacing: -.005em }
.part > p { color: var(--muted); max-width: 92ch; margin-bottom: 16px }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 28px 36px }
.map { display: block; width: 100%; height: auto; margin-bottom: 12px; background: var(--sunken);
  border-radius: 8px; break-inside: avoid }
.map .land { fill: var(--area) }
.map circle { fill: var(--ready); fill-opacity: .75; stroke: var(--bg); stroke-width: 1 }
.wide { grid-column: 1 / -1 }
figure { margin: 0; min-width: 0; break-inside: avoid }
figcaption { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 16px; margin-bottom: 20px }
figcaption h3 { font-weight: 600 }
.keys { margin-left: auto; display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 12.5px; color: var(--muted) }
.key { display: inline-flex; align-items: center; gap: 6px; white-space: nowrap }
.key i { width: 12px; height: 10px; background: var(--c) } .key i.stroke { height: 0; border-top: 2px solid var(--c);
  background: none; width: 16px }
.say { width: 100%; color: var(--muted); font-size: 13px }
.plot { position: relative; margin: 0 8px 22px 44px; height: 150px; font-size: 11px; color: var(--muted);
  line-height: 1 }
.wide .plot { height: 190px }
.plot svg { display: block; width: 100%; height: 100%; overflow: visible }
.plot svg * { vector-effect: non-scaling-stroke }
.plot span { position: absolute; white-space: nowrap }
.plot .y { right: calc(100% + 8px); transform: translateY(50%) }
.plot .x { top: calc(100% + 7px); transform: translateX(-50%) }
.plot .phase { bottom: calc(100% + 5px); padding-left: 4px }
.plot .mark { transform: translateY(50%); color: var(--text); font-weight: 600; background: var(--bg);
  padding: 1px 3px }
.plot .pole { transform: translateX(3px); color: var(--text); font-weight: 600 }
.grid { stroke: var(--line); stroke-width: 1 } .axis { stroke: var(--control); stroke-width: 1 }
.limit { stroke: var(--text); stroke-width: 1.5; stroke-dasharray: 4 4; fill: none }
.bound { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 2 3; fill: none }
.stroke { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round } .stroke.thin { stroke-width: 1.25 }
.fill { fill: var(--c) } .hit { fill: transparent } .hit:hover { fill: var(--text); fill-opacity: .07 }
.scroll { overflow-x: auto }
table { width: 100%; border-collapse: collapse; font-size: 13px }
th { text-align: left; font-weight: 400; color: var(--muted); white-space: nowrap }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); white-space: nowrap }
td.wrap { white-space: normal; min-width: 220px; overflow-wrap: anywhere }
.num { text-align: right }
.split { display: inline-flex; width: 262px; height: 10px; gap: 1px; vertical-align: middle }
.split i { height: 100%; background: var(--c) }
.dot { display: inline-block; width: 10px; height: 10px; margin-right: 6px; background: var(--c) }
.pairs { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 24px; padding: 2px 0 16px }
.pairs dt { color: var(--muted) } .pairs dd { overflow-wrap: anywhere }
footer { margin: 40px 0 48px; color: var(--muted); font-size: 13px }
@media (max-width: 860px) {
  .charts { grid-template-columns: minmax(0, 1fr) } .figures { grid-template-columns: repeat(2, 1fr) }
  .thresholds li { grid-template-columns: 20px minmax(0, 1fr) 84px 150px; gap: 10px }
  .thresholds .gauge { display: none }
}
@media (max-width: 560px) {
  main { padding: 0 16px } .title { padding: 20px 0 16px } .title h1 { font-size: 23px }
  .verdict > header, .thresholds li { padding-left: 14px; padding-right: 14px } .verdict h2 { font-size: 17px }
  .thresholds li { grid-template-columns: 18px minmax(0, 1fr) auto; row-gap: 0 }
  .thresholds .note { grid-area: 2 / 2 / 2 / 4; text-align: left; font-size: 12.5px }
  .figures dd { font-size: 21px } .keys { margin-left: 0; width: 100% } .split { width: 120px }
  .plot .odd { display: none } .pairs { grid-template-columns: 1fr; gap: 0 } .pairs dd { margin-bottom: 8px }
}
@page { size: A4; margin: 13mm }
@media print {
  body { font-size: 10.5px; print-color-adjust: exact; -webkit-print-color-adjust: exact }
  main { max-width: none; padding: 0 } .title { padding: 0 0 10px } .title h1 { font-size: 21px }
  .charts { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px 20px }
  .figures { grid-template-columns: repeat(4, 1fr); margin: 10px 0 0 }
  .figures dd { font-size: 16px } .figures .note { font-size: 9.5px } .figures div { padding: 6px 8px 6px 0 }
  .thresholds li { grid-template-columns: 16px minmax(120px, 1fr) 80px minmax(90px, 1.4fr) 150px; padding: 3px 12px }
  .thresholds .gauge { display: block } .plot, .wide .plot { height: 110px; font-size: 9px }
  .plot .odd { display: inline }
  .part { margin-top: 15px } .part > h2 { break-after: avoid } table { font-size: 9.5px }
  th, td { padding: 2px 10px 2px 0 }
  tr { break-inside: avoid } .split { width: 130px; height: 7px } .scroll { overflow: visible } .hit { display: none }
  footer { margin: 14px 0 0 }
}
"""
