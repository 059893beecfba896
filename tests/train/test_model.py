"""TwoTower: equal to open_clip, tokens in one space, positions, weights, activation."""

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file

from sdk.errors import CheckpointError, InputError
from train import checkpoint, weights
from train.encoder import DualEncoder, image_spec
from train.model import TwoTower
from train.weights import CONFIGS, resize_positions

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT = {"image_size": 64, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16}
MODELS: dict[str, dict[str, Any]] = {
    "test-vit": {"vision_cfg": VIT},
    "test-vit-mean": {"vision_cfg": {**VIT, "pool_type": "avg", "final_ln_after_pool": True}},
    "test-resnet": {"vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16}},
    "test-conv": {"vision_cfg": {"image_size": 64, "timm_model_name": "test_resnet", "timm_proj": "linear"}},
    "test-conv-norm": {
        "vision_cfg": {"image_size": 64, "timm_model_name": "test_convnext", "timm_proj": "mlp"}
    },
    "test-timm-vit": {
        "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit", "timm_proj": "linear"}
    },
    "test-custom": {"vision_cfg": VIT, "custom_text": True, "text_cfg": {**TEXT, "proj_bias": True}},
    "test-both-ways": {"vision_cfg": VIT, "custom_text": True, "text_cfg": {**TEXT, "no_causal_mask": True}},
    "test-coca": {
        "vision_cfg": {**VIT, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
        "text_cfg": {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 76, "width": 32, "heads": 2, "layers": 1},
        "custom_text": True,
    },
}
WITH_TOKENS = [
    "labrador-tiny",
    "labrador-tiny-conv",
    *(n for n in MODELS if n not in ("test-timm-vit", "test-coca")),
]


@pytest.fixture(scope="module", autouse=True)
def _models(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("models")
    for name, config in MODELS.items():
        (folder / f"{name}.json").write_text(json.dumps({"embed_dim": 24, "text_cfg": TEXT, **config}))
    open_clip.add_model_config(folder)


def make(name: str, size: tuple[int, int] | None = None, pretrained: Path | None = None) -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(name, size, str(pretrained) if pretrained else None).eval()


def pixels(tower: TwoTower) -> torch.Tensor:
    return torch.randn(3, 3, *tower.image_size, generator=torch.Generator().manual_seed(1))


def ids(tower: TwoTower) -> torch.Tensor:
    return tower.tokenizer()(["a man in a red coat", "hat", "someone with two bags and long fair hair"])


@pytest.mark.parametrize("name", ["labrador-tiny", "labrador-tiny-conv", *MODELS])
@torch.no_grad()
def test_features_are_open_clips_own_to_the_bit(name: str) -> None:
    tower = make(name)
    image, text = tower(pixels(tower), ids(tower))
    assert image.shape == text.shape == (3, tower.dim)
    assert torch.equal(image, tower.clip.encode_image(pixels(tower), normalize=False))
    assert torch.equal(text, tower.clip.encode_text(ids(tower), normalize=False))


@pytest.mark.parametrize("name", WITH_TOKENS)
@torch.no_grad()
def test_tokens_stand_in_the_space_of_the_features(name: str) -> None:
    tower = make(name, (64, 32) if name.startswith("test") else None)
    tokens = tower.image_tokens(pixels(tower))
    assert tokens.shape[2] == tower.dim
    assert torch.equal(tokens[:, 0], tower.encode_image(pixels(tower)))
    words = tower.text_tokens(ids(tower))
    assert words.shape == (3, 77, tower.dim)
    pooled = words[torch.arange(3), ids(tower).argmax(dim=1)]
    torch.testing.assert_close(pooled, tower.encode_text(ids(tower)), rtol=0, atol=1e-5)


@torch.no_grad()
def test_image_tokens_are_patches_row_by_row_with_norm_and_projection() -> None:
    tower = make("test-vit", (64, 32))
    assert tower.image_tokens(pixels(tower)).shape == (3, 1 + 4 * 2, 24)
    visual = tower.clip.visual
    states = visual.ln_post(visual.transformer(visual._embeds(pixels(tower)))) @ visual.proj
    torch.testing.assert_close(tower.image_tokens(pixels(tower)), states, rtol=0, atol=1e-5)


@torch.no_grad()
def test_cells_of_a_convolutional_tower_average_to_the_pooled_vector() -> None:
    tower = make("labrador-tiny-conv")
    tokens = tower.image_tokens(pixels(tower))
    assert tokens.shape == (3, 1 + 4 * 2, tower.dim)
    torch.testing.assert_close(tokens[:, 1:].mean(dim=1), tokens[:, 0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_cell_is_the_picture_alone_where_it_fills_the_map() -> None:
    tower = make("test-conv-norm", (32, 32))  # a map of one cell
    tokens = tower.image_tokens(pixels(tower))
    assert tokens.shape[1] == 2
    torch.testing.assert_close(tokens[:, 1], tokens[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "tower"), [("test-timm-vit", "image"), ("test-coca", "image"), ("test-coca", "text")]
)
def test_towers_of_unknown_structure_refuse_tokens_but_encode(name: str, tower: str) -> None:
    towers = make(name)
    with pytest.raises(InputError, match=f"{tower} tower has no token outputs.*encode_{tower} works"):
        towers.image_tokens(pixels(towers)) if tower == "image" else towers.text_tokens(ids(towers))


@pytest.mark.parametrize("name", ["labrador-tiny", "test-custom"])
@torch.no_grad()
def test_what_follows_the_end_of_a_text_changes_nothing(name: str) -> None:
    tower, whole = make(name), ids(make(name))
    short = tower.shorten(whole)
    assert short.shape[1] == int((whole != 0).sum(dim=1).max()) < 77
    torch.testing.assert_close(tower.encode_text(short), tower.encode_text(whole), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_text_tower_that_looks_ahead_is_never_cut_short() -> None:
    tower = make("test-both-ways")
    assert torch.equal(tower.shorten(ids(tower)), ids(tower))


def test_positions_keep_the_class_row_and_interpolate_between_pixel_centres() -> None:
    rows = torch.tensor([[9.0, -9.0], [0.0, 1.0], [4.0, 1.0], [8.0, 1.0], [12.0, 1.0]])  # class, then 2 by 2
    got = resize_positions(rows, (2, 2), (4, 2))
    # bilinear, half-pixel centres: rows at -0.25 (clamped), 0.25, 0.75, 1.25 (clamped) of 0 → 8 and 4 → 12
    column = torch.tensor([0.0, 2.0, 6.0, 8.0])
    assert torch.equal(got[0], rows[0])
    assert torch.equal(got[1:, 0].reshape(4, 2), torch.stack([column, column + 4], dim=1))
    assert torch.equal(got[1:, 1], torch.ones(8))


def test_shrinking_positions_is_not_antialiased() -> None:
    rows = torch.arange(17.0)[:, None]
    grid = rows[1:].reshape(1, 1, 4, 4)
    want = F.interpolate(grid, size=(2, 2), mode="bilinear", align_corners=False, antialias=False)
    assert torch.equal(resize_positions(rows, (4, 4), (2, 2))[1:, 0], want.flatten())


@pytest.mark.parametrize("name", ["test-vit", "test-resnet"])
@torch.no_grad()
def test_another_picture_size_resizes_the_grid_of_loaded_weights(name: str, tmp_path: Path) -> None:
    square = make(name)
    torch.save(square.clip.state_dict(), tmp_path / "w.pt")
    tall = make(name, (128, 64), tmp_path / "w.pt")
    place = "attnpool.positional_embedding" if name == "test-resnet" else "positional_embedding"
    patch = 32 if name == "test-resnet" else 16
    side = 64 // patch
    want = resize_positions(
        square.clip.visual.get_parameter(place), (side, side), (128 // patch, 64 // patch)
    )
    assert torch.equal(tall.clip.visual.get_parameter(place), want)
    assert tall.encode_image(pixels(tall)).shape == (3, 24)
    torch.save(tall.clip.state_dict(), tmp_path / "tall.pt")
    again = make(name, (128, 64), tmp_path / "tall.pt")  # saved at this size: nothing to resize
    assert torch.equal(again.encode_image(pixels(tall)), tall.encode_image(pixels(tall)))


def test_a_size_of_broken_patches_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(100, 64\).*whole \(16, 16\) patches"):
        make("test-vit", (100, 64))


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors"])
@torch.no_grad()
def test_local_weight_files_are_loaded(suffix: str, tmp_path: Path) -> None:
    donor = make("test-vit")
    donor.clip.visual.proj.mul_(2)
    path = tmp_path / f"weights{suffix}"
    state = {k: v.contiguous() for k, v in donor.clip.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    tower = make("test-vit", pretrained=path)
    assert torch.equal(tower.encode_image(pixels(tower)), donor.encode_image(pixels(donor)))
    assert not tower.quick_gelu
    assert tower.notes == ()


@pytest.mark.parametrize("quick", [False, True])
@torch.no_grad()
def test_a_recipes_checkpoint_is_a_weight_file_with_its_activation(quick: bool, tmp_path: Path) -> None:
    donor = TwoTower("test-vit", (48, 16), quick_gelu=quick).eval()
    donor.clip.visual.proj.mul_(2)
    encoder = DualEncoder(donor, image_spec(donor), recipe="clip")
    checkpoint.save(tmp_path / "ckpt.pt", encoder, {}, {"epoch": 1})
    same, other = (make("test-vit", size, tmp_path / "ckpt.pt") for size in ((48, 16), (64, 32)))
    assert same.quick_gelu == other.quick_gelu == quick
    assert torch.equal(same.encode_image(pixels(same)), donor.encode_image(pixels(donor)))
    assert torch.equal(same.clip.logit_scale, donor.clip.logit_scale)
    rows = donor.clip.visual.positional_embedding
    assert torch.equal(other.clip.visual.positional_embedding, resize_positions(rows, (3, 1), (4, 2)))
    with pytest.raises(CheckpointError, match=r"ckpt\.pt holds no weights of this model"):
        make("test-resnet", pretrained=tmp_path / "ckpt.pt")


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('the payload ran')",))


def test_a_weight_file_that_is_not_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"visual.proj": Payload()}, protocol=2))
    torch.save(make("test-resnet").clip.state_dict(), tmp_path / "other.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    for name in ("evil.pt", "other.pt", "cut.safetensors"):
        with pytest.raises(CheckpointError, match=f"{name} holds no weights of this model"):
            make("test-vit", pretrained=tmp_path / name)


def test_unknown_names_and_tags_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no 'labrador-huge'.*labrador-tiny, labrador-tiny-conv"):
        TwoTower("labrador-huge")
    with pytest.raises(InputError, match=r"'opennai' is neither a file nor a tag of ViT-B-16.*'openai'"):
        TwoTower("ViT-B-16", None, "opennai")


@pytest.mark.parametrize(
    ("name", "tag", "quick"),
    [
        ("ViT-B-16", "openai", True),
        ("ViT-B-16-quickgelu", "openai", True),
        ("ViT-B-16-quickgelu", None, True),
        ("RN50", "openai", True),
        ("ViT-B-16", "metaclip_400m", True),
        ("ViT-B-16", "laion2b_s34b_b88k", False),
        ("ViT-B-16", None, False),
    ],
)
def test_tags_choose_their_activation(
    name: str, tag: str | None, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = make("test-vit").clip
    asked: list[bool] = []

    def create(name: str, tag: str | None, quick_gelu: bool) -> Any:
        asked.append(quick_gelu)
        return tiny

    monkeypatch.setattr(weights, "_create", create)
    tower = TwoTower(name, None, tag)
    assert asked == [quick]
    assert tower.quick_gelu is quick
    assert bool(tower.notes) is (quick and "quickgelu" not in name)


@torch.no_grad()
def test_openais_torchscript_archive_runs_quick_gelu(tmp_path: Path) -> None:
    donor = make("test-vit")
    script = torch.nn.Module()
    for name, value in donor.clip.state_dict().items():
        *path, last = name.split(".")
        at = script
        for part in path:
            if not hasattr(at, part):
                at.add_module(part, torch.nn.Module())
            at = at.get_submodule(part)
        at.register_buffer(last, value.half())
    script.register_buffer("input_resolution", torch.tensor(64))
    scripted(script).save(str(tmp_path / "ViT-B-16.pt"))
    tower = make("test-vit", pretrained=tmp_path / "ViT-B-16.pt")
    assert tower.quick_gelu
    assert "runs with QuickGELU" in tower.notes[0]
    assert any(isinstance(m, QuickGELU) for m in tower.clip.visual.modules())
    assert tower.clip.visual.proj.dtype == torch.float32
    assert torch.equal(tower.clip.visual.proj, donor.clip.visual.proj.half().float())
    same = TwoTower(**tower.describe()).eval()
    same.load_state_dict(tower.state_dict())
    assert torch.equal(same.encode_image(pixels(tower)), tower.encode_image(pixels(tower)))


def scripted(module: torch.nn.Module) -> Any:
    with warnings.catch_warnings():  # torch deprecates it; OpenAI's files will stay what they are
        warnings.simplefilter("ignore")
        return torch.jit.script(module)


@pytest.mark.parametrize("name", sorted(p.stem for p in CONFIGS.glob("*.json")))
def test_small_models_are_small_upright_and_speak_all_of_clips_words(name: str) -> None:
    tower = make(name)
    table = tower.clip.token_embedding.weight
    assert tower.image_size == (128, 64)
    assert table.shape[0] == 49408
    assert sum(p.numel() for p in tower.parameters()) - table.numel() <= 8_000_000
