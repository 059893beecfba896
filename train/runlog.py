"""A run folder: ``config.json``, ``log.jsonl`` with one line per step and per evaluation, ``loss.png``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

COLUMNS = (
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("steps, loss {task.fields[loss]:.3f}, left"),
    TimeRemainingColumn(),
)


class RunLog:
    """Writes one run's folder and shows a progress bar; a context manager.

    total: steps of the whole run. step: where it goes on; lines of later steps, from a run that died after
    its last checkpoint, are dropped. A line has ``event`` ("start", "step", "eval" or "end") and ``step``,
    and is flushed as it is written. With ``on`` false (every process but the main one) nothing happens.
    """

    def __init__(
        self, folder: str | Path, config: Mapping[str, Any], total: int, step: int = 0, on: bool = True
    ) -> None:
        self.folder, self.path, self.on = Path(folder), Path(folder) / "log.jsonl", on
        self._progress = Progress(*COLUMNS, disable=not on)
        self._bar = self._progress.add_task("", total=total, completed=step, loss=float("nan"))
        if on:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / "config.json", json.dumps(dict(config), indent=2) + "\n")
            kept = [line for line in read(self.path) if line["step"] <= step] if step else []
            write_whole(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def __enter__(self) -> RunLog:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the bar and draw the loss curve, also of a run that was interrupted."""
        self._progress.stop()
        if self.on:
            draw(self.path, self.folder / "loss.png")

    def write(self, event: str, step: int, **values: Any) -> None:
        """Append one line; a "step" moves the bar and must have a ``loss``."""
        if event == "step":
            self._progress.update(self._bar, completed=step, loss=values["loss"])
        if self.on:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, "step": step, **values}) + "\n")


def read(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a log; a last line cut by a crash is left out, a missing file has none."""
    if not Path(path).exists():
        return []
    lines = []
    for text in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def draw(log: str | Path, picture: str | Path) -> None:
    """The loss of every step and the Rank-1 of every evaluation, a line per part, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read(log)
    steps = [line for line in lines if line["event"] == "step"]
    evals = [line for line in lines if line["event"] == "eval" and "rank1" in line]
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)  # no window, no global state
    axes = figure.add_subplot(xlabel="step", ylabel="loss")
    axes.plot([line["step"] for line in steps], [line["loss"] for line in steps], linewidth=0.8)
    if evals:
        other = axes.twinx()
        other.set(ylabel="Rank-1 (%)", ylim=(0, 100))
        parts = sorted({line["part"] for line in evals})
        for colour, part in zip(("tab:orange", "tab:green"), reversed(parts), strict=False):
            mine = [line for line in evals if line["part"] == part]
            at, figures = [line["step"] for line in mine], [line["rank1"] for line in mine]
            other.plot(at, figures, "o-", color=colour, label=part)
        other.legend()
    figure.savefig(picture, dpi=120)


def write_whole(path: Path, text: str) -> None:
    """Write a file such that whoever reads it finds the old text or the new one."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
