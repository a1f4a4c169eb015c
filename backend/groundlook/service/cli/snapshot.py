"""snapshot: annotations as an immutable dataset; what is in it, what changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from groundlook.core.errors import InvalidInput
from groundlook.service.cli.shared import JSON, PROJECT, TOKEN, URL, progress
from groundlook.service.cli.shared import out as show_result
from groundlook.service.settings import read_settings

if TYPE_CHECKING:
    from groundlook.core.types import Snapshot
    from groundlook.learning.snapshot.diff import Diff
    from groundlook.learning.snapshot.leaks import Leak
    from groundlook.learning.snapshot.stats import PartStats
    from groundlook.service.wiring.snapshot import Report, View

ViewName = Literal["coco", "yolo", "yolo-obb", "parquet"]
VIEW = typer.Option(None, help="Also write it as a dataset.")
OUT = typer.Option(None, help="Where the view goes: a folder, a file for parquet.")
IMAGES = typer.Option(False, "--images", help="With the pictures.")
OVERWRITE = typer.Option(False, help="Replace what is there.")

_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(invoke_without_command=True, context_settings=app.info.context_settings)
    group.callback(epilog="Example: groundlook snapshot --project 1 --view coco --out coco --images")(snapshot)
    group.command("list", epilog="Example: groundlook snapshot list --project 1")(listing)
    group.command("show", epilog="Example: groundlook snapshot show 1f3a")(show)
    group.command("diff", epilog="Example: groundlook snapshot diff 1f3a 77b0")(difference)
    app.add_typer(group, name="snapshot")


def snapshot(
    context: typer.Context,
    project: int = typer.Option(None, "--project", "-p", help="Id of the Label Studio project."),
    resolve: str = typer.Option(
        None, help="Several annotations of a task: newest, majority, consensus, annotator:NAME. Default: the project's."
    ),
    keep: bool = typer.Option(False, help="Trainings resolve like this from now on."),
    strict: bool = typer.Option(False, help="Fail where training and held-out tasks share ground or a picture."),
    view: ViewName = VIEW,
    out: Path = OUT,
    images: bool = IMAGES,
    overwrite: bool = OVERWRITE,
    url: str = URL,
    token: str = TOKEN,
    as_json: bool = JSON,
) -> None:
    """Read what people annotated into an immutable dataset, named by the hash of its content. Interrupted, it goes on
    where it stopped."""
    if context.invoked_subcommand is not None:
        return
    if project is None:
        raise typer.BadParameter("snapshot needs --project, or one of list, show, diff")
    _check_view(view, out)
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.connect import find_project
    from groundlook.service.wiring.snapshot import keep_rule, take, write_view

    with wire(read_settings(os.environ)) as wired:
        known = find_project(wired, project, url, token)
        report = take(wired, known, resolve, _tell)
        if keep:
            keep_rule(wired, known, report.rule)
        written = None
        if view and not (strict and report.leaks):
            written = write_view(wired, known, report.snapshot, view, out, images, overwrite, _tell)
    _tell_report(as_json, report, written)
    if strict and report.leaks:
        raise InvalidInput(f"{_many(len(report.leaks), 'leak')} from held-out ground into training: mend the splits")


def listing(project: int = PROJECT, as_json: bool = JSON) -> None:
    """The snapshots of a project that are kept, oldest first."""
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.snapshot import kept

    with wire(read_settings(os.environ)) as wired:
        rows = kept(wired, project)
    lines = [
        f"{row['snapshot'][:16]}  {_moment(row['saved'])}  {_many(row['tiles'], 'tile')}, "
        f"{_many(row['regions'], 'region')}"
        for row in rows
    ]
    show_result(as_json, {"project": project, "snapshots": rows}, "\n".join(lines) or "no snapshot yet")


def show(
    start: str = typer.Argument(..., metavar="ID", help="A snapshot's id, or how it begins."),
    view: ViewName = VIEW,
    out: Path = OUT,
    images: bool = IMAGES,
    overwrite: bool = OVERWRITE,
    url: str = URL,
    token: str = TOKEN,
    as_json: bool = JSON,
) -> None:
    """What a snapshot holds; with --view, write it again as the dataset that it was."""
    _check_view(view, out)
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.connect import find_project
    from groundlook.service.wiring.snapshot import found, look, write_view

    with wire(read_settings(os.environ)) as wired:
        report = look(found(wired, start))
        written = None
        if view:
            known = find_project(wired, report.snapshot.project, url, token)
            written = write_view(wired, known, report.snapshot, view, out, images, overwrite, _tell)
    _tell_report(as_json, report, written)


def difference(
    before: str = typer.Argument(..., help="The earlier snapshot's id, or how it begins."),
    after: str = typer.Argument(..., help="The later one's."),
    as_json: bool = JSON,
) -> None:
    """What people changed between two snapshots of a project."""
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.snapshot import compared

    with wire(read_settings(os.environ)) as wired:
        one, other, found = compared(wired, before, after)
    body = {"before": one.id, "after": other.id, **asdict(found)}
    show_result(as_json, body, "\n".join(changes(one, other, found)))


def _check_view(view: str | None, out: Path | None) -> None:
    if (view is None) != (out is None):
        raise typer.BadParameter("--view and --out go together")


def _tell(share: float, text: str) -> None:
    progress(f"{share:4.0%} {text}")


def _tell_report(as_json: bool, report: Report, written: View | None) -> None:
    for problem in (*report.problems, *(written.problems if written else ())):
        typer.echo(f"groundlook: left out: {problem}", err=True)
    show_result(as_json, _data(report, written), "\n".join([*sentences(report), *_viewed(written)]))


def _data(report: Report, written: View | None) -> dict[str, Any]:
    head = {"snapshot": report.snapshot.id, "project": report.snapshot.project, "labels": report.snapshot.labels}
    more = {name: getattr(report, name) for name in ("ground_m2", "rule", "new", "skipped", "problems")}
    view = None if written is None else {**asdict(written), "path": str(written.path)}
    return {**head, **asdict(report.stats), **more, "leaks": [asdict(leak) for leak in report.leaks], "view": view}


def sentences(report: Report) -> list[str]:
    """A snapshot in words."""
    stats = report.stats
    news = {True: ", new", False: ", as before"}[report.new] if report.rule else ""
    ground = "" if report.ground_m2 is None else f" on {_area(report.ground_m2)} of ground"
    lines = [
        f"snapshot {report.snapshot.id[:16]} of project {report.snapshot.project}{news}: {_part(stats.whole)}{ground}"
    ]
    lines += [f"split {name}: {_part(part)}" for name, part in stats.splits.items()]
    for label, found in stats.whole.classes.items():
        area = "" if found.m2 is None else f", {_area(found.m2)}"
        lines.append(f"class {label}: {_many(found.regions, 'region')} on {_many(found.tiles, 'tile')}{area}")
    lines += _named("site", stats.sites) + _named("sensor", stats.sensors)
    lines += [f"annotator {name or 'unknown'}: {_many(count, 'tile')}" for name, count in stats.annotators.items()]
    if stats.ground_truth:
        lines.append(f"ground truth: {_many(stats.ground_truth, 'tile')}")
    if report.skipped:
        lines.append(f"left out, skipped or not resolved by {report.rule}: {_many(report.skipped, 'task')}")
    return lines + _leaks(report.leaks)


def _named(what: str, parts: Mapping[str, PartStats]) -> list[str]:
    """Nothing where nobody said."""
    return [f"{what} {name or 'unknown'}: {_part(part)}" for name, part in parts.items()] if any(parts) else []


def _leaks(found: tuple[Leak, ...]) -> list[str]:
    words = [
        f"  task {leak.train} (train) and {leak.val} (held out): "
        + ("the same picture" if leak.why == "image" else f"{leak.share:.1%} of the same ground")
        for leak in found[:_SHOWN]
    ]
    if not found:
        return ["leaks: none"]
    more = [f"  and {len(found) - _SHOWN:,} more (--json lists them)"] if len(found) > _SHOWN else []
    return [f"warning: {_many(len(found), 'leak')}: what training has seen is no test", *words, *more]


def _viewed(written: View | None) -> list[str]:
    if written is None:
        return []
    images = f" and {_many(written.images, 'picture')}" if written.images else ""
    lines = [f"{_many(written.regions, 'region')}{images} written to {written.path}"]
    return lines + [f"left out: {count:,} {reason.replace('_', ' ')}" for reason, count in written.skipped.items()]


def changes(before: Snapshot, after: Snapshot, found: Diff) -> list[str]:
    """A diff in words."""
    lines = [f"from {before.id[:16]} to {after.id[:16]}: " + ("no change" if found.empty else "")]
    for what, tasks in (("added", found.added), ("removed", found.removed), ("changed", found.changed)):
        if tasks:
            more = ", …" if len(tasks) > _SHOWN else ""
            lines.append(f"{_many(len(tasks), 'task')} {what}: {', '.join(map(str, tasks[:_SHOWN]))}{more}")
    lines += [f"task {task} moved from {old} to {new}" for task, old, new in found.moved]
    for label, one in found.classes.items():
        lines.append(f"class {label}: {one.added:,} added, {one.removed:,} removed, {one.changed:,} changed")
    lines += [f"{_many(count, 'region')} relabelled {old} → {new}" for old, new, count in found.relabelled]
    return lines


def _part(part: PartStats) -> str:
    return f"{_many(part.tiles, 'tile')}, {part.empty:,} of them empty, {_many(part.regions, 'region')}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _area(metres: float) -> str:
    return f"{metres / 1e6:,.2f} km²" if metres >= 1e5 else f"{metres:,.0f} m²"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
