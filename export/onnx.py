"""Checkpoint → bundle: graphs, tokenizer, golden samples, and the gate in front of them.

    python -m export.onnx ckpt.pt --out person.bundle [--data drawn --root DIR]
    python -m export.onnx --model ViT-B-16-quickgelu --pretrained openai --out zero.bundle

The second form needs no checkpoint: an open_clip model becomes a bundle, with a tag of open_clip or a
local weight file; one whose texts are cleaned in a way that a bundle can't state (SigLIP's, CLIPA's) is
refused. A bundle that doesn't equal its model is never written: everything is made in a hidden
folder beside --out and held against torch (export.verify); only then does the whole bundle get its name, with
the gate's report in its manifest. Until then an older bundle at --out stays as it is.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.text import Text

from sdk.bundle import Bundle, check_replaceable, make_golden, write_bundle
from sdk.errors import ExportError, InputError
from sdk.graphs import IDS, MASK
from sdk.preprocess import TextPreprocess
from sdk.recognition import GRAPH, TARGET

from .command import load_split, run, sha256
from .convert import SINGLE_FILE, run_torch, write_graph
from .tokenizer import write_tokenizer
from .verify import roles_of, verify

if TYPE_CHECKING:
    from train.checkpoint import DualEncoder
    from train.split import Split

MAX_BATCH = 64  # the largest batch that the gate tries, and so the largest that the SDK runs
IMAGES = 256  # of a dataset, for the gate
TOKENIZER = "tokenizer.json"


def export_bundle(
    module: DualEncoder,
    out: str | Path,
    *,
    name: str,
    checkpoint: str | Path | None = None,
    split: Split | None = None,
    console: Console | None = None,
    single_file: int = SINGLE_FILE,
) -> Bundle:
    """Write `module` as the bundle `out`, through the gate.

    checkpoint: the file its weights came from, named in the manifest by its SHA-256. split: data for the
    gate; None tries made-up pictures. single_file: a graph of so many bytes or more keeps its weights in
    a file of their own. Raises ExportError when the gate stays shut and InputError when `out` is something
    else than a bundle; then nothing is written and an older bundle stays.
    """
    out, console = Path(out), console or Console(quiet=True)
    check_replaceable(out)  # now, not after minutes of exporting
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.export-", dir=out.parent))
    try:
        files = staging / "files"
        files.mkdir()
        described = _write_parts(module, files, name, checkpoint, console, single_file)
        candidate = write_bundle(staging / "candidate", **described)
        started = time.perf_counter()
        report = verify(candidate, module, split, IMAGES)
        report.print(console)
        console.print(f"the gate took {time.perf_counter() - started:.1f} s", highlight=False)
        if not report.passed:
            raise ExportError(
                "the gate stays shut, so there is no bundle: "
                + "; ".join(f"{c.name} is {c.value}, allowed {c.limit}" for c in report.failures)
            )
        return write_bundle(out, **described, parity=report.to_json())
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_parts(
    module: DualEncoder,
    files: Path,
    name: str,
    checkpoint: str | Path | None,
    console: Console,
    single_file: int,
) -> dict[str, Any]:
    """Graphs and tokenizer into `files`; returns the arguments of write_bundle."""
    spec = module.image_spec
    how = "squashed, whatever their shape" if spec.resize == "squash" else "scaled and cut to their centre"
    console.print(
        f"pictures: {how}, to {spec.height}x{spec.width} (height x width), {spec.interpolation}",
        highlight=False,
    )
    graphs = list(module.export_graphs())
    entries: dict[str, dict[str, Any]] = {}
    for graph in graphs:
        with _timed(console, files):
            written = write_graph(graph, files, single_file)
        entries[graph.name] = {
            "files": written,
            "inputs": dict(graph.inputs),
            "outputs": {output: list(shape) for output, shape in graph.outputs.items()},
        }
    reads_text = any(source in (IDS, MASK) for graph in graphs for source in graph.inputs.values())
    text = None
    if reads_text:
        with _timed(console, files):
            path = write_tokenizer(module.tokenizer, module.text_spec, files / TOKENIZER)
        text = TextPreprocess(module.text_spec, path)
    roles = roles_of(module)
    names = [*roles, *(TARGET for graph in graphs if graph.name == GRAPH)]
    golden = make_golden(
        spec, text, lambda name, feeds: run_torch(graphs, feeds)[roles.get(name, name)], names
    )
    about = {
        "data": "unknown",
        "licence": "unknown",
        **module.provenance,
        "recipe": module.recipe,
        "checkpoint": sha256(Path(checkpoint)) if checkpoint is not None else None,
    }
    return {
        "name": name,
        "provenance": about,
        "image": spec,
        "text": module.text_spec if reads_text else None,
        "schema": module.schema,
        "graphs": entries,
        "roles": roles,
        "similarity": module.similarity,
        "max_batch": MAX_BATCH,
        "source_dir": files,
        "golden": golden,
        "tokenizer": TOKENIZER,
    }


@contextmanager
def _timed(console: Console, folder: Path) -> Iterator[None]:
    """Say which files the block added, their sizes, and how long it took."""
    before, started = set(folder.iterdir()), time.perf_counter()
    yield
    took = time.perf_counter() - started
    for path in sorted(set(folder.iterdir()) - before):
        console.print(f"{path.name:<16} {_size(path.stat().st_size):>9}  {took:6.1f} s", highlight=False)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def main(
    checkpoint: Annotated[Path | None, tyro.conf.Positional] = None,
    /,
    *,
    out: Path,
    model: str | None = None,
    pretrained: str | None = None,
    data: str | None = None,
    root: Path | None = None,
) -> int:
    """Make a bundle from a checkpoint, or from any open_clip model, and prove that it is the same model.

    Args:
        checkpoint: The ckpt.pt of a training run.
        out: The bundle's folder; an older bundle there is replaced once the new one has passed.
        model: Instead of a checkpoint, an open_clip model such as ViT-B-16-quickgelu.
        pretrained: Its weights: a tag of open_clip, such as openai, or a file.
        data: A dataset (train/datasets) on which to prove it; without, made-up pictures and texts.
        root: The dataset's folder.
    """
    started = time.perf_counter()
    console = Console()
    module, name, weights = _open(checkpoint, model, pretrained)
    console.print(f"{name}: opened in {time.perf_counter() - started:.1f} s", highlight=False)
    split = load_split(data, root, module)
    bundle = export_bundle(module, out, name=name, checkpoint=weights, split=split, console=console)
    total = sum(entry["bytes"] for entry in bundle.manifest["files"].values())
    which = f"digest {bundle.digest[:12]}, space {bundle.space.hash[:12]}"
    took = time.perf_counter() - started
    console.print(Text(f"wrote {out}: {_size(total)}, {which}, in {took:.1f} s"), soft_wrap=True)
    ask = f"python -m sdk index FOLDER --bundle {out} --gallery people.gallery"
    console.print(Text(f"next: {ask}"), soft_wrap=True)
    return 0


def _open(
    checkpoint: Path | None, model: str | None, pretrained: str | None
) -> tuple[DualEncoder, str, Path | None]:
    """The module, the bundle's name, and the file that its weights came from."""
    if (checkpoint is None) == (model is None):
        raise InputError("give either a checkpoint or --model with --pretrained, and not both")
    if checkpoint is not None:
        from train.checkpoint import load

        if pretrained is not None:
            raise InputError("pretrained: goes with --model; a checkpoint brings its own weights")
        module = load(checkpoint)
        return module, module.recipe, checkpoint
    from train.checkpoint import from_open_clip

    if model is None or pretrained is None:
        raise InputError("pretrained: is missing; give a tag of open_clip such as openai, or a weight file")
    module = from_open_clip(model, pretrained)
    file = Path(pretrained) if Path(pretrained).is_file() else None
    if file is not None:  # a bundle travels, the path doesn't
        known = module.provenance.items()
        module.provenance = {k: v.replace(pretrained, file.name) for k, v in known}
    return module, model, file


if __name__ == "__main__":
    sys.exit(run(main, "export.onnx", __doc__ or ""))
