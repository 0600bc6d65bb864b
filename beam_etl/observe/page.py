"""The report of a run as one page of HTML: it needs no network, no script and no other file."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from beam_etl.observe.drawing import LINE, Box, bar, draw, shorten
from beam_etl.observe.graph import Node
from beam_etl.observe.report import SECONDS, Crossing, RunReport, Stage, plain, split_ranked, total
from beam_etl.observe.skew import WARNED
from beam_etl.observe.style import STYLE
from beam_etl.observe.text import format_bytes, format_seconds

ROWS = 24
"""Steps that have a row of their own, the slowest ones."""


def page(report: RunReport) -> str:
    """The page. All text of the run is escaped."""
    title = f"{report.job}, run {report.run}"
    sections = (
        _summary(report),
        _section("Where the time went", _time_note(report), _stages(report)),
        _section("Rows", "From what reading started on to the rows of each table.", _funnel(report)),
        _section("Shuffles", _SHUFFLES if report.shuffles else "No rows crossed.", _shuffles(report)),
        _section("Rejects", "What could not be read, by reason.", _rejects(report.rejects)),
        _section("Graph", _GRAPH, f'<div class="wide" tabindex="0">{_graph(report)}</div>'),
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f'<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        f"{''.join(sections)}</main></body></html>\n"
    )


_SHUFFLES = (
    "What crossed between workers. Largest: the largest partition to the mean of all, by rows and by bytes; 1 is even. "
    "The rest is seconds of all workers: cutting rows by partition, encoding slices, decoding them, and what the steps "
    "that read a partition do with it."
)
_GRAPH = (
    "Rows flow downwards. Round boxes are shuffles. The line in a box is its share of the time; steps that count "
    "nothing are left out."
)


def _section(title: str, note: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n<p>{escape(note)}</p>\n{body}</section>\n"


def _summary(report: RunReport) -> str:
    read = report.rows.get("read")
    rate = format_bytes(report.input_bytes / max(report.seconds, 1e-9))
    cards = [
        ("wall time", format_seconds(report.seconds)),
        ("input", f"{format_bytes(report.input_bytes)} ({rate}/s)"),
        ("documents read", "unknown" if read is None else f"{read:,}"),
        ("crossed shuffles", format_bytes(sum(shuffle.bytes for shuffle in report.shuffles))),
        ("rows written", f"{sum(report.tables.values()):,} ({format_bytes(report.output_bytes)})"),
    ]
    if report.passed_over:
        cards.append(("records passed over", f"{sum(report.passed_over.values()):,}"))
    if report.slowest:
        cards.append(("slowest stage", f"{plain(report.slowest.label)} ({report.slowest.share:.0%})"))
    if report.hottest:
        cards.append(("hottest key", f"{report.hottest[1]} of {report.hottest[0].label}"))
    shown = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in cards)
    workers = "" if report.workers is None else f", {report.workers} worker{'s'[: report.workers != 1]}"
    made = "published nothing to" if report.number is None else f"made version {report.number} of"
    return (
        f"<header><h1>{escape(report.job)}</h1>\n<p>Run {escape(report.run)} {made} "
        f"<code>{escape(report.output)}</code> on {escape(report.runner)}{workers}.</p>\n"
        f"<dl>{shown}</dl></header>\n"
    )


def _time_note(report: RunReport) -> str:
    whose = (
        "of all steps"
        if report.workers is None
        else ("of one worker" if report.workers == 1 else f"of {report.workers} workers together")
    )
    return f"Seconds and shares {whose}, the slowest first. What isn't a step of the job is in italics."


def _stages(report: RunReport) -> str:
    first, others = split_ranked(report.stages, ROWS)
    rows = [*first, *report.around]
    if others:
        rows.append(total(f"{len(others)} more steps", others))
    rows.sort(key=lambda stage: -stage.seconds)
    most = max((stage.seconds for stage in rows), default=0.0) or 1.0
    largest = max((_size(stage) for stage in rows), default=0) or 1
    steps = {stage.label for stage in first}
    head = ("stage", "", "seconds", "share", "rows in", "rows out", "", "bytes in", "bytes out")
    return _table(
        head,
        "where the time went",
        (
            (
                (_label(stage.label) if stage.label in steps else f"<i>{escape(stage.label)}</i>")
                + ("*" if stage.sampled else ""),
                bar(stage.seconds / most),
                f"{stage.seconds:,.3f}",
                f"{stage.share:.1%}",
                _number(stage.rows_in),
                _number(stage.rows_out),
                bar(_size(stage) / largest, "size") if _size(stage) else "",
                _bytes(stage.bytes_in),
                _bytes(stage.bytes_out),
            )
            for stage in rows
        ),
    ) + ("<p>* sampled by Beam</p>" if any(stage.sampled for stage in first) else "")


def _size(stage: Stage) -> int:
    return max(stage.bytes_in or 0, stage.bytes_out or 0)


def _label(label: str) -> str:
    """Where it belongs in front, and the step's own name in bold."""
    above, slash, own = plain(label).rpartition("/")
    return f"{escape(above + slash)}<b>{escape(own)}</b>"


