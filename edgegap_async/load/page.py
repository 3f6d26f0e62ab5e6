"""The page of a report: one file that needs no network and no script. Everything in it that
comes from outside is escaped. This module does no I/O.
"""

from collections.abc import Iterable
from html import escape

from .page_charts import Charts, failure_color
from .page_map import MOST_ROWS, map_of, rows_of
from .page_style import STYLE
from .report import PlanData, Report, Slow, ThresholdResult, Times
from .words import clock_text, limit_sentence, seconds_text

# The browser itself makes sure that the page asks for nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
SIGNS = """<svg width="0" height="0" style="position:absolute" aria-hidden="true">
<symbol id="pass" viewBox="0 0 26 26"><circle cx="13" cy="13" r="12" style="fill:var(--ready)"/>
<path d="M7.5 13.5l3.8 3.8 7.4-8.2" style="fill:none;stroke:var(--bg);stroke-width:2.6"/></symbol>
<symbol id="miss" viewBox="0 0 26 26"><path d="M13 0L26 13 13 26 0 13z" style="fill:var(--error)"/>
<path d="M13 6.5v8M13 17v2.6" style="stroke:var(--bg);stroke-width:2.6"/></symbol></svg>"""
PARTS = (
    ("wait for the limit", "pending"),
    ("until accepted", "text"),
    ("starting", "ready"),
)


def page_of(report: Report) -> str:
    """Return the page of a report, as HTML."""
    title = f"Load test · {report.plan.application} {report.plan.version}"
    charts = Charts(report)
    parts = (
        _title(report),
        _verdict(report),
        _figures(report),
        _part(
            "Load",
            "Was the asked rate reached, and the limit kept?",
            charts.deploys() + charts.in_flight() + charts.refused(),
        ),
        _part(
            "Time to ready",
            "Counted from when a deploy was due, so a queue in the client cannot hide. "
            "Failed deploys are not in these figures.",
            charts.percentiles() + charts.distribution() + charts.wait_and_api(),
        ),
        _locations(report),
        _failures(report, charts),
        _slowest(report),
        _plan(report),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>{SIGNS}<main>{''.join(parts)}"
        f"<footer>Made by edgegap_async {escape(report.versions.get('edgegap_async', ''))}. "
        "One file, opens offline.</footer></main></body></html>"
    )


def _sign(good: bool) -> str:
    name, text = ("pass", "met") if good else ("miss", "missed")
    return (
        f'<svg class="sign" role="img" aria-label="{text}"><use href="#{name}"/></svg>'
    )


def _title(report: Report) -> str:
    plan = report.plan
    started = report.started.replace("T", " ").replace("Z", " UTC")
    unit = "min" if report.seconds < 3600 else "h"
    return (
        f'<div class="title"><h1>{escape(plan.application)} {escape(plan.version)}</h1>'
        f"<p>{escape(started)}, for {clock_text(report.seconds)} {unit}. {escape(_plan_text(plan))} "
        f"Against {escape(report.target)}.</p></div>"
    )


def _plan_text(plan: PlanData) -> str:
    if ramp := plan.ramp:
        text = (
            f"Deploys from {ramp.start:g} to {ramp.end:g}/s within {ramp.seconds:g} s"
        )
        text += f", then {ramp.end:g}/s for {plan.hold:g} s" if plan.hold else ""
    else:
        text = f"Deploys at {plan.rate or 0:g}/s"
        text += f" for {plan.hold:g} s" if plan.hold else ""
    text += f", at most {plan.count:,}" if plan.count else ""
    text += f". Each server lives {plan.lifetime:g} s" if plan.lifetime else ""
    return f"{text}; all are stopped at the end." if plan.stop_at_end else f"{text}."


