"""Judge a checkpoint or a bundle on a dataset: Rank-1/5/10, mAP, mINP, each with a 95 % interval.

    python -m train.evaluate --checkpoint runs/a/ckpt.pt --data drawn --root people
    python -m train.evaluate --bundle person.bundle --data market1501 --root Market-1501 --task image

Both go through sdk.Encoder and sdk.preprocess; the checkpoint's graphs run in torch, the bundle's in its
engine. Scores are float32 products of unit vectors, of a late model the mean of its `top_tokens` largest.
"""

from __future__ import annotations

import json as _json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sdk.encoder import Encoder
from sdk.errors import InputError, LabradorError, MissingRoleError
from sdk.types import Floats
from train import datasets
from train.encode import ModuleEncoder, evaluating
from train.metrics import Metrics, bootstrap, join, rank_metrics
from train.split import Split, Task

BLOCK = 1 << 26  # scores of a block of queries: 256 MB of float32


def encode_split(encoder: Encoder, split: Split) -> tuple[Floats, Floats]:
    """The split's queries (n, d) and gallery (m, d), of a late model (m, t, d), unit length.

    encoder: sdk.Encoder, or ModuleEncoder around a torch module. A query with a picture and a text goes
    through the composer, and without one becomes unit(image + text); an attribute query is its sentence.
    Raises InputError for a split with nothing to ask or nothing to find.
    """
    if not split.queries or not split.gallery:
        raise InputError(f"{split.name}: {len(split.queries)} queries and {len(split.gallery)} gallery items")
    return _encode_queries(encoder, split), encoder.images([s.image for s in split.gallery])


def _encode_queries(encoder: Encoder, split: Split) -> Floats:
    asked = split.queries
    texts, images = [q.text for q in asked if q.text], [q.image for q in asked if q.image]
    if len(images) == len(asked) and len(texts) == len(asked):
        if has_role(encoder, "query.composed"):
            return encoder.composed(images, texts)
        both = encoder.images(images, role="query.image") + encoder.texts(texts)
        summed: Floats = both / np.linalg.norm(both, axis=1, keepdims=True)
        return summed
    if len(images) == len(asked):
        return encoder.images(images, role="query.image")
    if len(texts) == len(asked):
        role = "query.attributes" if split.match == "attributes" else "query.text"
        role = role if has_role(encoder, role) else "query.text"
        places: dict[str, int] = {}  # people with equal captions ask them once
        rows = [places.setdefault(text, len(places)) for text in texts]
        asked_for: Floats = encoder.texts(list(places), role=role)[rows]
        return asked_for
    raise InputError(f"{split.name}: every query needs a text, every one a picture, or every one both")


def has_role(encoder: Encoder, role: str) -> bool:
    """The model has a graph for this role."""
    try:
        encoder.bundle.role(role)
    except MissingRoleError:
        return False
    return True


def similarity(queries: Floats, gallery: Floats, top_tokens: int = 1) -> Floats:
    """(n, d) · (m, d) or (m, t, d) → (n, m) float32; of t products the mean of the `top_tokens` largest."""
    if gallery.ndim == 2:
        plain: Floats = queries @ gallery.T
        return plain
    m, t, d = gallery.shape
    each = (queries @ gallery.reshape(m * t, d).T).reshape(len(queries), m, t)
    best = each if top_tokens == t else np.partition(each, t - top_tokens, axis=2)[:, :, t - top_tokens :]
    mean: Floats = best.mean(axis=2, dtype=np.float32)
    return mean


def judge(split: Split, queries: Floats, gallery: Floats, top_tokens: int = 1) -> Metrics:
    """Metrics of encoded queries and gallery under the split's rule, a block of queries at a time."""
    size = max(1, BLOCK // (len(gallery) * (gallery.shape[1] if gallery.ndim == 3 else 1)))
    blocks = []
    for at in range(0, len(queries), size):
        part = replace(split, queries=split.queries[at : at + size])
        scores = similarity(queries[at : at + size], gallery, top_tokens)
        ignored = part.ignored() if part.match == "other_camera" else None
        blocks.append((at, rank_metrics(scores, part.relevant(), ignored)))
    return join(blocks)


def evaluate_module(module: Any, split: Split, device: str | torch.device = "cpu") -> Metrics:
    """Metrics of a module in training or out of it; its mode is put back and no gradient is kept."""
    with evaluating(module):
        queries, gallery = encode_split(ModuleEncoder(module, device), split)
    return judge(split, queries, gallery, int(module.similarity["top_tokens"]))


@dataclass
class Args:
    """Judge a checkpoint or a bundle on a dataset."""

    root: Path  # the dataset's folder
    data: str = "drawn"  # a module of train/datasets
    checkpoint: Path | None = None  # a ckpt.pt; give this or --bundle
    bundle: Path | None = None
    task: Task = "text"  # what asks: captions, attribute sets, pictures, or a picture and a text
    part: Literal["train", "val", "test"] = "test"
    json: Path | None = None  # where to write the figures


def run(args: Args) -> tuple[dict[str, Any], Metrics, dict[str, tuple[float, float]]]:
    """Evaluate as asked; returns the report (plain data), the metrics per query and their intervals."""
    if (args.checkpoint is None) == (args.bundle is None):
        raise InputError("evaluate: give exactly one of --checkpoint CKPT and --bundle BUNDLE")
    split = datasets.load(args.data, args.root, args.part, args.task)
    began = time.monotonic()
    encoder, top_tokens = _open(args)
    queries, gallery = encode_split(encoder, split)
    metrics = judge(split, queries, gallery, top_tokens)
    intervals = bootstrap(metrics)
    notes = [*split.notes]
    if args.task == "composed" and not has_role(encoder, "query.composed"):
        notes.append("this model has no composer: a query is unit(image + text)")
    report = {
        "model": str(args.checkpoint or args.bundle),
        "engine": encoder.session.report,
        "data": split.name,
        "task": args.task,
        "match": split.match,
        "gallery": len(split.gallery),
        **metrics.to_json(intervals),
        "seconds": round(time.monotonic() - began, 2),
        "notes": notes,
    }
    return report, metrics, intervals


def _open(args: Args) -> tuple[Encoder, int]:
    if args.bundle is not None:
        from sdk.bundle import Bundle
        from sdk.runtime import open_session

        bundle = Bundle.open(args.bundle)
        return Encoder(bundle, open_session(bundle)), bundle.space.top_tokens
    from train.checkpoint import load

    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = load(args.checkpoint or "").to(device)
    return ModuleEncoder(module, device), int(module.similarity["top_tokens"])


def main(args: Args) -> None:
    from rich.console import Console
    from rich.table import Table

    report, metrics, intervals = run(args)
    table = Table("metric", "%", "95 % interval", title=f"{report['data']}, {report['task']} → image")
    for row in metrics.table(intervals):
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print(
        f"{report['queries']:,} queries ({report['skipped']:,} more have no match), "
        f"{report['gallery']:,} pictures, "
        f"{report['seconds']} s; intervals: bootstrap over queries"
    )
    for note in report["notes"]:
        console.print(f"note: {note}")
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(_json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    import tyro

    try:
        main(tyro.cli(Args, description=__doc__))
    except LabradorError as error:
        raise SystemExit(f"error: {error}") from None
