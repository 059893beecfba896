"""Evaluation: both doors (a torch module, a bundle) give the figures that the split's rule implies."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sdk.attributes import Schema
from sdk.bundle import Bundle
from sdk.encoder import Encoder
from sdk.errors import ImageError, InputError
from sdk.preprocess import ImageSpec, TextSpec, preprocess_images
from sdk.runtime import open_session
from train import evaluate
from train.encode import ModuleEncoder, evaluating
from train.evaluate import encode_split, evaluate_module, judge
from train.metrics import NAMES, rank_metrics
from train.ranking import all_scores
from train.split import Query, Sample, Split

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, picture: Callable[..., Image.Image]) -> Path:
    """Nine pictures; person i wears colour i // 3, and no two pictures are equal."""
    out = tmp_path_factory.mktemp("people")
    for i in range(9):
        picture(COLOURS[i // 3], i).save(out / f"{i}.png")
    return out


def items(folder: Path) -> tuple[Sample, ...]:
    return tuple(
        Sample(
            f"{i}", folder / f"{i}.png", person=i // 3, captions=(f"a person in a {COLOURS[i // 3]} coat",),
            camera=i % 3, attributes={"coat": COLOURS[i // 3]},
        )
        for i in range(9)
    )  # fmt: skip


def split(folder: Path, task: str) -> Split:
    gallery = items(folder)
    people = tuple(s.person for s in gallery)
    if task == "text":
        asked = tuple(Query(s.person, text=s.captions[0], person=s.person) for s in gallery)
        return Split("nine", gallery, asked, gallery, "person", people)
    if task == "attributes":
        sets = [{"coat": colour} for colour in COLOURS]
        asked = tuple(
            Query(Schema.as_set(a), text=f"A person, in a {a['coat']} coat.", attributes=a) for a in sets
        )
        keys = tuple(Schema.as_set(s.attributes or {}) for s in gallery)
        return Split("nine", gallery, asked, gallery, "attributes", keys)
    if task == "image":
        asked = tuple(Query(s.person, image=s.image, camera=s.camera, person=s.person) for s in gallery)
        return Split("nine", gallery, asked, gallery, "other_camera", people)
    asked = tuple(  # this person's picture, but in the next colour; a strong wish
        Query((s.person + 1) % 3, text=" ".join([COLOURS[(s.person + 1) % 3]] * 5), image=s.image)
        for s in gallery
    )
    return Split("nine", gallery, asked, gallery, "instance", people)


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> Encoder:
    bundle = Bundle.open(tiny_bundle)
    return Encoder(bundle, open_session(bundle, "cpu"))


class Towers(nn.Module):
    """The tiny bundle's two towers in torch, with the face of a trained module."""

    def __init__(self, tiny: SimpleNamespace, bundle: Bundle) -> None:
        super().__init__()
        weights = {name: torch.from_numpy(value) for name, value in tiny.weights(0).items()}
        self.image = nn.Parameter(weights["image"])
        self.words = nn.Parameter(weights["words"])
        self.bias = nn.Parameter(weights["bias"])
        self.norm = nn.BatchNorm1d(24, affine=False)  # neutral in evaluation mode, not in training
        self.image_spec, self.text_spec, self.schema = tiny.spec, tiny.text, tiny.schema
        self.recipe, self.roles = "towers", dict(bundle.roles)
        self.similarity = {"dim": tiny.dim, "tokens": 1, "top_tokens": 1}
        with_ids = Encoder(bundle, None)  # type: ignore[arg-type]
        self.tokenizer = lambda texts: torch.from_numpy(with_ids._ids(texts)["input_ids"])

    def export_graphs(self):
        outputs = {"features": ("n", self.similarity["dim"])}
        for name, source, function in (
            ("image", "pixels", self.see),
            ("text", "input_ids", self.read),
        ):
            yield SimpleNamespace(name=name, module=function, inputs={source: source}, outputs=outputs)

    def see(self, pixels: torch.Tensor) -> torch.Tensor:
        cells = nn.functional.avg_pool2d(pixels, 8).flatten(1)
        return nn.functional.normalize(self.norm(cells) @ self.image + self.bias, dim=-1)

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.words[ids].sum(1) + self.bias, dim=-1)


@pytest.fixture(scope="module")
def towers(tiny: SimpleNamespace, tiny_bundle: Path) -> Towers:
    return Towers(tiny, Bundle.open(tiny_bundle))


@pytest.mark.parametrize("task", ["text", "attributes", "image"])
def test_a_model_that_knows_colours_answers_every_kind_of_query(
    folder: Path, encoder: Encoder, task: str
) -> None:
    asked = split(folder, task)
    queries, gallery = encode_split(encoder, asked)
    assert queries.shape == (len(asked.queries), 16)
    assert gallery.shape == (9, 16)
    found = judge(asked, queries, gallery)
    assert len(found) == len(asked.queries)
    assert found.means() == dict.fromkeys(NAMES, 100)


def test_without_a_composer_a_composed_query_is_the_unit_sum(folder: Path, encoder: Encoder) -> None:
    asked = split(folder, "composed")
    queries, gallery = encode_split(encoder, asked)
    texts = encoder.texts([q.text or "" for q in asked.queries])
    added = encoder.images([q.image for q in asked.queries], role="query.image") + texts
    assert queries == pytest.approx(added / np.linalg.norm(added, axis=1, keepdims=True), abs=1e-6)
    ranked = judge(asked, queries, gallery)
    assert (
        ranked.means()["map"] > judge(asked, gallery, gallery).means()["map"]
    )  # the wish moved it the right way


def test_the_wrong_rule_of_relevance_costs(folder: Path, encoder: Encoder) -> None:
    asked = split(folder, "image")
    queries, gallery = encode_split(encoder, asked)
    everyone = Split("nine", (), asked.queries, asked.gallery, "person", asked.gallery_keys)
    assert judge(everyone, queries, gallery).ap.sum() == 9  # itself comes first, and counts
    swapped = Split("nine", (), asked.queries, asked.gallery, "person", tuple(reversed(asked.gallery_keys)))
    assert judge(swapped, queries, gallery).means()["rank1"] < 50


def test_a_module_scores_as_its_bundle_does(folder: Path, encoder: Encoder, towers: Towers) -> None:
    for task in ("text", "attributes", "image", "composed"):
        asked = split(folder, task)
        with evaluating(towers):
            ours = encode_split(ModuleEncoder(towers), asked)
        theirs = encode_split(encoder, asked)
        for a, b in zip(ours, theirs, strict=True):
            assert a == pytest.approx(b, abs=2e-5)
        if task != "composed":  # there the margins are too small for two engines to agree on every rank
            assert evaluate_module(towers, asked).means() == judge(asked, *theirs).means()


def test_evaluating_puts_every_mode_back_and_keeps_no_gradient(folder: Path, towers: Towers) -> None:
    towers.train()
    towers.norm.eval()  # a frozen part
    before = {name: value.clone() for name, value in towers.state_dict().items()}
    evaluate_module(towers, split(folder, "text"))
    assert towers.training
    assert not towers.norm.training
    assert all(p.grad is None for p in towers.parameters())
    assert all(torch.equal(value, before[name]) for name, value in towers.state_dict().items())
    with pytest.raises(RuntimeError), evaluating(towers):
        raise RuntimeError
    assert towers.training


def test_training_mode_would_have_given_other_figures(folder: Path, towers: Towers) -> None:
    """Guards the test above: the module has a part that `evaluating` matters for."""
    pixels = torch.from_numpy(preprocess_images([s.image for s in items(folder)], towers.image_spec))
    towers.norm.train()
    noisy = towers.see(pixels)
    towers.norm.reset_running_stats()
    towers.norm.eval()
    assert not torch.allclose(towers.see(pixels), noisy, atol=1e-3)


def test_a_late_model_is_scored_by_its_best_tokens(folder: Path, three_graph_bundle: Path) -> None:
    bundle = Bundle.open(three_graph_bundle)
    late = Encoder(bundle, open_session(bundle, "cpu"))
    asked = split(folder, "image")
    queries, gallery = encode_split(late, asked)
    assert gallery.shape == (9, 4, 16)
    each = np.einsum("nd,mtd->nmt", queries, gallery)
    expected = np.sort(each, axis=2)[:, :, -2:].mean(axis=2)
    assert all_scores(queries, gallery, 2) == pytest.approx(expected, abs=1e-6)
    assert all_scores(queries, gallery, 4) == pytest.approx(each.mean(axis=2), abs=1e-6)
    direct = rank_metrics(expected, asked.relevant(), asked.ignored())
    for ranking in ("topk", "sort"):
        assert judge(asked, queries, gallery, 2, ranking).means() == pytest.approx(direct.means())
    composed = split(folder, "composed")
    assert encode_split(late, composed)[0].shape == (9, 16)  # by its composer: this bundle has no text role


def test_blocks_do_not_change_the_figures(
    folder: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = split(folder, "image")
    rng = np.random.default_rng(0)
    queries, gallery = (rng.standard_normal((9, 16)).astype(np.float32) for _ in range(2))
    whole = judge(asked, queries, gallery)
    direct = rank_metrics(queries @ gallery.T, asked.relevant(), asked.ignored())
    monkeypatch.setattr(evaluate, "BLOCK", 9 * 2)  # two queries at a time, and one left over
    blocks = judge(asked, queries, gallery)
    for other in (blocks, judge(asked, queries, gallery, ranking="sort"), direct):
        assert np.array_equal(whole.first, other.first)
        assert whole.ap == pytest.approx(other.ap)
        assert np.array_equal(whole.query, other.query)


def test_equal_captions_are_encoded_once(
    folder: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    real = encoder.texts

    def texts(given: list[str], **how: Any) -> Any:
        seen.append(given)
        return real(given, **how)

    monkeypatch.setattr(encoder, "texts", texts)
    queries, _ = encode_split(encoder, split(folder, "text"))
    assert [len(given) for given in seen] == [3]
    assert np.array_equal(queries[0], queries[2])
    assert not np.array_equal(queries[0], queries[3])


def test_truncated_jpegs_are_judged_as_far_as_they_go(
    folder: Path, encoder: Encoder, tmp_path: Path, picture: Callable[..., Image.Image]
) -> None:
    gallery = []
    for sample in items(folder):
        path = tmp_path / f"{sample.image_id}.jpg"
        Image.open(sample.image).save(path)
        gallery.append(replace(sample, image=path))
    whole = tuple(gallery)
    asked = Split("nine", whole, split(folder, "text").queries, whole, "person", (0, 0, 0, 1, 1, 1, 2, 2, 2))
    expected = encode_split(encoder, asked)[1]
    cut = whole[4].image
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.warns(UserWarning, match=r"4\.jpg is truncated: it is read as far as it goes"):
        queries, vectors = encode_split(encoder, asked)
    assert np.array_equal(np.delete(vectors, 4, 0), np.delete(expected, 4, 0))
    assert len(judge(asked, queries, vectors)) == 9
    (tmp_path / "6.jpg").write_bytes(b"")
    with pytest.warns(UserWarning, match="4.jpg"), pytest.raises(ImageError, match=r"6\.jpg"):
        encode_split(encoder, asked)


def test_nothing_to_ask_or_half_a_question_is_refused(folder: Path, encoder: Encoder) -> None:
    gallery = items(folder)
    with pytest.raises(InputError, match="0 queries and 9 gallery items"):
        encode_split(encoder, Split("none", gallery, (), gallery))
    mixed = (Query(0, text="a man"), Query(1, image=gallery[0].image))
    with pytest.raises(InputError, match="every query needs a text"):
        encode_split(encoder, Split("mixed", gallery, mixed, gallery, gallery_keys=(0,) * 9))


def test_the_real_towers_pass_through_unchanged(folder: Path) -> None:
    """Each vector is unit(encode(preprocessed)) of the trained module."""
    from train.checkpoint import from_open_clip

    torch.manual_seed(0)
    module = from_open_clip("labrador-tiny")
    assert isinstance(module.image_spec, ImageSpec)
    assert isinstance(module.text_spec, TextSpec)
    asked = split(folder, "text")
    queries, gallery = encode_split(ModuleEncoder(module), asked)
    with torch.inference_mode():
        pixels = torch.from_numpy(preprocess_images([s.image for s in asked.gallery], module.image_spec))
        images = nn.functional.normalize(module.encode_image(pixels), dim=-1).numpy()
        ids = torch.as_tensor(module.tokenizer([q.text for q in asked.queries]))
        texts = nn.functional.normalize(module.encode_text(ids), dim=-1).numpy()
    assert gallery == pytest.approx(images, abs=1e-5)
    assert queries == pytest.approx(texts, abs=1e-5)
    assert "open_clip" in sys.modules
