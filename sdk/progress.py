"""How far a job is, and how that is shown: a bar on a terminal, a plain line now and then, or JSON lines."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TextIO, TypeAlias

_WINDOW = 10.0  # seconds over which the rate is taken: a job that hangs shows a rate of 0
_EVERY = 5.0  # seconds between plain lines


@dataclass(frozen=True)
class Progress:
    """Where a job stands. ``rate`` is files/s over the last 10 s; ``seconds_left`` None when unknown."""

    done: int
    total: int
    failures: int
    rate: float
    seconds_left: float | None


OnProgress: TypeAlias = Callable[[Progress], None]


class Meter:
    """Turns counts into Progress. ``clock`` gives seconds."""

    def __init__(self, total: int, say: OnProgress, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._say_to, self._clock = total, say, clock
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)])

    def say(self, done: int, failures: int) -> None:
        now = self._clock()
        while len(self._marks) > 1 and now - self._marks[1][0] >= _WINDOW:
            self._marks.popleft()
        since, before = self._marks[0]
        self._marks.append((now, done))
        rate = (done - before) / max(now - since, 1e-9)
        left = (self._total - done) / rate if rate > 0 else None
        self._say_to(Progress(done, self._total, failures, rate, left))


@contextmanager
def shown(as_json: bool = False, stream: TextIO | None = None) -> Iterator[OnProgress]:
    """Yields what ``jobs.index`` calls. Goes to stderr, JSON lines to stdout, unless ``stream`` is given."""
    if as_json:
        out = stream or sys.stdout
        yield _lines(out, 1.0, lambda p: json.dumps({"event": "progress", **asdict(p)}))
    elif not (stream or sys.stderr).isatty():
        yield _lines(stream or sys.stderr, _EVERY, describe)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("indexing"), BarColumn(), TextColumn("{task.description}"))
        with Bar(*columns, console=Console(file=stream or sys.stderr)) as bar:
            task = bar.add_task("reading the list", total=None)
            yield lambda p: bar.update(task, total=p.total, completed=p.done, description=describe(p))


def describe(progress: Progress) -> str:
    """E.g. ``1,200/19,732 · 310 files/s · 1:00 left · 2 failed``."""
    rate = f"{progress.rate:,.{0 if progress.rate >= 10 else 1}f} files/s"
    parts = [f"{progress.done:,}/{progress.total:,}", rate]
    if progress.seconds_left is not None and progress.done < progress.total:
        parts.append(f"{clock(progress.seconds_left)} left")
    if progress.failures:
        parts.append(f"{progress.failures:,} failed")
    return " · ".join(parts)


def clock(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _lines(out: TextIO, every: float, text: Callable[[Progress], str]) -> OnProgress:
    last, ended = float("-inf"), False

    def say(progress: Progress) -> None:
        nonlocal last, ended
        now = time.monotonic()
        end = progress.done == progress.total  # said once, at once, however late the last line was
        if now - last >= every or (end and not ended):
            last, ended = now, end
            print(text(progress), file=out, flush=True)

    return say
