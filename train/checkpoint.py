"""``ckpt.pt``: what training leaves behind, and what export and evaluation open.

One ``torch.save`` of tensors and plain data, always read with ``weights_only=True``::

    {"format": 1, "recipe": "clip", "config": {flat, plain}, "tower": TwoTower.describe(),
     "model": state dict, "image": ImageSpec, "text": TextSpec + {"tokenizer": "clip-bpe"},
     "schema": Schema or None, "provenance": {"data": …, "licence": …, "chosen": …},
     "training": what resuming needs, or None,
     "extras": what the recipe exports besides the towers (DualEncoder.extras), may be absent}

``load`` finds the recipe by its name and asks its ``build_for_inference(state)`` for the module, so export
needs to know no method.
"""

from __future__ import annotations

import importlib
import os
import pickle
import pkgutil
import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from sdk.attributes import Schema
from sdk.errors import CheckpointError, LabradorError
from sdk.preprocess import ImageSpec
from train.encoder import DualEncoder, GraphExport, image_spec
from train.model import TwoTower

__all__ = [
    "DualEncoder",
    "GraphExport",
    "from_open_clip",
    "load",
    "random_state",
    "read",
    "read_same_run",
    "restore",
    "save",
    "set_random_state",
]

FORMAT = 1
FIELDS = ("format", "recipe", "config", "tower", "model", "image", "text", "schema", "provenance", "training")


def from_open_clip(
    name: str, pretrained: str | None = None, image_size: tuple[int, int] | None = None
) -> DualEncoder:
    """Any open_clip model, untrained by us, with the same face as ``load`` gives.

    Pictures are squashed to (height, width), never centre-cropped as open_clip does by default: that cuts
    heads and feet off people. Raises as TwoTower does.
    """
    tower = TwoTower(name, image_size, pretrained)
    about = {"data": f"open_clip {name}, weights {pretrained or 'random'}", "licence": "that of the weights"}
    if tower.notes:
        about["notes"] = "; ".join(tower.notes)
    how = str(tower.clip.visual.preprocess_cfg["interpolation"])
    spec = image_spec(tower, "bilinear" if how == "bilinear" else "bicubic")
    return DualEncoder(tower, spec, recipe="open_clip", provenance=about).eval()


def save(
    path: str | Path,
    encoder: DualEncoder,
    config: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
    chosen: str | None = None,
) -> None:
    """Write a checkpoint atomically: under its name there is the old file or the whole new one.

    chosen: which one of its run it is (train.selection); it goes into the provenance.
    """
    schema = encoder.schema.to_json() if encoder.schema else None
    kind = "clip-bpe" if type(encoder.tokenizer).__name__ == "SimpleTokenizer" else "hf"
    state = {
        "format": FORMAT,
        "recipe": encoder.recipe,
        "config": dict(config),
        "tower": encoder.tower.describe(),
        "model": encoder.tower.state_dict(),
        "image": encoder.image_spec.to_json(),
        "text": {**encoder.text_spec.to_json(), "tokenizer": kind},
        "schema": schema,
        "provenance": {**encoder.provenance, **({} if chosen is None else {"chosen": chosen})},
        "training": training,
        "extras": encoder.extras(),
    }
    part = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path: str | Path) -> dict[str, Any]:
    """The checkpoint's dictionary; CheckpointError for anything else, a pickle payload above all."""
    if not Path(path).is_file():
        raise CheckpointError(f"checkpoint: there is no file {str(path)!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a foreign pickle protocol, before refusing it
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"checkpoint: {str(path)!r} holds more than tensors and plain data, or isn't a checkpoint; "
            f"it was not opened further ({str(error).splitlines()[0]})"
        ) from error
    except Exception as error:  # on garbage, the unpickler stumbles in any way
        raise CheckpointError(f"checkpoint: {str(path)!r} can't be read: {error!r}") from error
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise CheckpointError(f"checkpoint: {str(path)!r} isn't one of Labrador's: it has no format number")
    if state["format"] > FORMAT:
        raise CheckpointError(
            f"checkpoint: {str(path)!r} has format {state['format']}; "
            f"this Labrador reads up to {FORMAT}; upgrade it"
        )
    if missing := [name for name in FIELDS if name not in state]:
        raise CheckpointError(f"checkpoint: {str(path)!r} lacks {', '.join(missing)}")
    return state


def load(path: str | Path) -> DualEncoder:
    """The trained module in evaluation mode, as its recipe builds it. Raises CheckpointError."""
    state = read(path)
    name = state["recipe"]
    known = _recipes()
    if name not in known:
        raise CheckpointError(
            f"checkpoint: {str(path)!r} is of the recipe {name!r}; known are {', '.join(known)}"
        )
    recipe = importlib.import_module(f"train.recipes.{name}")
    try:
        module: DualEncoder = recipe.build_for_inference(state)
    except (RuntimeError, TypeError, KeyError, ValueError, AttributeError, LabradorError) as error:
        raise CheckpointError(
            f"checkpoint: {str(path)!r} doesn't fit the recipe {name!r}: {error}"
        ) from error
    return module.eval()


def restore(state: Mapping[str, Any]) -> DualEncoder:
    """A DualEncoder from a checkpoint's dictionary: what recipes with two plain towers need."""
    tower = TwoTower(**state["tower"])
    tower.load_state_dict(state["model"])
    schema = None if state["schema"] is None else Schema.from_json(state["schema"])
    spec = ImageSpec.from_json(state["image"])
    return DualEncoder(tower, spec, recipe=state["recipe"], schema=schema, provenance=state["provenance"])


def read_same_run(
    path: str | Path,
    recipe: str,
    config: Mapping[str, Any],
    free: Collection[str],
    defaults: Mapping[str, Any],
) -> Any:
    """``read`` for resuming: CheckpointError names the settings, but for those in ``free``, that differ.

    A setting that didn't exist when the run began had its value of ``defaults``.
    """
    state = read(path)
    if state["recipe"] != recipe or state["training"] is None:
        raise CheckpointError(f"{path} isn't a run of {recipe!r} that can go on; give another --out")
    old = {**defaults, **state["config"]}
    names = [name for name in {**config, **old} if name not in free and config.get(name) != old.get(name)]
    if names:
        changes = ", ".join(f"{name} was {old.get(name)!r}, is {config.get(name)!r}" for name in names)
        raise CheckpointError(
            f"{path} is a run with other settings: {changes}; keep them, or give another --out"
        )
    return state


def random_state() -> dict[str, Any]:
    """The state of torch's generators, to be continued by ``set_random_state``."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def _recipes() -> list[str]:
    package = importlib.import_module("train.recipes")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if re.fullmatch(r"[a-z]\w*", m.name))
