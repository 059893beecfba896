"""Judge a checkpoint or a bundle on a dataset: Rank-1/5/10, mAP, mINP, each with a 95 % interval.

    python -m train.evaluate --checkpoint runs/a --data cuhk_pedes --root CUHK-PEDES
    python -m train.evaluate --bundle person.bundle --data market1501 --root Market-1501 --task image

Both go through sdk.Encoder and sdk.preprocess; the checkpoint's graphs run in torch, the bundle's in its
engine. Scores are those of `cpp_ext`. Of a run folder every checkpoint is judged that it keeps, each with
its label: last, best on val, best on test.

The protocol is the dataset's (train/datasets): text → image as IRRA judges it, attributes → image with every
attribute set asking once and nothing removed, image → image with the same person on the same camera removed.
"""

from __future__ import annotations

import json as _json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sdk.decode import ImageSource
from sdk.encoder import Encoder
from sdk.errors import InputError, LabradorError, MissingRoleError
from sdk.types import Floats
from train import datasets
from train.encode import ModuleEncoder, evaluating
from train.mended import encode_pictures
from train.metrics import Metrics, bootstrap, join
from train.ranking import By, judge_scores
from train.selection import checkpoints, chosen_on
from train.split import Split, Task

BLOCK = 1 << 24  # pairs in a block of queries; about 30 bytes each are held


def encode_split(encoder: Encoder, split: Split) -> tuple[Floats, Floats]:
    """The split's queries (n, d) and gallery (m, d), of a late model (m, t, d), unit length.

    encoder: sdk.Encoder, or ModuleEncoder around a torch module. A query with a picture and a text goes
    through the composer, and without one becomes unit(image + text); an attribute query is its sentence.
    Raises InputError for a split with nothing to ask or nothing to find.
    """
    if not split.queries or not split.gallery:
        raise InputError(f"{split.name}: {len(split.queries)} queries and {len(split.gallery)} gallery items")
    gallery = encode_pictures(encoder.images, [s.image for s in split.gallery])
    return _encode_queries(encoder, split), gallery


def _encode_queries(encoder: Encoder, split: Split) -> Floats:
    asked = split.queries
    texts, images = [q.text for q in asked if q.text], [q.image for q in asked if q.image]

    def asking(sources: Sequence[ImageSource]) -> Floats:
        return encoder.images(sources, role="query.image")

    if len(images) == len(asked) and len(texts) == len(asked):
        if has_role(encoder, "query.composed"):
            return encode_pictures(lambda sources: encoder.composed(sources, texts), images)
        both = encode_pictures(asking, images) + encoder.texts(texts)
        summed: Floats = both / np.linalg.norm(both, axis=1, keepdims=True)
        return summed
    if len(images) == len(asked):
        return encode_pictures(asking, images)
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


