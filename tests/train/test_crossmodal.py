"""The cross-modal encoder: its shapes, order and first weights; and which towers can feed it."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from torch import nn

from sdk.errors import InputError
from train import checkpoint
from train.crossmodal import CrossModalEncoder, VocabularyHead, check_tokens


def make(dim: int = 64, **more: bool) -> CrossModalEncoder:
    torch.manual_seed(0)
    return CrossModalEncoder(dim, **more).eval()


def tokens(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_first_weights_are_those_of_the_source() -> None:
    made, head = make(512), VocabularyHead(512, 1000)
    into, out, inner = 512**-0.5, 512**-0.5 * 8**-0.5, 1024**-0.5
    wanted = {
        "cross_attn.in_proj_weight": into,
        "cross_attn.out_proj.weight": out,
        "cross_blocks.3.attn.in_proj_weight": into,
        "cross_blocks.3.attn.out_proj.weight": out,
        "cross_blocks.0.mlp.c_fc.weight": inner,
        "cross_blocks.0.mlp.c_proj.weight": out,
    }
    found = dict(made.named_parameters())
    for name, std in wanted.items():
        assert found[name].std().item() == pytest.approx(std, rel=0.02), name
    assert head.dense.weight.std().item() == pytest.approx(inner, rel=0.02)
    assert head.fc.weight.std().item() == pytest.approx(out, rel=0.02)
    assert not found["cross_attn.in_proj_bias"].any()
    assert len(made.cross_blocks) == 4
    assert found["cross_blocks.0.mlp.c_fc.weight"].shape == (2048, 512)
    heads = [part.num_heads for part in made.modules() if isinstance(part, nn.MultiheadAttention)]
    assert heads == [8] * 5
    assert sum(isinstance(part, QuickGELU) for part in made.modules()) == 4
    assert isinstance(head.gelu, QuickGELU)


@torch.no_grad()
def test_queries_look_at_the_memory_and_nothing_goes_around_it() -> None:
    made, queries, memory = make(), tokens(2, 5, 64), tokens(2, 9, 64)
    fused = made(queries, memory)
    assert fused.shape == (2, 5, 64)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(made(queries, memory[:, order]), fused)  # a set of keys, values alike
    assert (made(queries, memory * 1.5 + tokens(2, 9, 64).roll(1, 1)) - fused).abs().max() > 1e-3
    made.cross_attn.out_proj.weight.zero_()
    silent = made(queries, memory)
    torch.testing.assert_close(
        silent, silent[:1, :1].expand_as(silent)
    )  # a residual would tell queries apart


@torch.no_grad()
def test_every_query_takes_part_padding_too() -> None:
    made, queries, memory = make(), tokens(1, 5, 64), tokens(1, 9, 64)
    changed = queries.clone()
    changed[0, 4] = changed[0, 4].roll(1)
    assert (made(changed, memory)[0, 0] - made(queries, memory)[0, 0]).abs().max() > 1e-6


@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("wanted", [[0], [1, 2, 4, 13, 14], [0, 1, 2, 3, 4, 19], list(range(20)), []])
def test_wanted_places_are_those_of_the_whole_with_its_gradients(wanted: list[int], between: bool) -> None:
    places, made = torch.tensor(wanted, dtype=torch.int64), make(norm_between=between).double()
    found = []
    for alone in (False, True):
        queries, memory = (tokens(4, n, 64).double().requires_grad_() for n in (5, 9))
        made.zero_grad()
        out = made(queries, memory, places) if alone else made(queries, memory).flatten(0, 1)[places]
        assert out.shape == (len(wanted), 64)
        (out * tokens(20, 64)[places]).sum().backward()
        learned = {name: p.grad for name, p in made.named_parameters()}
        found.append({"out": out, "queries": queries.grad, "memory": memory.grad, **learned})
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)


@torch.no_grad()
def test_a_norm_may_stand_between() -> None:
    plain, more = make(), make(norm_between=True)
    assert set(more.state_dict()) - set(plain.state_dict()) == {"ln_between.weight", "ln_between.bias"}
    more.load_state_dict(plain.state_dict(), strict=False)
    queries, memory = tokens(1, 5, 64), tokens(1, 9, 64)
    assert not torch.allclose(plain(queries, memory), more(queries, memory))
    assert make(40)(tokens(1, 5, 40), tokens(1, 9, 40)).shape == (1, 5, 40)  # one head where 64 doesn't fit


@torch.no_grad()
def test_the_vocabulary_head_is_linear_gelu_norm_linear() -> None:
    head, states = VocabularyHead(6, 11), tokens(3, 6)
    inner = states @ head.dense.weight.T + head.dense.bias
    inner = inner * torch.sigmoid(1.702 * inner)
    inner = (inner - inner.mean(1, keepdim=True)) / (inner.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(head(states), inner @ head.fc.weight.T + head.fc.bias)


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("models")
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    vit = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16}
    timm = {"image_size": 160, "timm_model_name": "test_vit", "timm_proj": "linear"}
    whitespace = {**text, "tokenizer_kwargs": {"additional_special_tokens": ["<extra>"]}, "vocab_size": 49409}
    for name, vision, words in (
        ("test-cross-vit", vit, text),
        ("test-cross-timm", timm, text),
        ("test-cross-words", vit, whitespace),
    ):
        config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": words}
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(Path(folder))


@pytest.mark.usefixtures("towers")
def test_towers_without_tokens_or_the_vocabulary_are_refused() -> None:
    good = checkpoint.from_open_clip("test-cross-vit").train()
    check_tokens(good)
    assert good.training
    with pytest.raises(InputError, match="test-cross-timm's image tower has no token outputs"):
        check_tokens(checkpoint.from_open_clip("test-cross-timm"))
    with pytest.raises(InputError, match="test-cross-words's texts aren't in CLIP's vocabulary of 49408"):
        check_tokens(checkpoint.from_open_clip("test-cross-words"))
