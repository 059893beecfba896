"""What goes wrong while a job runs: bad pictures, full disks, lost records, kills. Nothing is lost."""

import os
import signal
import subprocess
import sys

import pytest

from sdk import jobs
from sdk.errors import GalleryWriteError, JobError
from sdk.gallery import open_gallery
from sdk.gallery.local import LocalGallery
from sdk.jobrecord import FILE_NAME, JobRecord, Settled
from sdk.listing import open_listing


def test_too_many_failures_stop_the_job_and_keep_what_was_done(
    folder, gallery, tiny_bundle, tmp_path, contents, damage
):
    damage()
    with pytest.raises(JobError, match=r"2 files failed, max_failures allows 1;(.|\n)*a/03\.png: is empty"):
        jobs.index(folder, tiny_bundle, gallery, max_failures=1, report=tmp_path / "report.csv")
    assert 6 <= len(contents(gallery)) <= 18
    statuses = [line.split(",")[2] for line in (tmp_path / "report.csv").read_text().splitlines()[1:]]
    assert statuses.count("corrupt") == 2
    assert len(statuses) == 20
    assert jobs.index(folder, tiny_bundle, gallery, max_failures=2).rows == 18


def test_files_that_vanish_midway_are_corrupt_with_the_reason(
    folder, gallery, tiny_bundle, monkeypatch, counts
):
    real = JobRecord.write_listing

    def write_and_delete(self, items):
        real(self, items)
        (folder / "b" / "18.png").unlink()

    monkeypatch.setattr(JobRecord, "write_listing", write_and_delete)
    report = jobs.index(folder, tiny_bundle, gallery)
    assert counts(report) == (19, 0, 0, 1, 0)
    assert report.failures == [("b/18.png", "No such file or directory")]


def test_any_error_of_a_decoder_is_the_files_fault(folder, gallery, tiny_bundle, monkeypatch):
    real = jobs.load_image

    def load(path):
        if path.endswith("05.png"):
            raise MemoryError("no room")
        return real(path)

    monkeypatch.setattr(jobs, "load_image", load)
    assert jobs.index(folder, tiny_bundle, gallery).failures == [("a/05.png", "MemoryError: no room")]


def test_rows_that_left_the_gallery_come_back_and_a_lost_record_costs_nothing(
    folder, gallery, tiny_bundle, contents, counts
):
    jobs.index(folder, tiny_bundle, gallery)
    before = contents(gallery)
    for name in (FILE_NAME, FILE_NAME + "-wal", FILE_NAME + "-shm"):
        (gallery / name).unlink(missing_ok=True)
    assert counts(jobs.index(folder, tiny_bundle, gallery)) == (0, 0, 20, 0, 0)
    assert contents(gallery) == before
    with open_gallery(gallery) as store:
        store.remove(["a/05.png"])
    assert counts(jobs.index(folder, tiny_bundle, gallery)) == (1, 0, 19, 0, 0)


def test_a_damaged_record_is_a_clear_error(folder, gallery, tiny_bundle):
    jobs.index(folder, tiny_bundle, gallery)
    for name in (FILE_NAME + "-wal", FILE_NAME + "-shm"):
        (gallery / name).unlink(missing_ok=True)
    (gallery / FILE_NAME).write_bytes(b"not a database, not at all" * 100)
    with pytest.raises(JobError, match="delete it and run the job again"):
        jobs.index(folder, tiny_bundle, gallery)


def test_a_full_disk_stops_the_job_and_it_goes_on_later(
    folder, gallery, tiny_bundle, monkeypatch, contents, counts
):
    monkeypatch.setattr(jobs, "_COMMIT_ROWS", 1)
    real, calls = LocalGallery.add, []

    def add(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise GalleryWriteError("no space left on device")
        return real(self, *arguments)

    monkeypatch.setattr(LocalGallery, "add", add)
    with pytest.raises(GalleryWriteError):
        jobs.index(folder, tiny_bundle, gallery)
    assert len(contents(gallery)) == 8  # one batch of the bundle
    assert counts(jobs.index(folder, tiny_bundle, gallery)) == (12, 0, 8, 0, 0)


def test_counts_that_do_not_add_up_are_an_error(folder, gallery, tiny_bundle, monkeypatch):
    monkeypatch.setattr(JobRecord, "counts", lambda self: {"ok": 19})
    with pytest.raises(JobError, match=r"don't add up: 20 files listed; 19 ok.*from 0 to 20 rows"):
        jobs.index(folder, tiny_bundle, gallery)


def test_a_batch_has_the_same_neighbours_whatever_was_done_before(folder, tmp_path):
    record = JobRecord(tmp_path / FILE_NAME, str(folder))
    record.write_listing(open_listing(folder))
    fresh = [[entry.id for entry in chunk] for chunk in record.chunks(8)]
    assert [len(chunk) for chunk in fresh] == [8, 8, 4]
    record.settle([Settled(seq, "ok") for seq in range(3, 10)])
    record.write_listing(open_listing(folder))
    assert [[entry.id for entry in chunk] for chunk in record.chunks(8)] == fresh
    assert [e.seq for chunk in record.chunks(8) for e in chunk if e.state == "done"] == list(range(3, 10))
    record.close()


# Runs a job that kills itself at the n-th of the moments that matter: around every commit and inference.
KILLED = """
import os, signal, sys
from sdk import jobs
from sdk.encoder import Encoder
from sdk.gallery.local import LocalGallery
from sdk.jobrecord import JobRecord

source, bundle, gallery, left = sys.argv[1:4] + [int(sys.argv[4])]
jobs._COMMIT_ROWS = 1  # every batch

def moment():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def between(owner, name):
    real = getattr(owner, name)
    def call(*arguments, **named):
        moment()
        result = real(*arguments, **named)
        moment()
        return result
    setattr(owner, name, call)

for name in ("write_listing", "settle"):
    between(JobRecord, name)
between(LocalGallery, "add")
between(Encoder, "pixels")
report = jobs.index(source, bundle, gallery, device="cpu")
assert report.corrupt == 2, report
"""


def run_killed(folder, bundle, gallery, moment):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, str(folder), str(bundle), str(gallery), str(moment)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_killed_anywhere_and_started_again_it_ends_with_the_same_gallery(
    folder, tmp_path, tiny_bundle, contents, counts, damage
):
    damage()
    jobs.index(folder, tiny_bundle, tmp_path / "whole.gallery", device="cpu")
    whole = contents(tmp_path / "whole.gallery")
    assert len(whole) == 18
    # One gallery is killed again and again: in the listing, then a little further into each next batch.
    gallery, kills = tmp_path / "killed.gallery", 0
    for moment in (1, 2, 4, 7, 8, 6, 3, 10_000):
        ended = run_killed(folder, tiny_bundle, gallery, moment)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        kills += 1
    assert ended.returncode == 0, ended.stderr
    assert kills >= 5
    assert contents(gallery) == whole
    assert counts(jobs.index(folder, tiny_bundle, gallery)) == (0, 0, 18, 2, 0)