def _verdict(report: Report) -> str:
    results = report.thresholds
    missed = [it for it in results if not it.met]
    counts, deploys = report.counts, report.limits["deploy"]
    if missed:
        verdict = (
            f"Failed: {len(missed)} of {_number(len(results), 'threshold')} missed."
        )
    elif results:
        verdict = f"Passed: {_number(len(results), 'threshold')} met."
    elif counts.failed:
        verdict = f"{counts.failed:,} of {counts.due:,} deploys failed."
    else:
        verdict = f"{counts.ready:,} of {counts.due:,} servers were ready."
    said = [
        limit_sentence(deploys.allowed, deploys.busiest_second, deploys.refused) + "."
    ]
    if report.interrupted:
        said.append("The test was interrupted.")
    if report.error:
        said.append(f"It ended early: {report.error}")
    for ids, text in (
        (report.running, "left running"),
        (report.not_stopped, "not stopped"),
    ):
        if ids:
            said.append(f"{len(ids)} servers were {text}: {', '.join(ids[:20])}.")
    good = not (missed or report.error or report.not_stopped) and (
        bool(results) or not counts.failed
    )
    text = " ".join(said)
    rows = "".join(map(_threshold, results))
    return (
        f'<section class="verdict{"" if good else " failed"}"><header>{_sign(good)}<div>'
        f"<h2>{escape(verdict)}</h2><p>{escape(text[:1].upper() + text[1:])}</p></div></header>"
        f'<ul class="thresholds">{rows}</ul></section>'
    )


