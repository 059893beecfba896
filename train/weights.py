"""Make an open_clip model with the weights, the activation and the picture size that were asked for.

A model is named as open_clip names it (``ViT-B-16``, ``RN50``, ``hf-hub:…``, ``local-dir:…``), or is one of
the small ones described in ``train/model_configs``: ``labrador-tiny`` (ViT) and ``labrador-tiny-conv``
(a timm ResNet), meant to be trained from nothing on a CPU. Two things differ from plain open_clip:

- Weights trained with QuickGELU run with QuickGELU. ``ViT-B-16`` with the tag ``openai`` would run GELU.
- A picture may be any height by width. The position grid is resized bilinearly without antialiasing and the
  class row is kept, as IRRA does (arXiv 2303.12501); open_clip's own resize is bicubic and antialiased.
"""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.factory import load_checkpoint, load_state_dict
from open_clip.modified_resnet import ModifiedResNet
from open_clip.pretrained import get_pretrained_cfg
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from sdk.errors import CheckpointError, InputError

CONFIGS = Path(__file__).parent / "model_configs"
open_clip.add_model_config(CONFIGS)


def create(
    name: str,
    image_size: tuple[int, int] | None = None,
    pretrained: str | None = None,
    quick_gelu: bool | None = None,
) -> tuple[Any, bool]:
    """The open_clip model, its ``visual.image_size`` a (height, width) tuple, and whether it runs QuickGELU.

    pretrained: a tag, a local ``.pt``, ``.bin`` or ``.safetensors`` file, or None for random weights.
    quick_gelu: None lets the model and the weights decide.
    A file may also be a recipe's checkpoint, to train on from its towers.
    Raises InputError for an unknown name, tag or size, CheckpointError for a weight file that isn't one.
    """
    config = open_clip.get_model_config(name)
    if config is None:
        raise InputError(
            f"model: open_clip has no {name!r}; open_clip.list_models() lists them, Labrador's own are "
            + ", ".join(sorted(p.stem for p in CONFIGS.glob("*.json")))
        )
    path = Path(pretrained) if pretrained and Path(pretrained).is_file() else None
    run = _run(path) if path else {}
    if quick_gelu is None:
        quick_gelu = bool(config.get("quick_gelu", False)) or _wants_quick_gelu(name, pretrained, run)
    clip = _create(name, None if path else pretrained, quick_gelu)
    native = _pair(clip.visual.image_size)
    size = native if image_size is None else _pair(image_size)
    cells, usual = _cells(clip.visual, size), _cells(clip.visual, native)
    # A file saved at the wanted size is loaded as it is. Its rows don't say whether they were 16 by 16 or
    # 32 by 8: with as many cells as the model's own grid, they are taken to be that grid.
    held = native
    if run:
        held, patch = _pair(run["tower"]["image_size"]), _patch(clip.visual)
        if held[0] % patch[0] or held[1] % patch[1]:
            raise CheckpointError(
                f"pretrained: {path} holds no weights of this model: they are {run['tower']['name']}'s, "
                f"for pictures of {held}"
            )
    elif path is not None and cells != usual and _rows_saved(path) == cells + 1:
        held = size
    if held != native:
        _resize(clip.visual, native, held)
    if path is not None:
        _load(clip, path, run)
    if size != held:
        _resize(clip.visual, held, size)
    clip.visual.image_size = size
    return clip, quick_gelu


