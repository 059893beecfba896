"""ckpt.pt: round trip, what is refused, the face that export and evaluation see."""

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sdk.attributes import Schema
from sdk.errors import CheckpointError, InputError
from sdk.preprocess import ImageSpec, TextSpec
from train import checkpoint
from train.checkpoint import DualEncoder, GraphExport, from_open_clip
from train.encoder import image_spec, text_spec
from train.model import TwoTower

SCHEMA = Schema("t", {"hat": {"yes": "a hat"}}, (("in {hat}",),))
CONFIG = {"model": "labrador-tiny", "losses": ("infonce",), "lr": 1e-3, "pretrained": None}


@pytest.fixture(scope="module")
def encoder() -> DualEncoder:
    torch.manual_seed(0)
    tower = TwoTower("labrador-tiny", (32, 16))
    about = {"data": "drawn", "licence": "Apache-2.0"}
    return DualEncoder(tower, image_spec(tower), recipe="clip", schema=SCHEMA, provenance=about).eval()


@pytest.fixture(scope="module")
def saved(encoder: DualEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "ckpt.pt"
    training = {"epoch": 2, "optimizer": {"state": {0: {"step": torch.tensor(4.0)}}}, "best": {"rank1": 50.0}}
    checkpoint.save(path, encoder, CONFIG, training)
    return path


@pytest.fixture
def edited(saved: Path, tmp_path: Path) -> Callable[..., Path]:
    """The checkpoint with some fields changed, or left out where the value is None."""

    def edit(**fields: Any) -> Path:
        state = {**checkpoint.read(saved), **fields}
        torch.save({k: v for k, v in state.items() if fields.get(k, ...) is not None}, tmp_path / "edited.pt")
        return tmp_path / "edited.pt"

    return edit


@torch.no_grad()
def test_what_is_loaded_computes_what_was_saved(saved: Path, encoder: DualEncoder) -> None:
    got = checkpoint.load(saved)
    pixels, ids = torch.randn(3, 3, 32, 16), encoder.tokenizer(["a red coat", "a hat", "bags"])
    assert torch.equal(got.encode_image(pixels), encoder.encode_image(pixels))
    assert torch.equal(got.encode_text(ids), encoder.encode_text(ids))
    assert not got.training
    assert got.image_spec == encoder.image_spec == ImageSpec(32, 16, *clip_statistics())
    assert got.text_spec == TextSpec(77, 0, ("ftfy", "html", "whitespace", "lower"))
    assert got.schema == SCHEMA
    assert (got.recipe, got.provenance) == ("clip", {"data": "drawn", "licence": "Apache-2.0"})
    assert got.similarity == {"dim": 128, "tokens": 1, "top_tokens": 1}
    assert got.roles["gallery"] == got.roles["query.image"] == "image.features"
    assert got.roles["query.text"] == got.roles["query.attributes"] == "text.features"


def clip_statistics() -> tuple[Any, Any]:
    return (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def test_the_file_is_plain_data_and_keeps_config_and_training(saved: Path) -> None:
    state = torch.load(saved, weights_only=True)
    assert tuple(state) == (*checkpoint.FIELDS, "extras")
    assert state["config"] == CONFIG
    assert state["text"]["tokenizer"] == "clip-bpe"
    assert state["tower"] == {"name": "labrador-tiny", "image_size": [32, 16], "quick_gelu": False}
    assert state["training"]["epoch"] == 2


@torch.no_grad()
def test_graphs_give_unit_features_under_the_agreed_names(encoder: DualEncoder) -> None:
    graphs = list(encoder.export_graphs())
    assert [(g.name, dict(g.inputs), dict(g.outputs)) for g in graphs] == [
        ("image", {"pixels": "pixels"}, {"features": ("n", 128)}),
        ("text", {"input_ids": "input_ids"}, {"features": ("n", 128)}),
    ]
    for graph, encode in zip(graphs, (encoder.encode_image, encoder.encode_text), strict=True):
        assert isinstance(graph, GraphExport)
        assert [len(t) for t in graph.example] == [2]
        features = graph.module(*graph.example)
        torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
        torch.testing.assert_close(features, torch.nn.functional.normalize(encode(*graph.example), dim=1))
    image, text = (sum(p.numel() for p in g.module.parameters()) for g in graphs)
    assert image == sum(p.numel() for p in encoder.tower.clip.visual.parameters())
    assert image + text == sum(p.numel() for p in encoder.tower.parameters())  # no file holds both towers
    assert graphs[1].example[0].shape == (2, 77)
    assert graphs[1].example[0].dtype == torch.int64


def test_graphs_share_the_weights_that_training_changes(encoder: DualEncoder) -> None:
    text = list(encoder.export_graphs())[1].module
    ours = {p.data_ptr() for p in encoder.tower.parameters()}
    assert all(p.data_ptr() in ours for p in text.parameters())
    assert hasattr(encoder.tower.clip, "visual")


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('the payload ran')",))


@pytest.mark.parametrize("how", ["torch.save", "pickle"])
def test_a_pickle_payload_is_refused_and_never_run(how: str, saved: Path, tmp_path: Path) -> None:
    state = {**checkpoint.read(saved), "provenance": Payload()}
    path = tmp_path / "evil.pt"
    torch.save(state, path) if how == "torch.save" else path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CheckpointError, match="holds more than tensors and plain data"):
        checkpoint.load(path)


def test_files_that_are_no_checkpoint_are_refused(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"hello",
        "flip": whole[::-1],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            checkpoint.load(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="no format number"):
        checkpoint.load(tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="no file"):
        checkpoint.load(tmp_path / "absent.pt")
    with pytest.raises(CheckpointError, match="no file"):
        checkpoint.load(tmp_path)


def test_a_newer_format_is_refused(edited: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointError, match="has format 2; this Labrador reads up to 1; upgrade it"):
        checkpoint.load(edited(format=2))


@pytest.mark.parametrize("field", ["recipe", "model", "image", "tower", "training"])
def test_a_missing_field_is_named(field: str, edited: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointError, match=f"lacks {field}"):
        checkpoint.load(edited(**{field: None}))


@pytest.mark.parametrize("recipe", ["clipp", "../clip", "os", "", "__init__"])
def test_an_unknown_recipe_is_refused_with_the_known_ones(recipe: str, edited: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointError, match=r"known are .*clip"):
        checkpoint.load(edited(recipe=recipe))


def test_weights_of_another_shape_are_refused(saved: Path, edited: Callable[..., Path]) -> None:
    model = checkpoint.read(saved)["model"]
    name = "clip.visual.proj"
    for change in ({name: model[name][:1]}, {"extra": model[name]}):
        with pytest.raises(CheckpointError, match="doesn't fit the recipe 'clip'"):
            checkpoint.load(edited(model={**model, **change}))


def test_a_failed_write_leaves_the_old_file_alone(
    encoder: DualEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ckpt.pt"
    checkpoint.save(path, encoder, CONFIG)
    before = path.read_bytes()

    def full(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, encoder, {**CONFIG, "lr": 1.0})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt.pt"]


def test_resuming_another_run_names_what_differs(saved: Path, encoder: DualEncoder, tmp_path: Path) -> None:
    state = checkpoint.read_same_run(saved, "clip", {**CONFIG, "workers": 4}, ("workers",), {})
    assert state["training"]["best"] == {"rank1": 50.0}
    newer = {**CONFIG, "people": 7}  # a setting that came after the run
    assert checkpoint.read_same_run(saved, "clip", newer, (), {"people": 7, "lr": 5.0})
    with pytest.raises(CheckpointError, match="people was 3, is 7"):
        checkpoint.read_same_run(saved, "clip", newer, (), {"people": 3})
    with pytest.raises(CheckpointError, match=r"lr was 0.001, is 0.1; keep them"):
        checkpoint.read_same_run(saved, "clip", {**CONFIG, "lr": 0.1}, (), {})
    with pytest.raises(CheckpointError, match=r"workers was None, is 4"):
        checkpoint.read_same_run(saved, "clip", {**CONFIG, "workers": 4}, (), {})
    with pytest.raises(CheckpointError, match="isn't a run of 'irra'"):
        checkpoint.read_same_run(saved, "irra", CONFIG, (), {})
    checkpoint.save(tmp_path / "best.pt", encoder, CONFIG, chosen="best on val, epoch 3")
    assert checkpoint.load(tmp_path / "best.pt").provenance["chosen"] == "best on val, epoch 3"
    assert "chosen" not in checkpoint.load(saved).provenance
    with pytest.raises(CheckpointError, match="that can go on"):
        checkpoint.read_same_run(tmp_path / "best.pt", "clip", CONFIG, (), {})


def test_any_open_clip_model_has_the_same_face() -> None:
    module = from_open_clip("labrador-tiny-conv", image_size=(64, 32))
    assert (module.recipe, module.schema, module.training) == ("open_clip", None, False)
    assert module.image_spec == ImageSpec(64, 32, *clip_statistics(), "squash", "bicubic")
    assert [g.name for g in module.export_graphs()] == ["image", "text"]
    assert "labrador-tiny-conv, weights random" in module.provenance["data"]


def test_a_tokenizer_that_no_bundle_can_state_is_refused() -> None:
    def _clean_canonicalize(text: str) -> str:
        return text

    odd = SimpleNamespace(clean_fn=_clean_canonicalize, context_length=64)
    with pytest.raises(InputError, match="cleans texts in a way that a bundle can't state"):
        text_spec(odd)


def test_random_state_continues_where_it_was() -> None:
    state = checkpoint.random_state()
    first = torch.rand(3)
    checkpoint.set_random_state(state)
    assert torch.equal(torch.rand(3), first)