def _number(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _threshold(result: ThresholdResult) -> str:
    unit = f" {result.unit}" if result.unit else ""
    value = 0.0 if result.value is None else result.value
    most = max(value, result.limit, 1e-9) * 1.02
    shown = "none" if result.value is None else f"{value:,.4g}{unit}"
    apart = abs(value - result.limit)
    note = (
        f"met, {apart:.3g}{unit} to spare"
        if result.met
        else f"missed by {apart:.3g}{unit}"
    )
    if result.value is None:
        note = "missed: there is no value"
    return (
        f"<li{'' if result.met else ' class=missed'}>{_sign(result.met)}"
        f"<code>{escape(result.threshold)}</code><b>{shown}</b>"
        f'<span class="gauge"><i style="width:{100 * value / most:.1f}%"></i>'
        f'<u style="left:{100 * result.limit / most:.1f}%"></u></span>'
        f'<span class="note">{note}</span></li>'
    )


def _figures(report: Report) -> str:
    counts, deploys = report.counts, report.limits["deploy"]
    allowed = "" if deploys.allowed is None else f"of {deploys.allowed:g} deploys"
    share = 100 * counts.failed / max(counts.due, 1)
    running = max(report.series.running)
    cap = report.plan.max_running
    boxes = (
        (
            "Ready",
            f"{counts.ready:,}",
            f"of {counts.due:,} due",
            f"{counts.failed:,} failed ({share:.2g} %)",
        ),
        ("Time to ready", *_time_box(report.total)),
        (
            "Busiest second",
            str(deploys.busiest_second),
            allowed,
            f"{deploys.refused:,} refused with 429",
        ),
        (
            "Schedule kept",
            f"{100 * report.schedule_kept:.1f} %",
            "",
            "deploys sent while they were due",
        ),
        ("Wait for the limit", *_time_box(report.queued)),
        ("API until accepted", *_time_box(report.accepted_after)),
        ("API until ready", *_time_box(report.ready_after)),
        (
            "Running at once",
            f"{running:,}",
            "at most",
            f"{cap:,} allowed by the plan" if cap else "no cap in the plan",
        ),
    )
    return '<dl class="figures">{}</dl>'.format(
        "".join(
            f'<div><dt>{name}</dt><dd>{value} <small>{small}</small></dd><dd class="note">{note}</dd></div>'
            for name, value, small, note in boxes
        )
    )


def _time_box(times: Times | None) -> tuple[str, str, str]:
    if times is None:
        return "-", "", "no value"
    note = f"95 %: {seconds_text(times.p95)} · 99 %: {seconds_text(times.p99)}"
    return seconds_text(times.p50), "median", note


def _part(title: str, said: str, charts: str) -> str:
    return (
        f'<section class="part"><h2>{title}</h2><p>{said}</p>'
        f'<div class="charts">{charts}</div></section>'
    )


def _locations(report: Report) -> str:
    locations = report.locations
    if not locations:
        return ""
    known = sum(location.servers for location in locations)
    said = f"The locations of {known:,} servers: two per second were asked for theirs."
    if len(locations) > MOST_ROWS:
        said += f" The table has {MOST_ROWS} of {len(locations)} locations."
    table = _table(("Location", "Servers", "Share"), rows_of(locations))
    return (
        f'<section class="part"><h2>Placements</h2><p>{said}</p>{map_of(locations)}{table}'
        "</section>"
    )


def _failures(report: Report, charts: Charts) -> str:
    if not report.failures:
        return (
            '<section class="part"><h2>Failures</h2><p>No deploy failed.</p></section>'
        )
    rows = "".join(
        f'<tr><td class="num">{it.count:,}</td>'
        f'<td><i class="dot" style="--c:var(--{failure_color(number)})"></i>{escape(it.kind)}</td>'
        f'<td class="wrap">{escape(it.message)}</td><td>{clock_text(it.first)}</td>'
        f'<td>{clock_text(it.last)}</td><td class="wrap"><code>{escape(", ".join(it.request_ids[:3]))}</code></td></tr>'
        for number, it in enumerate(report.failures)
    )
    table = _table(
        ("Count", "Kind", "Message of the first", "First", "Last", "Request IDs"), rows
    )
    return (
        f'<section class="part"><h2>Failures</h2><p>{report.counts.failed:,} of {report.counts.due:,} deploys '
        f'failed.</p><div class="charts">{charts.failures()}</div>{table}</section>'
    )


def _table(heads: Iterable[str], rows: str) -> str:
    head = "".join(f"<th>{it}</th>" for it in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _slowest(report: Report) -> str:
    if not report.slowest:
        return ""
    most = report.slowest[0].total
    keys = " ".join(
        f'<span class="key"><i style="--c:var(--{color})"></i>{name}</span>'
        for name, color in PARTS
    )
    rows = "".join(_slow(it, most) for it in report.slowest)
    heads = ("Request ID", "Due at", "Wait", "Accepted", "Starting", "Total", "")
    return (
        f'<section class="part"><h2>Slowest {len(report.slowest)}</h2><p>{keys}</p>'
        f"{_table(heads, rows)}</section>"
    )


def _slow(slow: Slow, most: float) -> str:
    starting = max(slow.ready_after - slow.accepted_after, 0.0)
    parts = (slow.queued, slow.accepted_after, starting)
    split = "".join(
        f'<i style="--c:var(--{color});width:{100 * part / (most or 1):.1f}%"></i>'
        for part, (_, color) in zip(parts, PARTS, strict=True)
    )
    times = "".join(f"<td>{seconds_text(it)}</td>" for it in parts)
    return (
        f"<tr><td><code>{escape(slow.request_id)}</code></td><td>{clock_text(slow.due)}</td>"
        f'{times}<td><b>{seconds_text(slow.total)}</b></td><td><span class="split">{split}</span></td></tr>'
    )


def _plan(report: Report) -> str:
    plan = report.plan
    limits = ", ".join(
        f"{name} {'none' if it.allowed is None else f'{it.allowed:g}/s'} ({it.requests:,} requests, "
        f"{it.busiest_second} in the busiest second, {it.refused} refused)"
        for name, it in report.limits.items()
    )
    pairs = (
        ("Plan", _plan_text(plan)),
        ("Players", f"{plan.users} in each request"),
        ("Tags", ", ".join(plan.tags) or "none"),
        ("Ready within", f"{plan.ready_timeout:g} s, or failed"),
        ("Cap", f"{plan.max_running:,} servers" if plan.max_running else "none"),
        ("Limits", limits),
        ("Stopped", f"{report.counts.stopped:,} servers"),
        ("Versions", ", ".join(f"{name} {it}" for name, it in report.versions.items())),
        ("Format", report.format),
    )
    shown = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in pairs)
    return f'<section class="part"><h2>Plan and versions</h2><dl class="pairs">{shown}</dl></section>'
