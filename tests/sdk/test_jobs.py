"""Indexing jobs: what ends up in the gallery and the record, after any accident."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from sdk import jobs
from sdk.bundle import Bundle
from sdk.encoder import Encoder
from sdk.errors import GalleryLockedError, GalleryWriteError, JobError, SpaceMismatchError
from sdk.gallery import open_gallery
from sdk.gallery.local import LocalGallery
from sdk.jobrecord import FILE_NAME, JobRecord, Settled, erase_from_jobs
from sdk.listing import open_listing
from sdk.runtime import open_session

COLOURS = ("red", "green", "blue")


@pytest.fixture
def folder(tmp_path, picture):
    """20 pictures in two folders; two of 20 are no pictures inside."""
    root = tmp_path / "pictures"
    for number in range(20):
        path = root / ("a" if number % 2 else "b") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(COLOURS[number % 3], number).save(path)
    return root


@pytest.fixture
def gallery(tmp_path):
    return tmp_path / "people.gallery"


def damage(folder):
    (folder / "a" / "03.png").write_bytes(b"")
    whole = (folder / "b" / "10.png").read_bytes()
    (folder / "b" / "10.png").write_bytes(whole[: len(whole) // 2])


def contents(path):
    """(id, metadata, bytes of the vector) of every row in insertion order: a zero query ties them all."""
    with open_gallery(path, write=False) as store:
        hits = store.search(np.zeros((1, store.space.dim), np.float32), max(1, len(store)))
        ids = [i for i in hits.ids[0] if i is not None]
        return [(row.id, row.metadata, row.vector.tobytes()) for row in store.get(ids)]


def counts(report):
    return (report.ok, report.updated, report.skipped, report.corrupt, report.refused)


def test_a_folder_becomes_a_gallery(folder, gallery, tiny_bundle):
    (folder / "notes.txt").write_text("x")
    report = jobs.index(folder, tiny_bundle, gallery, device="cpu")
    assert (report.total, counts(report), report.rows) == (20, (20, 0, 0, 0, 0), 20)
    assert (report.ignored, report.failures, report.gone) == ({".txt": 1}, [], 0)
    rows = contents(gallery)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
    assert [id for id, _, _ in rows] == names
    assert rows[0][1] == {"path": str(folder / names[0])}
    bundle = Bundle.open(tiny_bundle)
    alone = Encoder(bundle, open_session(bundle, "cpu")).images([str(folder / name) for name in names])
    stored = np.stack([np.frombuffer(vector, np.float32) for _, _, vector in rows])
    np.testing.assert_allclose(stored, alone, atol=1e-5)


def test_a_second_run_skips_all_and_a_change_is_seen(folder, gallery, tiny_bundle, picture):
    jobs.index(folder, tiny_bundle, gallery)
    before = contents(gallery)
    assert counts(jobs.index(folder, tiny_bundle, gallery)) == (0, 0, 20, 0, 0)
    assert contents(gallery) == before
    picture("blue", 99).save(folder / "a" / "01.png")
    picture("red", 98).save(folder / "a" / "000 new.png")
    (folder / "b" / "00.png").unlink()
    report = jobs.index(folder, tiny_bundle, gallery)
    assert counts(report) == (1, 1, 18, 0, 0)
    assert (report.total, report.rows, report.gone) == (20, 21, 1)
    after = contents(gallery)
    assert [row[0] for row in after] == [*(row[0] for row in before), "a/000 new.png"]  # new ones come last
    changed = [old[0] for old, new in zip(before, after, strict=False) if old != new]
    assert changed == ["a/01.png"]


def test_damaged_pictures_are_counted_with_their_reason(folder, gallery, tiny_bundle, tmp_path):
    damage(folder)
    report = jobs.index(folder, tiny_bundle, gallery, report=tmp_path / "report.csv", max_failures=2)
    assert counts(report) == (18, 0, 0, 2, 0)
    assert dict(report.failures).keys() == {"a/03.png", "b/10.png"}
    assert dict(report.failures)["a/03.png"] == "is empty (0 bytes)"
    assert "truncated or damaged" in dict(report.failures)["b/10.png"]
    with open(tmp_path / "report.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["status"] for line in lines].count("ok") == 18
    assert {line["id"]: line["reason"] for line in lines if line["status"] == "corrupt"} == dict(
        report.failures
    )
    assert lines[0]["path"] == str(folder / "a" / "01.png")
    again = jobs.index(folder, tiny_bundle, gallery)
    assert counts(again) == (0, 0, 18, 2, 0)


def test_a_mended_picture_comes_in_at_its_next_run(folder, gallery, tiny_bundle, picture):
    damage(folder)
    jobs.index(folder, tiny_bundle, gallery)
    picture("red", 3).save(folder / "a" / "03.png")
    assert counts(jobs.index(folder, tiny_bundle, gallery)) == (1, 0, 18, 1, 0)


def test_a_picture_damaged_later_keeps_its_vector_and_says_so(folder, gallery, tiny_bundle):
    jobs.index(folder, tiny_bundle, gallery)
    before = contents(gallery)
    damage(folder)
    report = jobs.index(folder, tiny_bundle, gallery)
    assert counts(report) == (0, 0, 18, 2, 0)
    assert report.failures[0][1].endswith("the gallery keeps its former vector")
    assert contents(gallery) == before


def test_too_many_failures_stop_the_job_and_keep_what_was_done(folder, gallery, tiny_bundle, tmp_path):
    damage(folder)
    with pytest.raises(JobError, match=r"2 files failed, max_failures allows 1;(.|\n)*a/03\.png: is empty"):
        jobs.index(folder, tiny_bundle, gallery, max_failures=1, report=tmp_path / "report.csv")
    assert 6 <= len(contents(gallery)) <= 18
    statuses = [line.split(",")[2] for line in (tmp_path / "report.csv").read_text().splitlines()[1:]]
    assert statuses.count("corrupt") == 2
    assert len(statuses) == 20
    assert jobs.index(folder, tiny_bundle, gallery, max_failures=2).rows == 18


def test_negative_max_failures(folder, gallery, tiny_bundle):
    with pytest.raises(JobError, match="max_failures: got -1"):
        jobs.index(folder, tiny_bundle, gallery, max_failures=-1)


def test_files_that_vanish_midway_are_corrupt_with_the_reason(folder, gallery, tiny_bundle, monkeypatch):
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


def test_an_empty_folder_makes_no_gallery(tmp_path, gallery, tiny_bundle):
    with pytest.raises(JobError, match="no picture"):
        jobs.index(tmp_path, tiny_bundle, gallery)
    assert not gallery.exists()


def test_another_models_gallery_is_refused_and_left_alone(
    folder, gallery, tiny_bundle, make_bundle, tmp_path
):
    jobs.index(folder, tiny_bundle, gallery)
    before = contents(gallery)
    other = make_bundle(tmp_path / "other.bundle", seed=1)
    with pytest.raises(SpaceMismatchError, match="the model that made it"):
        jobs.index(folder, other, gallery)
    assert contents(gallery) == before


def test_a_gallery_that_another_writes_is_refused(folder, gallery, tiny_bundle):
    space = Bundle.open(tiny_bundle).space
    with open_gallery(gallery, space, write=True), pytest.raises(GalleryLockedError):
        jobs.index(folder, tiny_bundle, gallery)


def test_late_bundles_store_their_tokens(folder, gallery, three_graph_bundle):
    jobs.index(folder, three_graph_bundle, gallery)
    with open_gallery(gallery, write=False) as store:
        assert store.get(["a/01.png"])[0].vector.shape == (4, 16)


def test_a_list_gives_ids_and_metadata_and_its_edits_arrive(folder, gallery, tiny_bundle):
    source = folder / "list.csv"
    source.write_text(
        "path,id,camera\na/01.png,one,1\nb/02.png,two,2\na/03.png,three,3\nmissing.png,four,4\n"
    )
    report = jobs.index(source, tiny_bundle, gallery)
    assert counts(report) == (3, 0, 0, 1, 0)
    with open_gallery(gallery, write=False) as store:
        assert store.get(["two"])[0].metadata == {"camera": 2, "path": str(folder / "b" / "02.png")}
    before = contents(gallery)
    source.write_text("path,id,camera\na/01.png,one,9\nb/02.png,two,2\na/05.png,three,3\n")
    assert counts(jobs.index(source, tiny_bundle, gallery)) == (0, 2, 1, 0, 0)
    after = contents(gallery)
    assert [row[0] for row in after] == ["one", "two", "three"]
    assert after[0][1]["camera"] == 9
    assert after[0][2] == before[0][2]  # only the metadata changed
    assert after[1] == before[1]
    assert after[2][2] != before[2][2]  # another picture


def test_an_id_twice_in_a_list_is_refused_before_any_work(folder, gallery, tiny_bundle):
    (folder / "list.csv").write_text("path\na/01.png\nb/02.png\na/01.png\n")
    with pytest.raises(JobError, match=r"the id 'a/01.png' comes twice"):
        jobs.index(folder / "list.csv", tiny_bundle, gallery)
    assert contents(gallery) == []


def test_two_folders_share_a_gallery_but_not_an_id(folder, gallery, tiny_bundle, tmp_path, picture):
    jobs.index(folder, tiny_bundle, gallery)
    before = contents(gallery)
    other = tmp_path / "other"
    (other / "a").mkdir(parents=True)
    picture("red", 50).save(other / "a" / "01.png")
    picture("red", 51).save(other / "a" / "51.png")
    report = jobs.index(other, tiny_bundle, gallery)
    assert counts(report) == (1, 0, 0, 0, 1)
    assert report.failures[0][0] == "a/01.png"
    assert str(folder / "a" / "01.png") in report.failures[0][1]
    assert contents(gallery)[:-1] == before
    picture("blue", 52).save(other / "a" / "01.png")  # even when it changes, it isn't ours
    assert counts(jobs.index(other, tiny_bundle, gallery)) == (0, 0, 1, 0, 1)
    assert contents(gallery)[:-1] == before


def test_a_moved_folder_keeps_its_rows(folder, gallery, tiny_bundle, tmp_path):
    jobs.index(folder, tiny_bundle, gallery)
    before = contents(gallery)
    folder.rename(tmp_path / "moved")
    assert counts(jobs.index(tmp_path / "moved", tiny_bundle, gallery)) == (0, 20, 0, 0, 0)
    after = contents(gallery)
    assert [(id, vector) for id, _, vector in after] == [(id, vector) for id, _, vector in before]
    assert after[0][1] == {"path": str(tmp_path / "moved" / "a" / "01.png")}


def test_rows_that_left_the_gallery_come_back_and_a_lost_record_costs_nothing(folder, gallery, tiny_bundle):
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


def test_a_full_disk_stops_the_job_and_it_goes_on_later(folder, gallery, tiny_bundle, monkeypatch):
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


def test_decoding_stays_a_bounded_way_ahead(folder, gallery, tiny_bundle, monkeypatch):
    """No more than the batches ahead and the one in work are ever decoded and not yet embedded."""
    decoded, most, lock = [0], [0], threading.Lock()
    load, pixels = jobs.load_image, Encoder.pixels

    def counting_load(path):
        with lock:
            decoded[0] += 1
            most[0] = max(most[0], decoded[0])
        return load(path)

    def slow_pixels(self, batch, *rest, **named):
        time.sleep(0.05)
        with lock:
            decoded[0] -= len(batch)
        return pixels(self, batch, *rest, **named)

    def small_batches(self, bundle, session):
        self.bundle, self.session, self._text = bundle, session, None
        bundle.max_batch = 2

    monkeypatch.setattr(jobs, "load_image", counting_load)
    monkeypatch.setattr(Encoder, "pixels", slow_pixels)
    monkeypatch.setattr(Encoder, "__init__", small_batches)
    assert jobs.index(folder, tiny_bundle, gallery).ok == 20
    assert 2 < most[0] <= 2 * (jobs._AHEAD + 1)


def test_progress_reaches_the_total_with_its_failures(folder, gallery, tiny_bundle):
    damage(folder)
    seen = []
    jobs.index(folder, tiny_bundle, gallery, progress=seen.append)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    last = replace(seen[-1], rate=0.0)
    assert (last.done, last.total, last.failures, last.seconds_left) == (20, 20, 2, 0)


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


def test_erased_ids_leave_the_record_to_the_last_byte(folder, gallery, tiny_bundle):
    jobs.index(folder, tiny_bundle, gallery)
    files = [p for p in gallery.iterdir() if p.name.startswith(FILE_NAME)]
    assert any(b"a/05.png" in p.read_bytes() for p in files)
    erase_from_jobs(gallery, ["a/05.png"])
    assert not any(b"a/05.png" in p.read_bytes() for p in gallery.iterdir() if p.name.startswith(FILE_NAME))
    assert counts(jobs.index(folder, tiny_bundle, gallery)) == (0, 0, 20, 0, 0)


def test_unlisted_files_are_forgotten_once_the_gallery_has_let_go(folder, gallery, tiny_bundle):
    jobs.index(folder, tiny_bundle, gallery)
    (folder / "a" / "05.png").unlink()
    with open_gallery(gallery) as store:
        store.remove(["a/05.png"])
    assert jobs.index(folder, tiny_bundle, gallery).gone == 0
    record = JobRecord(gallery / FILE_NAME, str(folder))
    assert record.forget(lambda id: False) == 0
    assert record._one("SELECT count(*) FROM file WHERE id = 'a/05.png'") == 0
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


def test_killed_anywhere_and_started_again_it_ends_with_the_same_gallery(folder, tmp_path, tiny_bundle):
    damage(folder)
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