def _resize(visual: Any, native: tuple[int, int], size: tuple[int, int]) -> None:
    if isinstance(visual, TimmModel):
        visual.set_input_size(size)
        return
    holder = visual.attnpool if isinstance(visual, ModifiedResNet) else visual
    old, (high, wide) = holder.positional_embedding, _patch(visual)
    before, after = (native[0] // high, native[1] // wide), (size[0] // high, size[1] // wide)
    rows = resize_positions(old.detach(), before, after)
    holder.positional_embedding = nn.Parameter(rows, requires_grad=old.requires_grad)
    visual.grid_size = after


def resize_positions(rows: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """Position rows (1 + h·w, c) → (1 + h'·w', c): class row kept, grid bilinear, no antialias (IRRA)."""
    grid = rows[1:].T.reshape(1, -1, *before)
    grid = F.interpolate(grid, size=after, mode="bilinear", align_corners=False)
    return torch.cat([rows[:1], grid.reshape(rows.shape[1], -1).T])


def _create(name: str, tag: str | None, quick_gelu: bool) -> Any:
    if tag and not get_pretrained_cfg(name, tag):
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise InputError(f"pretrained: {tag!r} is neither a file nor a tag of {name}; its tags are {tags}")
    with _without_random_weights_warning():
        return open_clip.create_model(
            name, pretrained=tag, force_quick_gelu=quick_gelu, pretrained_text=False, weights_only=True
        )


@contextmanager
def _without_random_weights_warning() -> Iterator[None]:
    """open_clip warns at the root logger when weights are random: here that is asked for, or follows."""

    def keep(record: logging.LogRecord) -> bool:
        return "No pretrained weights loaded" not in str(record.msg)

    root = logging.getLogger()
    root.addFilter(keep)
    try:
        yield
    finally:
        root.removeFilter(keep)


def _wants_quick_gelu(name: str, pretrained: str | None, run: Mapping[str, Any]) -> bool:
    """Tags say it themselves, as a run does (``_run``, or empty); another file by being OpenAI's TorchScript
    archive or having openai in its name."""
    if pretrained is None:
        return False
    if run:
        return bool(run["tower"]["quick_gelu"])
    if Path(pretrained).is_file():
        return _is_torchscript(Path(pretrained)) or "openai" in Path(pretrained).name.lower()
    tag = get_pretrained_cfg(name, pretrained) or {}
    return bool(tag.get("quick_gelu", False))


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(entry.endswith("/constants.pkl") for entry in archive.namelist())


def _state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of OpenAI's TorchScript archives, which torch.load(weights_only=True) refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates TorchScript
        state = torch.jit.load(str(path), map_location="cpu").state_dict()
    return {k: v for k, v in state.items() if k not in ("input_resolution", "context_length", "vocab_size")}


def _run(path: Path) -> dict[str, Any]:
    """A checkpoint that one of our recipes wrote, without its training; empty for any other file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a foreign pickle protocol, before refusing it
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # _load says what is wrong
        return {}
    ours = isinstance(state, dict) and {"format", "recipe", "tower", "model"} <= state.keys()
    return {"tower": state["tower"], "model": state["model"]} if ours else {}


def _load(clip: Any, path: Path, run: Mapping[str, Any]) -> None:
    try:
        if _is_torchscript(path):
            clip.load_state_dict(_state_dict(path))
        elif run:
            clip.load_state_dict({name.removeprefix("clip."): held for name, held in run["model"].items()})
        else:
            load_checkpoint(clip, str(path), weights_only=True)
    except Exception as error:  # on garbage, the unpickler stumbles in any way
        raise CheckpointError(
            f"pretrained: {path} holds no weights of this model, or more than tensors: {error!r}"
        ) from error


def _rows_saved(path: Path) -> int | None:
    """How many position rows a weight file's image tower has, if it has them under the usual name."""
    try:
        state = _state_dict(path) if _is_torchscript(path) else load_state_dict(str(path))
    except Exception:  # _load says what is wrong
        return None
    rows = state.get("visual.positional_embedding", state.get("visual.attnpool.positional_embedding"))
    return None if rows is None else len(rows)


def _patch(visual: Any) -> tuple[int, int]:
    return (32, 32) if isinstance(visual, ModifiedResNet) else _pair(getattr(visual, "patch_size", 1))


def _cells(visual: Any, size: tuple[int, int]) -> int:
    patch = _patch(visual)
    if size[0] < 1 or size[1] < 1 or size[0] % patch[0] or size[1] % patch[1]:
        raise InputError(
            f"image_size: {size} (height, width) isn't made of whole {patch} patches of this model"
        )
    return (size[0] // patch[0]) * (size[1] // patch[1])


def _pair(size: Any) -> tuple[int, int]:
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    return int(height), int(width)
