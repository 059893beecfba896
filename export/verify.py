"""The gate: is this bundle the checkpoint it was made from?

    python -m export.verify person.bundle --checkpoint ckpt.pt [--data drawn --root DIR --images 256]

Torch runs the checkpoint's modules on the checkpoint's specs and tokenizer; the bundle runs as it will for
users, by its own specs and tokenizer.json, the SDK's onnxruntime session, encoder and gallery. Every
comparison is made, then all are printed with value and limit.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from rich.console import Console

from sdk.bundle import Bundle, check_golden
from sdk.encoder import Encoder
from sdk.errors import LabradorError
from sdk.gallery import open_gallery
from sdk.graphs import IDS, MASK, PIXELS, run_outputs, sources
from sdk.preprocess import TextPreprocess, preprocess_images
from sdk.recognition import GRAPH, TARGET
from sdk.runtime import open_session
from sdk.types import Session, Space

from .command import load_split, run, sha256
from .convert import Array, run_torch, structure
from .gate import MAX_ABS, TOP, Check, Report, independence, parity, points, ranking, same, score_matrix
from .probes import AWKWARD, Probe, from_split, rows_of, synthetic
from .recognition import recognition
from .tokenizer import reference_ids

if TYPE_CHECKING:
    from train.checkpoint import DualEncoder, GraphExport
    from train.split import Split

BATCHES = (1, 2, 3, 7)  # and the bundle's max_batch


def verify(bundle: Bundle, module: DualEncoder, split: Split | None = None, images: int = 256) -> Report:
    """Hold `bundle` against `module` on at most `images` pictures of `split`, or on made-up ones.

    Raises nothing for a difference, however gross: it is in the report.
    """
    graphs = list(module.export_graphs())
    roles = roles_of(module)
    probe = synthetic() if split is None else from_split(split, images, "query.text" in roles)
    session = open_session(bundle, device="cpu")
    try:
        gate = _Gate(bundle, module, session, graphs, roles, probe)
        steps = {
            "structure": gate.structure,
            "preprocessing": gate.preprocessing,
            "golden samples": gate.golden,
            "features": gate.features,
            "recognition": gate.recognition,
            "search": gate.search,
        }
        checks: list[Check] = []
        for name, step in steps.items():
            try:
                for check in step():
                    checks.append(check)  # so that those before an error stay
            except LabradorError as error:
                checks.append(Check(name, False, type(error).__name__, "runs without an error", str(error)))
    finally:
        session.close()
    import torch

    setting = {
        "on": probe.name,
        "batches": gate.batches,
        "torch": torch.__version__,
        "engine": f"{session.report['engine']} {session.report['version']}",
        "providers": session.report["providers_active"],
    }
    return Report(tuple(checks), setting)


def roles_of(module: DualEncoder) -> dict[str, str]:
    """The roles that a bundle of it has: attribute queries need a schema to make sentences of."""
    return {r: t for r, t in module.roles.items() if r != "query.attributes" or module.schema is not None}


class _Gate:
    """The comparisons, in the order in which a mistake is easiest to understand."""

    def __init__(
        self,
        bundle: Bundle,
        module: DualEncoder,
        session: Session,
        graphs: Sequence[GraphExport],
        roles: Mapping[str, str],
        probe: Probe,
    ) -> None:
        self.bundle, self.module, self.session = bundle, module, session
        self.graphs, self.roles, self.probe = graphs, roles, probe
        self.batches = sorted({b for b in BATCHES if b < bundle.max_batch} | {bundle.max_batch})

    def structure(self) -> Iterator[Check]:
        ours, theirs = self.module, self.bundle
        made = {g.name: (dict(g.inputs), {o: (*s[1:],) for o, s in g.outputs.items()}) for g in self.graphs}
        kept = {name: (dict(g.inputs), dict(g.outputs)) for name, g in theirs.graphs.items()}
        described = {
            "roles": (dict(self.roles), theirs.roles),
            "graphs": (made, kept),
            "similarity": (dict(ours.similarity), theirs.manifest["similarity"]),
            "image": (ours.image_spec, theirs.image_spec),
            "text": (ours.text_spec if theirs.text_spec else None, theirs.text_spec),
            "schema": (ours.schema, theirs.schema),
        }
        wrong = [name for name, (left, right) in described.items() if left != right]
        detail = "; ".join(f"{name}: {described[name][1]} instead of {described[name][0]}" for name in wrong)
        what = "manifest: fields that differ from the checkpoint"
        yield Check(what, not wrong, ", ".join(wrong) or 0.0, f"0 of {', '.join(described)}", detail)
        for graph in self.graphs:
            if graph.name in theirs.graphs:
                yield from structure(graph, theirs.graph_path(graph.name))

    def preprocessing(self) -> Iterator[Check]:
        few = self.probe.images[:64]
        left = preprocess_images(few, self.module.image_spec)
        right = preprocess_images(few, self.bundle.image_spec)
        yield same("pixels of the bundle and of training", left, right, "pictures")
        text = self.text
        if text is not None:
            every = [*AWKWARD, *self.probe.texts]
            ids = reference_ids(self.module.tokenizer, every, self.module.text_spec)
            yield same("token ids of the bundle and of training", ids, text(every), "texts")

    def golden(self) -> Iterator[Check]:
        for check in check_golden(self.bundle, self.session):
            yield Check(check.name, check.ok, float(check.value), f"≤ {check.limit:g}")

    def features(self) -> Iterator[Check]:
        """Every output that anyone asks for, of pictures and texts, by batches of several sizes."""
        expected: dict[int, Mapping[str, Array]] = {}
        found: dict[int, Mapping[str, Array]] = {}
        for b, rows in rows_of(self.batches).items():
            expected[b] = run_torch(self.graphs, self._torch_feeds(rows))
            found[b] = {}
            feeds = self._engine_feeds(rows)
            for target in self._targets():
                needed = sources(self.bundle.graphs, target)
                batch = {name: feeds[name] for name in needed}
                found[b] = {**found[b], **run_outputs(self.bundle, self.session, (target,), batch)}
        for target in self._targets():
            engine = {b: found[b][target] for b in self.batches}
            unit = target in self.roles.values()
            yield from parity(target, {b: expected[b][target] for b in self.batches}, engine, unit)
            yield from independence(target, engine)

    def recognition(self) -> Iterator[Check]:
        """What the graph ``attributes``, if there is one, says of vectors."""
        for graph in self.graphs:
            if graph.name == GRAPH and GRAPH in self.bundle.graphs:
                vectors = self._in_torch("gallery", self.probe.images, self._pixels)
                yield from recognition(graph, self.bundle, self.session, vectors, self.batches)

    def search(self) -> Iterator[Check]:
        """The finished system, encoder and gallery, against torch's scores."""
        encoder, probe = Encoder(self.bundle, self.session), self.probe
        ask = "query.text" if "query.text" in self.roles and probe.texts else "query.image"
        if ask not in self.roles:
            return
        vectors = encoder.images(probe.images)
        if ask == "query.text":
            asked = encoder.texts(probe.texts)
            queries = self._in_torch(ask, probe.texts, self._ids)
        else:
            asked = encoder.images(probe.queries, role=ask)
            queries = self._in_torch(ask, probe.queries, self._pixels)
        top = self.bundle.space.top_tokens
        ours = score_matrix(queries, self._in_torch("gallery", probe.images, self._pixels), top)
        theirs = score_matrix(asked, vectors, top)
        space = Space("", self.bundle.space.dim, self.bundle.space.tokens, top)
        with tempfile.TemporaryDirectory(prefix="labrador-") as folder:
            gallery = open_gallery(Path(folder) / "gate.gallery", space)
            try:
                gallery.add(list(range(len(vectors))), vectors)
                hits = gallery.search(asked, min(TOP, len(vectors)))
            finally:
                gallery.close()
        found = [[int(i) for i in row if i is not None] for row in hits.ids]
        listed = [
            abs(float(ours[q, i]) - float(s))
            for q, row in enumerate(found)
            for i, s in zip(row, hits.scores[q], strict=False)
        ]
        error = max(float(np.abs(ours - theirs).max()), *listed)
        yield Check(
            "scores of a search: largest difference from torch", error <= MAX_ABS, error, f"≤ {MAX_ABS:g}"
        )
        yield ranking(ours, found, error)
        if probe.relevant is not None:
            yield from self._metrics(ours, theirs)

    def _metrics(self, ours: Array, theirs: Array) -> Iterator[Check]:
        from train.metrics import rank_metrics

        assert self.probe.relevant is not None
        left, right = (rank_metrics(s, self.probe.relevant, self.probe.ignored) for s in (ours, theirs))
        if not len(left):
            yield Check("Rank-1 and mAP", False, "no query has an answer", "some have", self.probe.name)
            return
        for key, name in (("rank1", "Rank-1"), ("map", "mAP")):
            yield points(name, left.means()[key], right.means()[key], len(left))

    def _targets(self) -> list[str]:
        """Each output that plays a role or that no graph reads, once; not that of the graph ``attributes``,
        which reads vectors (``recognition``), nor what the bundle lacks (``structure`` says so)."""
        every = [f"{graph.name}.{output}" for graph in self.graphs for output in graph.outputs]
        read = {source for graph in self.graphs for source in graph.inputs.values()}
        there = {f"{name}.{output}" for name, graph in self.bundle.graphs.items() for output in graph.outputs}
        ends = [*self.roles.values(), *(target for target in every if target not in read)]
        return [target for target in dict.fromkeys(ends) if target in there and target != TARGET]

    @cached_property
    def text(self) -> TextPreprocess | None:
        if self.bundle.text_spec is None or self.bundle.tokenizer_path is None:
            return None
        return TextPreprocess(self.bundle.text_spec, self.bundle.tokenizer_path)

    def _torch_feeds(self, rows: Sequence[int]) -> dict[str, Array]:
        images, texts = self.probe.pick(rows)
        feeds = self._pixels(images)
        return {**feeds, **self._ids(texts)} if self.bundle.text_spec is not None else feeds

    def _engine_feeds(self, rows: Sequence[int]) -> dict[str, Array]:
        images, texts = self.probe.pick(rows)
        feeds: dict[str, Array] = {PIXELS: preprocess_images(images, self.bundle.image_spec)}
        text = self.text
        if text is not None:
            feeds[IDS] = text(texts)
            feeds[MASK] = text.mask(feeds[IDS])
        return feeds

    def _pixels(self, images: Sequence[Any]) -> dict[str, Array]:
        return {PIXELS: preprocess_images(images, self.module.image_spec)}

    def _ids(self, texts: Sequence[str]) -> dict[str, Array]:
        """As training saw them; the mask covers all up to the last token that isn't padding."""
        spec = self.module.text_spec
        ids = reference_ids(self.module.tokenizer, list(texts), spec)
        real = np.cumsum((ids != spec.pad_id)[:, ::-1], axis=1)[:, ::-1] > 0
        return {IDS: ids, MASK: real.astype(np.int64)}

    def _in_torch(
        self, role: str, items: Sequence[Any], feed: Callable[[Sequence[Any]], dict[str, Array]]
    ) -> Array:
        """All items by torch, in batches of another size than the encoder's."""
        size = max(1, self.bundle.max_batch // 2 - 1)
        parts = [run_torch(self.graphs, feed(items[i : i + size])) for i in range(0, len(items), size)]
        return np.concatenate([part[self.roles[role]] for part in parts])


def main(
    bundle: Annotated[Path, tyro.conf.Positional],
    checkpoint: Path,
    data: str | None = None,
    root: Path | None = None,
    images: int = 256,
) -> int:
    """Hold a bundle against the checkpoint it was made from. Exit code 1 if any check fails.

    Args:
        bundle: the bundle's folder
        checkpoint: the ckpt.pt it was exported from
        data: a dataset (train/datasets) to try it on; without, made-up pictures and texts
        root: the dataset's folder
        images: how many of its pictures to use
    """
    from train.checkpoint import load

    opened = Bundle.open(bundle)
    module = load(checkpoint)
    split = load_split(data, root, module)
    report = verify(opened, module, split, images)
    report.print(Console())
    named = opened.manifest["provenance"]["checkpoint"]
    if not report.passed and named != (given := sha256(checkpoint)):
        print(f"the bundle was made from a file of SHA-256 {named}; that of {checkpoint} is {given}")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(run(main, "export.verify", __doc__ or ""))