def judge(
    split: Split, queries: Floats, gallery: Floats, top_tokens: int = 1, ranking: By = "topk"
) -> Metrics:
    """Metrics of encoded queries and gallery under the split's rule, a block of queries at a time.

    ranking: by a search or by sorting all scores; the results are the same (train/ranking.py).
    """
    size = max(1, BLOCK // len(gallery))
    blocks = []
    for at in range(0, len(queries), size):
        part = replace(split, queries=split.queries[at : at + size])
        asked, relevant, ignored = queries[at : at + size], part.relevant(), part.ignored()
        blocks.append((at, judge_scores(ranking, asked, gallery, relevant, ignored, top_tokens)))
    return join(blocks)


def evaluate_module(module: Any, split: Split, device: str | torch.device = "cpu") -> Metrics:
    """Metrics of a module in training or out of it; its mode is put back and no gradient is kept."""
    with evaluating(module):
        queries, gallery = encode_split(ModuleEncoder(module, device), split)
    return judge(split, queries, gallery, int(module.similarity["top_tokens"]))


@dataclass
class Args:
    """Judge checkpoints or a bundle on a dataset."""

    root: Path  # the dataset's folder
    data: str = "drawn"  # a module of train/datasets
    checkpoint: tuple[Path, ...] = ()  # a ckpt.pt, several, or run folders with all they keep; or --bundle
    bundle: Path | None = None
    task: Task | None = None  # what asks: text, attributes, image, composed; none: the first the dataset has
    part: Literal["train", "val", "test"] = "test"
    ranking: By = "topk"  # by searching or by sorting every score, with the same result
    json: Path | None = None  # where to write the figures: a list with a report per model


@dataclass(frozen=True)
class Report:
    """What one model scored; ``facts`` is plain data, the rest is per query."""

    facts: dict[str, Any]
    metrics: Metrics
    intervals: dict[str, tuple[float, float]]


def run(args: Args) -> list[Report]:
    """Evaluate as asked, one model after the other."""
    if (not args.checkpoint) == (args.bundle is None):
        raise InputError("evaluate: give exactly one of --checkpoint CKPT … and --bundle BUNDLE")
    models = [file for path in args.checkpoint for file in checkpoints(path)]
    if args.checkpoint and not models:
        raise InputError(f"evaluate: no checkpoint in {', '.join(map(str, args.checkpoint))}")
    task = args.task or datasets.tasks(args.data)[0]
    split = datasets.load(args.data, args.root, args.part, task)
    models += [] if args.bundle is None else [args.bundle]
    return [_report(args, split, task, model) for model in models]


def _report(args: Args, split: Split, task: str, model: Path) -> Report:
    began = time.monotonic()
    encoder, top_tokens, chosen = _open(model, args.bundle is not None)
    queries, gallery = encode_split(encoder, split)
    metrics = judge(split, queries, gallery, top_tokens, args.ranking)
    intervals = bootstrap(metrics)
    notes = [*split.notes]
    if task == "composed" and not has_role(encoder, "query.composed"):
        notes.append("this model has no composer: a query is unit(image + text)")
    if chosen is not None and chosen_on(chosen, args.part):
        notes.append(f"{chosen}: chosen on the part it is judged on, as papers do; expect less elsewhere")
    facts = {
        "model": str(model),
        "chosen": chosen,
        "engine": encoder.session.report,
        "data": split.name,
        "task": task,
        "match": split.match,
        "ranking": args.ranking,
        "gallery": len(split.gallery),
        **metrics.to_json(intervals),
        "seconds": round(time.monotonic() - began, 2),
        "notes": notes,
    }
    return Report(facts, metrics, intervals)


def _open(model: Path, bundled: bool) -> tuple[Encoder, int, str | None]:
    """The model's encoder, its top_tokens, and which checkpoint of its run it is, as far as it says."""
    if bundled:
        from sdk.bundle import Bundle
        from sdk.runtime import open_session

        bundle = Bundle.open(model)
        named = bundle.manifest["provenance"].get("chosen")
        return Encoder(bundle, open_session(bundle)), bundle.space.top_tokens, named
    from train.checkpoint import load

    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = load(model).to(device)
    encoder = ModuleEncoder(module, device)
    return encoder, int(module.similarity["top_tokens"]), module.provenance.get("chosen")


def main(args: Args) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    reports = run(args)
    for report in reports:
        facts = report.facts
        console.print(facts["model"], f"({facts['chosen']})" if facts["chosen"] else "", soft_wrap=True)
        table = Table("metric", "%", "95 % interval", title=f"{facts['data']}, {facts['task']} → image")
        for row in report.metrics.table(report.intervals):
            table.add_row(*row)
        console.print(table)
        console.print(
            f"{facts['queries']:,} queries ({facts['skipped']:,} more have no match), "
            f"{facts['gallery']:,} pictures, {facts['seconds']} s; intervals: bootstrap over queries"
        )
        for note in facts["notes"]:
            console.print(f"note: {note}")
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(_json.dumps([report.facts for report in reports], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    import tyro

    try:
        main(tyro.cli(Args, description=__doc__))
    except LabradorError as error:
        raise SystemExit(f"error: {error}") from None