def _funnel(report: RunReport) -> str:
    reading = {
        "records started": report.rows.get("started"),
        "rejected": report.rows.get("rejected"),
        "documents read": report.rows.get("read"),
    }
    written = sorted(report.tables.items(), key=lambda pair: (-pair[1], pair[0]))
    rows = [(name, count) for name, count in reading.items() if count is not None]
    rows += [(f"written to {table}", count) for table, count in written]
    most = max((count for _, count in rows), default=0) or 1
    first = report.rows.get("started") or 0
    return _table(
        ("", "", "rows", "of those started"),
        "rows",
        (
            (escape(name), bar(count / most, "size"), f"{count:,}", f"{count / first:.1%}" if first else "")
            for name, count in rows
        ),
    )


def _shuffles(report: RunReport) -> str:
    if not report.shuffles:
        return ""
    most = max(WARNED, *(max(_ratios(shuffle)) for shuffle in report.shuffles))
    head = ("shuffle", "partitions", "rows", "bytes", "elements", "", "largest, rows", "largest, bytes")
    return _table(
        (*head, "hot key", *SECONDS),
        "shuffles",
        (
            (
                f"{_label(shuffle.label)} by {escape(', '.join(shuffle.by) or 'one key')}",
                "" if shuffle.skew is None else f"{shuffle.skew.partitions:,}",
                f"{shuffle.rows:,}",
                format_bytes(shuffle.bytes),
                f"{shuffle.elements:,}",
                bar(max(_ratios(shuffle)) / most, "skew") if shuffle.skew else "",
                *(f"{ratio:.1f}" if shuffle.skew else "" for ratio in _ratios(shuffle)),
                escape(shorten(_hot(shuffle), 60)),
                *(f"{getattr(shuffle, name):,.3f}" for name in SECONDS),
            )
            for shuffle in report.shuffles
        ),
    )


def _ratios(shuffle: Crossing) -> tuple[float, float]:
    skew = shuffle.skew
    return (0.0, 0.0) if skew is None else (skew.ratio(skew.rows), skew.ratio(skew.bytes))


def _hot(shuffle: Crossing) -> str:
    return (shuffle.skew and (shuffle.skew.bytes.hot_key or shuffle.skew.rows.hot_key)) or ""


def _rejects(rejects: Mapping[str, int]) -> str:
    if not rejects:
        return "<p>None.</p>"
    most = max(rejects.values()) or 1
    return _table(
        ("reason", "", "rejects"),
        "rejects",
        ((escape(reason), bar(count / most, "bad"), f"{count:,}") for reason, count in rejects.items()),
    )


def _graph(report: RunReport) -> str:
    stages = {stage.label: stage for stage in report.stages}
    shuffles = {shuffle.label: shuffle for shuffle in report.shuffles}
    boxes = [_box(node, stages, shuffles.get(node.label)) for node in report.graph.nodes]
    noun = "shuffle" if len(shuffles) == 1 else "shuffles"
    return draw(report.graph, boxes, f"{len(boxes)} boxes, {len(shuffles)} {noun} that rows crossed")


def _box(node: Node, stages: Mapping[str, Stage], shuffle: Crossing | None) -> Box:
    mine = [stages[label] for label in node.steps]
    took = total(node.label, mine)
    rows = next((some.rows_in or some.rows_out for some in mine if some.rows_in or some.rows_out), None)
    told = [format_seconds(took.seconds)]
    if node.is_shuffle and shuffle is not None:
        told += [f"{shuffle.rows:,} rows", format_bytes(shuffle.bytes)]
    elif rows is not None:
        told.append(f"{rows:,} rows")
    tip = "\n".join(f"{some.label}: {some.seconds:.3f} s" for some in mine)
    slowest = plain(max(mine, key=lambda some: some.seconds).label)
    others = f" and {len(mine) - 1} more" if len(mine) > 1 else ""
    title = node.label if node.is_shuffle else f"{shorten(slowest, LINE - len(others))}{others}"
    return Box(title, " · ".join(told), took.share, node.is_shuffle, f"{node.label}\n{tip}")


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _bytes(value: int | None) -> str:
    return "" if value is None else format_bytes(value)


def _table(head: Sequence[str], caption: str, rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names the row. Cells are HTML already."""
    titles = "".join(f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>\n'
        for first, *cells in rows
    )
    return (
        f'<div class="wide" tabindex="0"><table><caption>{escape(caption)}</caption><thead><tr>{titles}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>\n"
    )
