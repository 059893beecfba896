"""The benchmark of training steps: what is compared does the same work, and its figures are figures."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from open_clip import ClipLoss

from sdk.errors import InputError
from train.bench.__main__ import bench
from train.bench.__main__ import people as folder_of
from train.bench.turns import Times, in_turns, interval
from train.bench.waits import waits
from train.bench.ways import CUT_TO_BATCH, CUT_TO_DATA, OPEN_CLIP, Name, Plain, Way, ways
from train.distributed import accelerator

pytestmark = pytest.mark.usefixtures("two_threads")
BATCH = 6


def settings(root: Path, model: str, **more: Any) -> dict[str, Any]:
    where = {"data": "drawn", "root": str(root), "model": model, "height": 32, "width": 16}
    return {**where, "batch": BATCH, "precision": "fp32", **more}


@pytest.fixture(scope="module")
def every(people: Path, small_model: str) -> dict[str, Way]:
    """All steps, without augmentation: aima numbers its items otherwise, so chance isn't the same for it."""
    made = ways(get_args(Name), accelerator("fp32"), settings(people, small_model, augment=False))
    return {way.name: way for way in made}


def test_all_steps_see_the_same_pictures_and_captions(every: dict[str, Way]) -> None:
    assert list(every) == [OPEN_CLIP, CUT_TO_DATA, CUT_TO_BATCH, *get_args(Name)]
    pictures = np.array([5, 0, 17, 9])
    batches = {name: way.items(False).batch(way.place[pictures]) for name, way in every.items()}
    pixels, ids, labels = batches[OPEN_CLIP]
    assert len(pixels.flatten(1).unique(dim=0)) == 4
    for name, batch in batches.items():
        assert torch.equal(batch[0], pixels), name
        if name in ("sen", "aima"):  # which change their captions, or write them
            continue
        assert torch.equal(batch[1], ids), name
        assert torch.equal(batch[-1], labels), name
    assert torch.equal(batches["sen"][-1], labels)
    longest = int(ids.argmax(dim=1).max()) + 1
    lengths = {name: way.cut(ids).shape[1] for name, way in every.items()}
    assert lengths[OPEN_CLIP] == 77
    assert longest < 77
    for name in (CUT_TO_DATA, "irra", "sen"):
        assert lengths[name] == ids.shape[1], name
    for name in (CUT_TO_BATCH, "sdm", "sdm+cmt"):
        assert lengths[name] == longest, name
    for way in every.values():
        assert way.beside is None or lengths[way.beside] == lengths[way.name] or way.name == "aima"


def test_chance_is_the_same_for_all_who_number_their_items_alike(people: Path, small_model: str) -> None:
    made = ways(("irra", "sdm", "sen"), accelerator("fp32"), settings(people, small_model))
    first, *others = [way.items(False).batch(way.place[:8])[0] for way in made]
    for pixels in others:
        assert torch.equal(pixels, first)
    still = ways((), accelerator("fp32"), settings(people, small_model, augment=False))[0]
    assert not torch.equal(still.items(False).batch(still.place[:8])[0], first)


def test_steps_begin_with_the_same_weights_and_move_their_own(every: dict[str, Way]) -> None:
    towers = {name: way.module.tower for name, way in every.items()}
    before = {name: {n: p.detach().clone() for n, p in t.named_parameters()} for name, t in towers.items()}
    for name, weights in before.items():
        for part in weights.keys() - {"clip.logit_scale"}:
            assert torch.equal(weights[part], before[OPEN_CLIP][part]), f"{name}: {part}"
    assert len({id(tower) for tower in towers.values()}) == 1 + len(get_args(Name))  # open_clip's share one
    for name, way in every.items():
        data = way.items(False)
        assert math.isfinite(way.step(data.batch(way.place[:BATCH])))
        assert not torch.equal(towers[name].clip.text_projection, before[name]["clip.text_projection"]), name


def test_the_plain_step_is_open_clips_own(people: Path, small_model: str) -> None:
    whole, data, batch = ways((), accelerator("fp32"), settings(people, small_model))
    pixels, ids, labels = whole.items(False).batch(whole.place[:BATCH])
    tower = whole.module.tower
    for way in (whole, data, batch):
        with torch.no_grad():
            features = tower.clip(pixels, whole.cut(ids))
            torch.testing.assert_close(Plain(tower)(pixels, way.cut(ids)), features, rtol=1e-4, atol=1e-5)
        assert way.step((pixels, ids, labels)) == pytest.approx(ClipLoss()(*features).item(), rel=1e-4)
    assert all(map(torch.equal, Plain(tower)(pixels, whole.cut(ids)), tower.clip(pixels, whole.cut(ids))))
    with torch.no_grad():
        tower.clip.logit_scale.fill_(9.0)
    whole.step((pixels, ids, labels))
    assert tower.clip.logit_scale.item() == pytest.approx(math.log(100))


