"""train.ablate: variants trained alike, results that go on, other settings refused, crops packed."""

import json
from pathlib import Path
from typing import Any

import pytest

from sdk.errors import InputError
from train import ablate, contrast, datasets, loop, pack
from train.ablate import Plan
from train.recipes import aima, irra, sen

pytestmark = pytest.mark.usefixtures("two_threads", "small_model")
TINY: dict[str, Any] = {
    **sen.SMALL,
    "model": "test-small",
    "height": 32,
    "width": 16,
    "batch": 8,
    "epochs": 1,
    "people": 16,
    "tagger": "lexicon",
    "seed": 0,
}


def config(root: Path, out: Path, **more: Any) -> sen.Config:
    return sen.Config("drawn", str(root), str(out), **{**TINY, **more})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The runs that sen.train was asked for; they leave a log and a checkpoint, and learn nothing."""
    asked: list[tuple[str, int]] = []

    def train(cfg: sen.Config) -> dict[str, Any]:
        asked.append((" ".join(cfg.losses), cfg.seed))
        folder = Path(cfg.out)
        folder.mkdir(parents=True)
        (folder / "ckpt.pt").write_bytes(b"large")
        (folder / "log.jsonl").write_text(json.dumps({"event": "end", "step": 5}) + "\n")
        return {"last": {"test": {"rank1": float(len(cfg.losses)), "map": float(cfg.seed)}}}

    monkeypatch.setattr(sen, "train", train)
    return asked


def test_variants_are_trained_alike_and_judged_once(people: Path, tmp_path: Path) -> None:
    done = ablate.ablate(sen, config(people, tmp_path / "a"), Plan(seeds=1, variants=("base", "all")))
    assert [(r["variant"], r["seed"]) for r in done] == [("base", 0), ("all", 0)]
    assert done[0]["steps"] == done[1]["steps"] > 1
    assert done[0]["figures"]["queries"] == done[1]["figures"]["queries"] > 0
    assert done[0]["shared"]["train"].startswith("drawn/train, 16 of ")
    logs = sorted(tmp_path.glob("a/*/log.jsonl"))
    assert len(logs) == 2
    for log in logs:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["part"] for line in lines if line["event"] == "eval"] == ["test"]
    assert not list(tmp_path.glob("a/*/*.pt"))
    assert (tmp_path / "a" / "table.md").read_text() == contrast.table(done, ["base", "all"])
    assert (tmp_path / "a" / "ablation.png").stat().st_size > 5_000


def test_seeds_go_round_before_a_variant_is_repeated(
    people: Path, tmp_path: Path, trained: list[tuple[str, int]]
) -> None:
    ablate.ablate(sen, config(people, tmp_path / "a", seed=4), Plan(seeds=2, variants=("base", "+ cmt")))
    assert trained == [("sdm id", 4), ("sdm id cmt", 4), ("sdm id", 5), ("sdm id cmt", 5)]


def test_it_goes_on_after_what_is_finished(
    people: Path, tmp_path: Path, trained: list[tuple[str, int]]
) -> None:
    cfg = config(people, tmp_path / "a")
    first = ablate.ablate(sen, cfg, Plan(seeds=1, variants=("base", "+ tir")))
    more = ablate.ablate(sen, cfg, Plan(seeds=2, variants=("base", "+ tir")))
    assert more[:2] == first
    assert trained == [("sdm id", 0), ("sdm id tir", 0), ("sdm id", 1), ("sdm id tir", 1)]


def test_a_results_line_cut_by_a_crash_is_done_again(
    people: Path, tmp_path: Path, trained: list[tuple[str, int]]
) -> None:
    cfg, plan = config(people, tmp_path / "a"), Plan(seeds=1, variants=("base", "all"))
    ablate.ablate(sen, cfg, plan)
    results = tmp_path / "a" / ablate.RESULTS
    whole = results.read_text()
    results.write_text(whole[:-20])
    (tmp_path / "a" / "all-0" / "log.jsonl").unlink()
    (tmp_path / "a" / "all-0").rmdir()
    again = ablate.ablate(sen, cfg, plan)
    assert [r["variant"] for r in again] == ["base", "all"]
    assert [json.loads(line)["variant"] for line in results.read_text().splitlines()] == ["base", "all"]


def test_other_settings_or_data_are_refused_by_name(
    people: Path, tmp_path: Path, trained: list[tuple[str, int]]
) -> None:
    plan = Plan(seeds=1, variants=("base",))
    ablate.ablate(sen, config(people, tmp_path / "a"), plan)
    with pytest.raises(InputError, match=r"lr was 0\.001, is 0\.01"):
        ablate.ablate(sen, config(people, tmp_path / "a", lr=0.01), plan)
    with pytest.raises(InputError, match="12 of"):
        ablate.ablate(sen, config(people, tmp_path / "a", people=12), plan)
    ablate.ablate(sen, config(people, tmp_path / "a", workers=1), plan)  # moves no result
    assert trained == [("sdm id", 0)]


def test_two_processes_cannot_work_in_one_folder(
    people: Path, tmp_path: Path, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, plan = config(people, tmp_path / "a"), Plan(seeds=1, variants=("base",))
    real = sen.train

    def train(asked: sen.Config) -> dict[str, Any]:
        with pytest.raises(InputError, match="another process is at work"):
            ablate.ablate(sen, cfg, plan)
        return real(asked)

    monkeypatch.setattr(sen, "train", train)
    ablate.ablate(sen, cfg, plan)
    assert trained == [("sdm id", 0)]


def test_no_run_is_begun_that_would_not_end_in_time(
    people: Path, tmp_path: Path, trained: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = config(people, tmp_path / "a")
    ablate.ablate(sen, cfg, Plan(seeds=1, variants=("base",)))
    results = tmp_path / "a" / ablate.RESULTS
    line = json.loads(results.read_text())
    results.write_text(json.dumps({**line, "seconds": 600.0}) + "\n")
    assert len(ablate.ablate(sen, cfg, Plan(seeds=2, minutes=9, variants=("base",)))) == 1
    assert "the time is up; started again, this goes on with 'base' from seed 1" in capsys.readouterr().out
    assert len(ablate.ablate(sen, cfg, Plan(seeds=2, minutes=11, variants=("base",)))) == 2


@pytest.mark.parametrize(
    ("plan", "named"), [({"seeds": 0}, "seeds 0"), ({"minutes": 0.0}, r"minutes 0\.0"), ({}, "'bsae'")]
)
def test_impossible_plans_are_refused(plan: dict[str, Any], named: str, people: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=named):
        ablate.ablate(sen, config(people, tmp_path / "a"), Plan(**plan, variants=("bsae",)))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("recipe", [aima, irra, sen])
def test_every_variant_is_a_setting_of_its_recipe_and_the_last_is_the_whole(recipe: Any) -> None:
    built = {
        name: recipe.Config("drawn", "root", "out", **{**recipe.SMALL, **more})
        for name, more in recipe.VARIANTS.items()
    }
    assert built["all"] == recipe.Config("drawn", "root", "out", **recipe.SMALL)
    assert len(set(built.values())) == len(built)
    assert list(built)[-1] == "all"


def test_the_command_line_takes_the_settings_of_the_recipe() -> None:
    rest = ["--data", "drawn", "--root", "people", "--out", "o"]
    module, cfg, plan = ablate.command(["aima", *rest, "--seeds", "5", "--lr", "0.5", "--variants", "base"])
    assert module is aima
    assert cfg == aima.Config("drawn", "people", "o", **{**aima.SMALL, "lr": 0.5})
    assert (plan.seeds, plan.variants) == (5, ("base",))
    assert ablate.command(["sen", "published", *rest])[1] == sen.Config("drawn", "people", "o")
    with pytest.raises(SystemExit, match="aima,irra,sen"):
        ablate.command(["clip", *rest])


def test_a_run_on_the_packed_crops_is_the_same_run(people: Path, tmp_path: Path) -> None:
    cfg, plan = config(people, tmp_path / "a"), Plan(seeds=1, variants=("base",))
    crops = tmp_path / "crops.zip"
    assert ablate.write_pack(sen, cfg, crops) == 16 * 2 + 2 * 2  # of the people who train, and the test part
    one = ablate.ablate(sen, cfg, plan)
    packed = config(crops, tmp_path / "b", people=None)
    other = ablate.ablate(sen, sen.Config(**{**vars(packed), "data": "packed"}), plan)
    assert other[0]["figures"] == one[0]["figures"]
    assert other[0]["shared"] == one[0]["shared"]


def test_a_pack_over_its_limit_is_refused_and_leaves_an_older_one(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, crops = config(people, tmp_path / "a"), tmp_path / "crops.zip"
    ablate.write_pack(sen, cfg, crops)
    before = crops.read_bytes()
    monkeypatch.setattr(pack, "LIMIT", len(before) - 1)
    with pytest.raises(InputError, match="fewer --people"):
        ablate.write_pack(sen, cfg, crops)
    assert crops.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["crops.zip"]


@pytest.mark.parametrize("recipe", [aima, sen])
def test_the_packed_split_is_the_split(recipe: Any, people: Path, tmp_path: Path) -> None:
    cfg = recipe.Config("drawn", str(people), "o", **{**recipe.SMALL, "height": 32, "width": 16, "people": 3})
    ablate.write_pack(recipe, cfg, tmp_path / "crops.zip")
    for part in ("train", "test"):
        real = loop.load(cfg, part, recipe.TASK)
        held = datasets.load("packed", tmp_path / "crops.zip", part, recipe.TASK)
        assert (held.name, held.match, held.schema, held.notes) == (
            real.name, real.match, real.schema, real.notes,
        )  # fmt: skip
        assert held.gallery_keys == real.gallery_keys
        assert [(q.key, q.text, q.attributes, q.person) for q in held.queries] == [
            (q.key, q.text, q.attributes, q.person) for q in real.queries
        ]
        for mine, theirs in ((held.samples, real.samples), (held.gallery, real.gallery)):
            assert [(s.image_id, s.person, s.captions, s.camera, s.attributes, s.view) for s in mine] == [
                (s.image_id, s.person, s.captions, s.camera, s.attributes, s.view) for s in theirs
            ]
        assert (held.relevant() == real.relevant()).all()
