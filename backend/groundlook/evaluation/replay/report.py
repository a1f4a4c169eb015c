"""A replay as files: everything as JSON, the figure as PNG, and a page that needs nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from groundlook.evaluation.replay.plot import figure, render
from groundlook.evaluation.replay.summary import Line, Reached, Summary
from groundlook.evaluation.replay.values import Replay

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1340px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem} p{max-width:75ch}
code{background:#f4f4f4;padding:.15em .35em;border-radius:3px}
.scroll{overflow-x:auto} table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.35rem .5rem;text-align:right;border-bottom:1px solid #e6e6e6;white-space:nowrap}
th{vertical-align:bottom;border-bottom:2px solid #888} th:first-child,td:first-child{text-align:left}
tr.subject td{font-weight:600;background:#eef5fb} tr.reference td{background:#f4f4f4} td.lost{color:#a63d00}
small{color:#666;font-weight:400} figure{margin:1rem 0} svg{width:100%;height:auto}
"""


def write(found: Replay, summary: Summary, command: str, out: Path) -> dict[str, Path]:
    """`out`/replay.json, replay.png and replay.html; by the name of each format. `command`: what makes them again."""
    out.mkdir(parents=True, exist_ok=True)
    sheet = figure(found, summary)
    bodies = {
        "json": json.dumps(body(found, summary, command)).encode(),
        "png": render(sheet, "png"),
        "html": page(found, summary, command, render(sheet, "svg").decode()).encode(),
    }
    paths = {kind: out / f"replay.{kind}" for kind in bodies}
    for kind, path in paths.items():
        path.write_bytes(bodies[kind])
    return paths


def body(found: Replay, summary: Summary, command: str) -> dict[str, Any]:
    """Everything, as JSON: command, summary, every run."""
    return {"command": command, "summary": _finite(asdict(summary)), "replay": found.body()}


def table(found: Replay, summary: Summary) -> str:
    """The summary for a terminal."""
    heads = ["strategy", found.measure, *(f"to {t:.3g}" for t in summary.targets), "ratio", "w-t-l", "p (Holm)"]
    rows = [heads]
    for line in summary.lines:
        rows.append([line.strategy, f"{line.area:.4f}", *(_labels(t, summary) for t in line.targets)])
        rows[-1] += [_ratio(line), *_against(line)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(heads))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows)


def page(found: Replay, summary: Summary, command: str, svg: str) -> str:
    """The HTML page: figure, table, and how to read them."""
    setup = found.setup
    seeds = [r.seed for r in found.of(summary.reference)]
    full = "" if summary.full is None else f" With every label the {escape(found.measure)} is {summary.full:.3f}."
    targets = "".join(f"<th>labels to<br>{t:.3g}</th>" for t in summary.targets)
    head = (
        f"<tr><th>strategy</th><th>mean {escape(found.measure)}<br><small>95 % interval</small></th>{targets}"
        f"<th>labels ÷<br>{escape(summary.reference)}’s</th><th>time saved<br><small>to the last target</small></th>"
        f"<th>wins – ties – losses<br><small>against {escape(summary.reference)}</small></th>"
        f"<th>p<br><small>Holm</small></th><th>p against<br>{escape(summary.subject)}</th><th>lowest<br>difference</th>"
        f"<th>surely worse<br>at labels</th><th>ranking<br>ms</th></tr>"
    )
    rows = "".join(_row(line, summary) for line in summary.lines)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Replay: {escape(found.study)}</title><style>{_STYLE}</style></head>
<body><h1>Which images to label next: {escape(found.study)}</h1>
<p>{len(found.strategies)} strategies, {len(seeds)} paired seeds, {setup.rounds} rounds of {setup.batch} labels{
        f" after {setup.start} at random" if setup.start else ""
    }. After each round the model is trained from scratch and measured on a test part that no strategy sees.{full}</p>
<figure>{svg[svg.index("<svg") :]}</figure>
<div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>
<h2>How to read this</h2>
<p>Mean {escape(found.measure)}: the area under the curve over the labels that all runs share ({summary.span[0]:.0f} to
{summary.span[1]:.0f}), divided by their number. Labels to a target: on the line between two rounds, mean over the
seeds; “>” where a seed never got there and counts with all that it bought. Ratio: geometric mean over the targets of
mean labels by mean labels of {escape(summary.reference)}; ≤ and ≥ where one of the two never got there. p: Wilcoxon’s
signed-rank test on the paired areas, two-sided, with Holm’s correction over the strategies of the column. Surely worse:
one-sided tests round by round, Holm’s correction over the rounds. An empty task costs one label.</p>
{_left_out(found)}<p>Made by <code>{escape(command)}</code></p></body></html>
"""


def _left_out(found: Replay) -> str:
    rows = "".join(f"<li>{escape(why)}</li>" for why in found.left_out.values())
    return f"<p>Left out, as they can’t rank this set:</p><ul>{rows}</ul>\n" if rows else ""


def _row(line: Line, summary: Summary) -> str:
    name = line.strategy
    kind = "subject" if name == summary.subject else "reference" if name == summary.reference else ""
    wins, p = _against(line)
    lost = line.against is not None and line.against.gain < 0
    beside = "" if line.subject is None else f"{line.subject.holm:.2g}"
    cells = [
        f"{line.area:.4f}<br><small>{line.low:.4f} – {line.high:.4f}</small>",
        *(f"{escape(_labels(t, summary))}<br><small>{t.low:.0f} – {t.high:.0f}</small>" for t in line.targets),
        _ratio(line),
        _saved(line),
        wins,
        p,
        beside,
        "" if line.against is None else f"{line.lowest:+.3f}",
        _worse(line),
        f"{line.took * 1000:.0f}",
    ]
    mark = ' class="lost"' if lost else ""
    return f'<tr class="{kind}"><td>{escape(name)}</td>' + "".join(f"<td{mark}>{c}</td>" for c in cells) + "</tr>"


def _labels(found: Reached, summary: Summary) -> str:
    return f"{'' if found.reached == summary.seeds else '>'}{found.labels:.0f}"


def _ratio(line: Line) -> str:
    return "–" if line.ratio is None else f"{line.bound}{line.ratio:.3f}"


def _against(line: Line) -> tuple[str, str]:
    if line.against is None:
        return "", ""
    return f"{line.against.wins}-{line.against.ties}-{line.against.losses}", f"{line.against.holm:.2g}"


def _worse(line: Line) -> str:
    if line.against is None:
        return ""
    if line.worse is None:
        return "too few seeds"
    return ", ".join(f"{v:.0f}" for v in line.worse) or "never"


def _saved(line: Line) -> str:
    """Time to the last target; where the ratio is at most so much, this is at least."""
    saved = line.targets[-1].saved if line.targets else None
    if saved is None or line.against is None:
        return ""
    size, sign = abs(saved), "−" if saved < 0 else ""
    bound = {"≤": "≥", "≥": "≤"}.get(line.targets[-1].bound, "")
    return bound + sign + (f"{size / 3600:.1f} h" if size >= 3600 else f"{size / 60:.1f} min")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