def test_turns_give_every_step_the_same_pictures_in_changing_order(every: dict[str, Way]) -> None:
    seen: list[tuple[str, bytes]] = []

    def watched(name: str) -> Way:
        def step(batch: tuple[torch.Tensor, ...]) -> float:
            seen.append((name, batch[0].numpy().tobytes()))
            return 0.0

        return replace(every[name], step=step)

    names = [OPEN_CLIP, CUT_TO_BATCH, "irra", "sdm", "aima"]
    times = in_turns([watched(name) for name in names], 7)
    rounds = [seen[at : at + len(names)] for at in range(0, len(seen), len(names))]
    assert len(rounds) == 7 + 2
    assert all({name for name, _ in one} == set(names) for one in rounds)
    assert all(len({pixels for _, pixels in one}) == 1 for one in rounds)
    assert len({pixels for one in rounds for _, pixels in one}) == len(rounds)
    assert len({tuple(name for name, _ in one) for one in rounds}) > 1
    for name in names:
        assert len(times[name].each) == len(times[name].tokens) == 7
        assert all(value > 0 for value in times[name].each)
    assert set(times[OPEN_CLIP].tokens) == {77}
    with pytest.raises(InputError, match="batch: 100000 different pictures"):
        in_turns([replace(every["sdm"], cfg=replace(every["sdm"].cfg, batch=100_000))], 1)


def test_the_interval_is_the_sign_tests() -> None:
    for n, place in {1: 0, 2: 0, 5: 0, 6: 0, 8: 0, 9: 1, 21: 5, 25: 7}.items():  # tables of the sign test
        values = np.random.default_rng(n).permutation(n).astype(float)
        assert interval(list(values)) == (place, n - 1 - place), n
    twice, once = (Times((2.0, 6.0, 100.0), (1, 1, 1)), Times((1.0, 3.0, 10.0), (1, 1, 1)))
    assert twice.over(once) == (2.0, 2.0, 10.0)
    assert twice.median == 6.0


def test_waits_are_those_of_the_loops_loader(every: dict[str, Way]) -> None:
    memory, files, apart = waits(every["sdm"], 3, 1)
    assert [(w.pictures, w.workers) for w in (memory, files, apart)] == [
        ("memory", 0), ("files", 0), ("files", 1),
    ]  # fmt: skip
    for one in (memory, files, apart):
        assert len(one.wait) == len(one.step) == 3
        assert all(value > 0 and math.isfinite(value) for value in (*one.wait, *one.step))
        assert one.share == pytest.approx(sum(one.wait) / (sum(one.wait) + sum(one.step)))
        assert one.rate == pytest.approx(3000 * BATCH / (sum(one.wait) + sum(one.step)))
    assert len(list(waits(every["irra"], 1, 0))) == 2


def test_the_command_prints_both_tables(
    people: Path, small_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bench(small_model, 32, 16, BATCH, ("sdm", "sdm+cmt"), 1, root=people, workers=0)
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert [row[0] for row in rows if row[0] not in ("step", "-" * len(row[0]))] == [
        OPEN_CLIP, CUT_TO_DATA, CUT_TO_BATCH, "sdm", "sdm+cmt", "sdm", "sdm",
    ]  # fmt: skip
    compared = {row[0]: row[4:] for row in rows[2:7]}
    assert [bool(cell) for cell in compared[OPEN_CLIP]] == [False, False, False]
    assert [bool(cell) for cell in compared["sdm"]] == [True, True, False]
    assert [bool(cell) for cell in compared["sdm+cmt"]] == [True, True, True]
    assert "precision: fp32" in text


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rounds: 0 must be above 0"):
        bench(rounds=0, root=tmp_path)
    with pytest.raises(InputError, match="root: None draws people; cuhk_pedes is read from a folder"):
        bench(data="cuhk_pedes")
    with folder_of("cuhk_pedes", tmp_path) as folder:
        assert folder == tmp_path
