"""Index a folder or a list of pictures into a gallery: decoded in threads, embedded in order, resumable.

The job commits whole batches in the order of the listing (see ``jobrecord``), so a job that is killed and
started again ends with the same ids, order and vectors as one that wasn't. A picture that can't be read is
counted with its reason and never stops the job by itself; more than ``max_failures`` of them do.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .errors import ImageError, JobError
from .jobrecord import FILE_NAME, Entry, JobRecord, Outcome, Settled
from .listing import Listing, open_listing
from .preprocess import load_image, preprocess_images
from .progress import Meter, OnProgress
from .types import Floats, Gallery

if TYPE_CHECKING:
    from .encoder import Encoder

_AHEAD = 2  # batches being decoded while one is embedded; bounds the memory
_COMMIT_ROWS = 1024  # a commit costs two fsyncs: worth it every so many rows,
_COMMIT_SECONDS = 1.0  # or every so often, whichever comes first
_LISTED_FAILURES = 20


@dataclass(frozen=True)
class JobReport:
    """A finished job: total = ok + updated + skipped + corrupt + refused, and the gallery grew by ok.

    ok: added; updated: the file or its metadata had changed; skipped: already there, unchanged; corrupt:
    not a readable picture; refused: readable or not, its id can't be used.
    """

    source: str
    total: int
    ok: int
    updated: int
    skipped: int
    corrupt: int
    refused: int
    rows: int  # in the gallery, from whatever source
    gone: int  # indexed before, not listed any more, still in the gallery
    ignored: dict[str, int]  # passed over in the folder: reason or suffix → files
    failures: list[tuple[str | int, str]]  # (id, reason), the first 20
    seconds: float


_Decoded: TypeAlias = "tuple[Floats | None, str]"


def index(
    source: str | Path,
    bundle: str | Path,
    gallery: str | Path,
    *,
    device: str = "auto",
    strict: bool = False,
    max_failures: int = 100,
    report: str | Path | None = None,
    progress: OnProgress | None = None,
) -> JobReport:
    """Bring the gallery up to date with a folder, a .csv or a .parquet list (see ``listing``).

    ``report`` names a CSV with a line per file, written also when the job fails. Raises JobError when
    the source holds no picture, more than ``max_failures`` files are corrupt or refused, or the counts
    don't add up; SpaceMismatchError when the gallery was filled by another model.
    """
    if max_failures < 0:
        raise JobError(f"max_failures: got {max_failures}; 0 or more files may fail")
    listing = open_listing(source)
    from .bundle import Bundle
    from .encoder import Encoder
    from .gallery import open_gallery
    from .runtime import label, open_session

    opened = Bundle.open(bundle)
    session = open_session(opened, device=device, strict=strict)
    try:
        store = open_gallery(gallery, opened.space, write=True, engine=label(session))
        try:
            place = str(gallery).partition("://")[2] or str(gallery)
            record = JobRecord(Path(place) / FILE_NAME, str(Path(source).resolve()))
            try:
                record.write_listing(listing)
                job = _Job(Encoder(opened, session), store, record, max_failures, progress)
                try:
                    job.run()
                finally:
                    if report is not None:
                        record.write_report(report)
                return job.report(listing)
            finally:
                record.close()
        finally:
            store.close()
    finally:
        session.close()


@dataclass
class _Batch:
    """What waits for the next commit."""

    adds: list[tuple[Entry, Any]] = field(default_factory=list)  # vector: (d,) or (t, d)
    updates: list[tuple[Entry, Any]] = field(default_factory=list)
    metadata: list[Entry] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)


class _Job:
    """One run: the record says what and in which order, the gallery what is there already."""

    def __init__(
        self,
        encoder: Encoder,
        store: Gallery,
        record: JobRecord,
        max_failures: int,
        progress: OnProgress | None,
    ) -> None:
        self._encoder, self._store, self._record = encoder, store, record
        self._max_failures = max_failures
        self._rows_before = len(store)
        self._begin = self._committed = time.monotonic()
        self._waiting = _Batch()
        self._done = self._failed = 0
        self._total = record.total()
        self._meter = Meter(self._total, progress) if progress is not None else None

    def run(self) -> None:
        size = self._encoder.bundle.max_batch
        threads = min(
            16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        )
        pool = ThreadPoolExecutor(threads, thread_name_prefix="labrador-decode")
        try:
            ahead: deque[tuple[list[tuple[Entry, Outcome]], list[Future[_Decoded]]]] = deque()
            for chunk in self._record.chunks(size):
                todo = list(self._todo(chunk))
                ahead.append((todo, [pool.submit(self._decode, entry.path) for entry, _ in todo]))
                if len(ahead) > _AHEAD:
                    self._embed(*ahead.popleft())
            while ahead:
                self._embed(*ahead.popleft())
            self._commit()
        finally:
            pool.shutdown(cancel_futures=True)

    def _todo(self, chunk: Sequence[Entry]) -> Iterator[tuple[Entry, Outcome]]:
        """The files to embed, and as what; the others of the chunk are settled here."""
        present = [entry for entry in chunk if entry.outcome == "" and entry.id in self._store]
        strangers = [entry for entry in present if not entry.ours]
        owners = dict(
            zip((e.seq for e in strangers), self._store.get([e.id for e in strangers]), strict=True)
        )
        there = {entry.seq for entry in present}
        for entry in chunk:
            if entry.outcome:  # refused by the listing
                self._settle(entry, "refused", count_only=True)
                continue
            if entry.seq not in there:
                yield entry, "ok"
                continue
            state = entry.state
            if not entry.ours:
                # Our own row when a kill came between the gallery's commit and the record's; else another's.
                row = owners[entry.seq]
                other = row.metadata.get("path") if row else None
                if other != entry.path:
                    if not isinstance(other, str) or os.path.exists(other):
                        owner = f"the picture {other}" if other else "another item"
                        self._settle(
                            entry, "refused",
                            f"the gallery already holds {owner} under this id; give a list with an id column",
                        )  # fmt: skip
                        continue
                    state = "changed"  # the folder moved
            if state == "changed":
                yield entry, "updated"
            elif state == "metadata":
                self._waiting.metadata.append(entry)
                self._settle(entry, "updated")
            else:
                self._settle(entry, "skipped")

    def _decode(self, path: str) -> _Decoded:
        """((3, h, w) float32, "") or (None, why not). Runs in a thread; PIL releases the GIL."""
        try:
            return preprocess_images([load_image(path)], self._encoder.bundle.image_spec)[0], ""
        except ImageError as error:
            return None, str(error).removeprefix(f"image {path!r}: ")
        except Exception as error:  # whatever a malformed file makes a decoder raise is the file's fault
            return None, f"{type(error).__name__}: {error}"

    def _embed(self, todo: Sequence[tuple[Entry, Outcome]], futures: Sequence[Future[_Decoded]]) -> None:
        good: list[tuple[Entry, Outcome]] = []
        pixels: list[Floats] = []
        for (entry, outcome), future in zip(todo, futures, strict=True):
            decoded, reason = future.result()
            if decoded is None:
                kept = "; the gallery keeps its former vector" if outcome == "updated" else ""
                self._settle(entry, "corrupt", reason + kept)
            else:
                good.append((entry, outcome))
                pixels.append(decoded)
        if good:
            vectors = self._encoder.pixels(np.stack(pixels))
            for (entry, outcome), vector in zip(good, vectors, strict=True):
                (self._waiting.adds if outcome == "ok" else self._waiting.updates).append((entry, vector))
                self._settle(entry, outcome)
        late = time.monotonic() - self._committed >= _COMMIT_SECONDS
        if late or len(self._waiting.settled) >= _COMMIT_ROWS or self._failed > self._max_failures:
            self._commit()
        if self._meter is not None:
            self._meter.say(self._done, self._failed)
        if self._failed > self._max_failures:
            raise JobError(
                f"stopped: {self._failed} files failed, max_failures allows {self._max_failures}; "
                f"{self._done} of {self._total} were reached and what was indexed is kept. First failures:"
                f"\n{_shown(self._record.failures(_LISTED_FAILURES))}"
            )

    def _settle(self, entry: Entry, outcome: Outcome, reason: str = "", *, count_only: bool = False) -> None:
        self._done += 1
        self._failed += outcome in ("corrupt", "refused")
        if not count_only:
            self._waiting.settled.append(Settled(entry.seq, outcome, reason))

    def _commit(self) -> None:
        """The gallery first, then the record: a kill between the two is seen by ``_todo``."""
        batch, self._waiting = self._waiting, _Batch()
        if batch.adds:
            self._store.add(
                [e.id for e, _ in batch.adds],
                np.stack([v for _, v in batch.adds]),
                [e.metadata for e, _ in batch.adds],
            )
        if batch.updates:
            self._store.update(
                [e.id for e, _ in batch.updates],
                np.stack([v for _, v in batch.updates]),
                [e.metadata for e, _ in batch.updates],
            )
        if batch.metadata:
            self._store.update([e.id for e in batch.metadata], None, [e.metadata for e in batch.metadata])
        if batch.settled:
            self._record.settle(batch.settled)
        self._committed = time.monotonic()

    def report(self, listing: Listing) -> JobReport:
        """Add up what the record says with what the gallery holds; raises JobError when they differ."""
        counts = self._record.counts()
        n = {name: counts.get(name, 0) for name in ("ok", "updated", "skipped", "corrupt", "refused")}
        rows, failures = len(self._store), self._record.failures(_LISTED_FAILURES)
        if sum(n.values()) != self._total or rows - self._rows_before != n["ok"]:
            said = ", ".join(f"{v} {k}" for k, v in n.items())
            raise JobError(
                f"the counts don't add up: {self._total} files listed; {said}; the gallery went from "
                f"{self._rows_before} to {rows} rows. Run the job again; what is there is kept and skipped"
            )
        gone = self._record.forget(lambda id: id in self._store)
        return JobReport(
            source=str(listing.source), total=self._total, **n, rows=rows, gone=gone,
            ignored=dict(listing.ignored), failures=failures, seconds=time.monotonic() - self._begin,
        )  # fmt: skip


def _shown(failures: Sequence[tuple[object, str]]) -> str:
    return "\n".join(f"  {id}: {reason}" for id, reason in failures)
