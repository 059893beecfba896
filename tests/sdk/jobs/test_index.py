"""Indexing jobs: what ends up in the gallery and the record."""

import csv
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from sdk import jobs
from sdk.bundle import Bundle
from sdk.encoder import Encoder
from sdk.errors import GalleryLockedError, JobError, SpaceMismatchError
from sdk.gallery import open_gallery
from sdk.jobrecord import FILE_NAME, JobRecord, erase_from_jobs
from sdk.runtime import open_session


def test_a_folder_becomes_a_gallery(folder, gallery, tiny_bundle, contents, counts):
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


def test_a_second_run_skips_all_and_a_change_is_seen(folder, gallery, tiny_bundle, picture, contents, counts):
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


def test_damaged_pictures_are_counted_with_their_reason(
    folder, gallery, tiny_bundle, tmp_path, counts, damage
):
    damage()
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


def test_a_mended_picture_comes_in_at_its_next_run(folder, gallery, tiny_bundle, picture, counts, damage):
    damage()
    jobs.index(folder, tiny_bundle, gallery)
    picture("red", 3).save(folder / "a" / "03.png")
    assert counts(jobs.index(folder, tiny_bundle, gallery)) == (1, 0, 18, 1, 0)


def test_a_picture_damaged_later_keeps_its_vector_and_says_so(
    folder, gallery, tiny_bundle, contents, counts, damage
):
    jobs.index(folder, tiny_bundle, gallery)
    before = contents(gallery)
    damage()
    report = jobs.index(folder, tiny_bundle, gallery)
    assert counts(report) == (0, 0, 18, 2, 0)
    assert report.failures[0][1].endswith("the gallery keeps its former vector")
    assert contents(gallery) == before


def test_negative_max_failures(folder, gallery, tiny_bundle):
    with pytest.raises(JobError, match="max_failures: got -1"):
        jobs.index(folder, tiny_bundle, gallery, max_failures=-1)


def test_an_empty_folder_makes_no_gallery(tmp_path, gallery, tiny_bundle):
    with pytest.raises(JobError, match="no picture"):
        jobs.index(tmp_path, tiny_bundle, gallery)
    assert not gallery.exists()


def test_another_models_gallery_is_refused_and_left_alone(
    folder, gallery, tiny_bundle, make_bundle, tmp_path, contents
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


def test_a_list_gives_ids_and_metadata_and_its_edits_arrive(folder, gallery, tiny_bundle, contents, counts):
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


def test_an_id_twice_in_a_list_is_refused_before_any_work(folder, gallery, tiny_bundle, contents):
    (folder / "list.csv").write_text("path\na/01.png\nb/02.png\na/01.png\n")
    with pytest.raises(JobError, match=r"the id 'a/01.png' comes twice"):
        jobs.index(folder / "list.csv", tiny_bundle, gallery)
    assert contents(gallery) == []


def test_two_folders_share_a_gallery_but_not_an_id(
    folder, gallery, tiny_bundle, tmp_path, picture, contents, counts
):
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


def test_a_moved_folder_keeps_its_rows(folder, gallery, tiny_bundle, tmp_path, contents, counts):
    jobs.index(folder, tiny_bundle, gallery)
    before = contents(gallery)
    folder.rename(tmp_path / "moved")
    assert counts(jobs.index(tmp_path / "moved", tiny_bundle, gallery)) == (0, 20, 0, 0, 0)
    after = contents(gallery)
    assert [(id, vector) for id, _, vector in after] == [(id, vector) for id, _, vector in before]
    assert after[0][1] == {"path": str(tmp_path / "moved" / "a" / "01.png")}


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


def test_progress_reaches_the_total_with_its_failures(folder, gallery, tiny_bundle, damage):
    damage()
    seen = []
    jobs.index(folder, tiny_bundle, gallery, progress=seen.append)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    last = replace(seen[-1], rate=0.0)
    assert (last.done, last.total, last.failures, last.seconds_left) == (20, 20, 2, 0)


def test_erased_ids_leave_the_record_to_the_last_byte(folder, gallery, tiny_bundle, counts):
    jobs.index(folder, tiny_bundle, gallery)

    def holding(name):
        return [p.name for p in gallery.iterdir() if name.encode() in p.read_bytes()]

    assert any(name.startswith(FILE_NAME) for name in holding("a/05.png"))
    erase_from_jobs(gallery, ["a/05.png"])
    assert not any(name.startswith(FILE_NAME) for name in holding("a/05.png"))
    assert counts(jobs.index(folder, tiny_bundle, gallery)) == (0, 0, 20, 0, 0)
    (folder / "a" / "05.png").unlink()
    with open_gallery(gallery) as store:
        store.erase(["a/05.png"])
    assert holding("a/05.png") == []
    assert jobs.index(folder, tiny_bundle, gallery).rows == 19


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
