"""Nothing acknowledged is lost and nothing else appears, after a power loss or a killed process."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cpp_ext
from sdk.gallery import rows
from sdk.gallery.local import LocalGallery
from sdk.types import Space

FOUR = Space("5pace", 4)
KEPT = re.compile(r"\.(seg|codes|codes\.new)$")


class Disk:
    """Records what reaches the files of segments and codes, and what of it a power loss may take back.

    A file's content is safe once the file was fsynced after it, its name once the folder was: until then a
    new file may be missing, and a renamed one may have either name. SQLite keeps its own promise
    (synchronous = FULL), so the database is copied as of its last commit.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, after: Callable[[str], None]) -> None:
        self.folder, self._after = folder, after
        self.safe: dict[str, bytes] = {}  # content as of the last fsync
        self.names: set[str] = set()  # as of the folder's last fsync
        self.pending: dict[str, list[tuple[int, bytes]]] = {}
        self.renamed: dict[str, str] = {}  # new name to old, since the folder's last fsync
        self.database = (folder / rows.DATABASE).read_bytes()  # of a gallery that was just made and closed
        for name in ("pwrite", "ftruncate", "fsync"):
            patch.setattr(os, name, self._recorded(name, getattr(os, name)))
        patch.setattr(os, "rename", self._rename(os.rename))
        patch.setattr(rows, "commit", self._commit(rows.commit))

    def _recorded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(file: int, *arguments: Any) -> Any:
            path = Path(os.readlink(f"/proc/self/fd/{file}"))
            result = call(file, *arguments)
            if self.folder not in (path, path.parent):
                return result
            if name == "pwrite":
                data, offset = arguments
                self.pending.setdefault(path.name, []).append((offset, bytes(data)[:result]))
            elif name == "ftruncate":
                self.safe[path.name] = self.safe.get(path.name, b"")[: arguments[0]]
                self.pending.pop(path.name, None)
            elif path == self.folder:
                self.names = {p.name for p in path.iterdir() if KEPT.search(p.name)}
                self.renamed = {}
            elif KEPT.search(path.name):
                self.safe[path.name] = path.read_bytes()
                self.pending.pop(path.name, None)
            self._after(name)
            return result

        return recorded

    def _rename(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def rename(old: Path, new: Path) -> None:
            call(old, new)
            self.renamed[new.name] = old.name
            for content in (self.safe, self.pending):
                content.pop(new.name, None)  # type: ignore[attr-defined]
                if old.name in content:
                    content[new.name] = content.pop(old.name)  # type: ignore[attr-defined]
            self._after("rename")

        return rename

    def _commit(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def commit(connection: sqlite3.Connection) -> None:
            call(connection)
            copy = self.folder.with_suffix(".copy")
            copy.unlink(missing_ok=True)
            with sqlite3.connect(copy) as target:
                connection.backup(target)
            target.close()
            self.database = copy.read_bytes()
            self._after("commit")

        return commit

    def restart(self, folder: Path, rng: np.random.Generator) -> None:
        """What may be found after a power loss: all that is safe, and any part of the rest."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / rows.DATABASE).write_bytes(self.database)
        new = {name for name in [*self.safe, *self.pending] if name.endswith((".codes", ".new"))} - self.names
        for name in sorted(self.names | {name for name in sorted(new) if rng.random() < 0.7}):
            content = bytearray(self.safe.get(name, b""))
            for offset, data in self.pending.get(name, []):
                if rng.random() < 0.5:
                    data = data[: rng.integers(len(data) + 1)]
                    content.extend(bytes(max(0, offset + len(data) - len(content))))
                    content[offset : offset + len(data)] = data
            (folder / (name if rng.random() < 0.5 else self.renamed.get(name, name))).write_bytes(content)


def test_a_power_loss_at_any_write_leaves_the_last_commit(
    small: None, tmp_path: Path, make_twin: Any, same: Any
) -> None:
    rng, chance, events, coded = np.random.default_rng(3), np.random.default_rng(4), [], []
    queries = rng.standard_normal((2, 4), dtype=np.float32)
    before, after = make_twin(FOUR), make_twin(FOUR)

    def check(event: str) -> None:
        events.append(event)
        nonlocal before
        if event == "commit":
            before = make_twin(FOUR)
            before.rows = dict(after.rows)
        disk.restart(tmp_path / "again", chance)
        with LocalGallery(tmp_path / "again", write=bool(chance.random() < 0.3)) as found:
            same(found, before)
            if len(before.rows) > 40:  # enough for a screen
                stored = np.stack([v for v, _ in before.rows.values()])
                rows, scores = cpp_ext.topk(queries, stored, 2)
                ids = [[list(before.rows)[i] for i in row] for row in rows.tolist()]
                hits = found.search(queries, 2)
                assert (hits.ids.tolist(), hits.scores.tolist()) == (ids, scores.tolist())
                with found._view() as (_, snapshot):
                    screens = [s.screen for s in snapshot.segments if s.screen]
                coded.append(sum(s.is_stored() for s in screens) / len(screens))

    LocalGallery(tmp_path / "g", FOUR).close()
    with pytest.MonkeyPatch.context() as patch, LocalGallery(tmp_path / "g") as gallery:
        disk = Disk(tmp_path / "g", patch, check)
        for step, size in enumerate([1, 40, 5, 40, 1, 40, 1, 5]):
            new = [f"{step}.{i}" for i in range(size)]
            vectors = rng.standard_normal((len(new), 4), dtype=np.float32)
            after.add(new, vectors, [{"n": step}] * len(new))
            gallery.add(new, vectors, [{"n": step}] * len(new))
            if step % 3 == 1:
                changed = [list(after.rows)[i] for i in rng.permutation(len(after.rows))[:3]]
                vectors = rng.standard_normal((3, 4), dtype=np.float32)
                after.rows.update(zip(changed, [(v, {"new": step}) for v in vectors], strict=True))
                gallery.update(changed, vectors, [{"new": step}] * 3)
            if step % 4 == 2:
                gone = [list(after.rows)[i] for i in rng.permutation(len(after.rows))[:4]]
                for i in gone:
                    del after.rows[i]
                gallery.remove(gone)
            if step % 4 == 3:
                gallery.compact()
    assert events.count("commit") > 12
    assert events.count("pwrite") > 30
    assert events.count("rename") > 6
    assert {0 < share < 1 for share in coded} == {False, True}
    assert np.mean(coded) > 0.5


KILLED = """
import sys, numpy as np
from sdk.gallery import rows
from sdk.gallery.local import LocalGallery
from sdk.types import Space
rows.SEGMENT_ROWS, rows.BLOCK_ROWS = 32, 8
gallery = LocalGallery(sys.argv[1], Space("5pace", 4), write=True)
batch = len(gallery) // 50
while True:
    ids = list(range(batch * 50, batch * 50 + 50))
    gallery.add(ids, np.array(ids, np.float32)[:, None] * np.ones(4, np.float32), [{"n": i} for i in ids])
    batch += 1
    print(batch, flush=True)
"""


def test_a_killed_writer_leaves_whole_batches(tmp_path: Path) -> None:
    rng = np.random.default_rng()
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, tmp_path / "g"], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout
            told = process.stdout.readline()
            try:
                process.wait(rng.uniform(0, 0.15))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            told = (told + process.stdout.read()).splitlines()[-1]
        with LocalGallery(tmp_path / "g", write=True) as gallery:
            count = len(gallery)
            assert count in (50 * int(told), 50 * int(told) + 50)
            found = gallery.get(range(count + 50))
            assert found[count:] == [None] * 50
            assert [(r.vector.tolist(), r.metadata) for r in found[:count] if r] == [
                ([float(i)] * 4, {"n": i}) for i in range(count)
            ]
            hits = gallery.search(np.ones((1, 4), np.float32), 3, where={"n": {"$lt": 7}})
            assert hits.ids.tolist() == [[6, 5, 4]]
