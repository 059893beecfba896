"""The graphs of a bundle: which feeds which, in what order they run, and what each role needs of them.

A graph's input comes from ``pixels`` (n,3,h,w) float32, ``input_ids`` or ``attention_mask`` (n,length)
int64, or from ``<graph>.<output>`` of another graph, so that a shared trunk is stored and run once.
A role names the output that plays it: ``gallery`` makes the stored vectors, ``query.*`` the searching ones.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import BundleFormatError

if TYPE_CHECKING:
    from .bundle import Bundle
    from .types import Session

Array = npt.NDArray[Any]

PIXELS, IDS, MASK = "pixels", "input_ids", "attention_mask"
_TEXT = frozenset({IDS, MASK})
# What each role may be computed from.
ROLES: dict[str, frozenset[str]] = {
    "gallery": frozenset({PIXELS}),
    "query.image": frozenset({PIXELS}),
    "query.text": _TEXT,
    "query.attributes": _TEXT,
    "query.composed": _TEXT | {PIXELS},
}
_NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Graph:
    """One stored graph: ``files`` (the .onnx first, its external data behind it), ``inputs`` (name in the
    graph → source), ``outputs`` (name → shape of one item, (d,) or (t, d))."""

    name: str
    files: tuple[str, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, tuple[int, ...]]

    @classmethod
    def from_json(cls, name: str, data: Any) -> Graph:
        """Read ``{"files": [...], "inputs": {...}, "outputs": {name: ["n", d]}}``; BundleFormatError."""
        where = f"graphs.{name}"
        if not _NAME.fullmatch(name):
            raise BundleFormatError(f"{where}: a graph's name is made of letters, digits and underscores")
        if not isinstance(data, Mapping) or set(data) != {"files", "inputs", "outputs"}:
            raise BundleFormatError(f"{where}: needs exactly the fields 'files', 'inputs' and 'outputs'")
        files, inputs, outputs = data["files"], data["inputs"], data["outputs"]
        if not isinstance(files, list) or not files or not all(isinstance(f, str) for f in files):
            raise BundleFormatError(f"{where}.files: got {files!r}; give a list of file names")
        if not isinstance(inputs, Mapping) or not inputs or not _are_strings(inputs.values()):
            raise BundleFormatError(f"{where}.inputs: got {inputs!r}; give an object, input name to source")
        if not isinstance(outputs, Mapping) or not outputs:
            raise BundleFormatError(f"{where}.outputs: got {outputs!r}; give an object, output name to shape")
        shapes = {str(o): _item_shape(f"{where}.outputs.{o}", shape) for o, shape in outputs.items()}
        return cls(name, tuple(files), {str(i): str(s) for i, s in inputs.items()}, shapes)

    def to_json(self) -> dict[str, Any]:
        shapes = {name: ["n", *shape] for name, shape in self.outputs.items()}
        return {"files": list(self.files), "inputs": dict(self.inputs), "outputs": shapes}

    def needs(self) -> list[tuple[str, str]]:
        """The (graph, output) pairs among the sources."""
        return [split_target(s) for s in self.inputs.values() if "." in s]


def split_target(target: str) -> tuple[str, str]:
    """ "image.features" → ("image", "features")."""
    graph, _, output = target.partition(".")
    return graph, output


def ordered(graphs: Mapping[str, Graph]) -> dict[str, Graph]:
    """The graphs, each behind those it needs; BundleFormatError for an unknown source or a cycle."""
    for graph in graphs.values():
        for name, source in graph.inputs.items():
            upstream, output = split_target(source)
            known = source in (PIXELS, IDS, MASK) or (
                upstream in graphs and output in graphs[upstream].outputs
            )
            if not known:
                raise BundleFormatError(
                    f"graphs.{graph.name}.inputs.{name}: unknown source {source!r}; "
                    f"allowed are {PIXELS}, {IDS}, {MASK} and <graph>.<output> of {', '.join(graphs)}"
                )
    placed: dict[str, Graph] = {}
    while len(placed) < len(graphs):
        ready = [
            g for g in graphs.values() if g.name not in placed and all(u in placed for u, _ in g.needs())
        ]
        if not ready:
            stuck = ", ".join(sorted(set(graphs) - set(placed)))
            raise BundleFormatError(
                f"graphs: {stuck} wait for one another; a graph may only use earlier ones"
            )
        placed.update((g.name, g) for g in ready)
    return placed


def closure(graphs: Mapping[str, Graph], target: str) -> list[str]:
    """Names of the graphs that must run for ``<graph>.<output>``, in order; ``graphs`` is ordered."""
    wanted = {split_target(target)[0]}
    for name in reversed(list(graphs)):
        if name in wanted:
            wanted.update(upstream for upstream, _ in graphs[name].needs())
    return [name for name in graphs if name in wanted]


def sources(graphs: Mapping[str, Graph], target: str) -> set[str]:
    """Which of pixels, input_ids and attention_mask the output depends on."""
    return {s for name in closure(graphs, target) for s in graphs[name].inputs.values() if "." not in s}


def check_roles(roles: Any, graphs: Mapping[str, Graph], dim: int, tokens: int) -> dict[str, str]:
    """The roles, each with a fitting output; raises BundleFormatError."""
    if not isinstance(roles, Mapping) or "gallery" not in roles or not _are_strings(roles.values()):
        raise BundleFormatError(
            f"roles: got {roles!r}; give an object, role to <graph>.<output>, with 'gallery'"
        )
    for role, target in roles.items():
        if role not in ROLES:
            raise BundleFormatError(f"roles: unknown role {role!r}; allowed are {', '.join(ROLES)}")
        graph, output = split_target(target)
        if graph not in graphs or output not in graphs[graph].outputs:
            raise BundleFormatError(
                f"roles.{role}: {target!r} is no output of a graph; there are {_all(graphs)}"
            )
        expected = (tokens, dim) if role == "gallery" and tokens > 1 else (dim,)
        if graphs[graph].outputs[output] != expected:
            raise BundleFormatError(
                f"roles.{role}: {target!r} gives {_shape(graphs[graph].outputs[output])}, "
                f"but similarity asks for {_shape(expected)}"
            )
        if extra := sources(graphs, target) - ROLES[role]:
            raise BundleFormatError(
                f"roles.{role}: {target!r} depends on {', '.join(sorted(extra))}, "
                f"but this role is given {', '.join(sorted(ROLES[role]))} only"
            )
    return dict(roles)


def run_roles(
    bundle: Bundle, session: Session, roles: Sequence[str], feeds: Mapping[str, Array]
) -> dict[str, Array]:
    """The outputs for several roles of one batch: role → (n, ...) ; every graph runs at most once.

    ``feeds`` holds the sources that the roles depend on, n rows each. Raises MissingRoleError for a role
    the bundle lacks, BundleFormatError when a graph gives another shape than the manifest says.
    """
    targets = {role: ".".join(bundle.role(role)) for role in roles}
    values = run_outputs(bundle, session, set(targets.values()), feeds)
    return {role: values[target] for role, target in targets.items()}


def run_outputs(
    bundle: Bundle, session: Session, targets: Collection[str], feeds: Mapping[str, Array]
) -> dict[str, Array]:
    """As ``run_roles``, for any ``<graph>.<output>`` the bundle has: target → (n, ...)."""
    wanted = {name for target in targets for name in closure(bundle.graphs, target)}
    values: dict[str, Array] = dict(feeds)
    for name, graph in bundle.graphs.items():
        if name not in wanted:
            continue
        inputs = {name_in: values[source] for name_in, source in graph.inputs.items()}
        rows = len(next(iter(inputs.values())))
        outputs = session.run(name, inputs)
        for output, shape in graph.outputs.items():
            value = outputs[output]
            if value.shape != (rows, *shape):
                raise BundleFormatError(
                    f"graph {name!r}: output {output!r} came as {value.shape}, not {_shape(shape)}"
                )
            values[f"{name}.{output}"] = value
    return {target: np.asarray(values[target]) for target in targets}


def _item_shape(where: str, shape: Any) -> tuple[int, ...]:
    sizes = shape[1:] if isinstance(shape, list) and shape[:1] == ["n"] else []
    if len(sizes) not in (1, 2) or not all(type(s) is int and s > 0 for s in sizes):
        raise BundleFormatError(f'{where}: got {shape!r}; give ["n", d] or ["n", t, d]')
    return tuple(sizes)


def _shape(item: tuple[int, ...]) -> str:
    return f"(n, {', '.join(map(str, item))})"


def _all(graphs: Mapping[str, Graph]) -> str:
    return ", ".join(f"{g.name}.{o}" for g in graphs.values() for o in g.outputs)


def _are_strings(values: Any) -> bool:
    return all(isinstance(v, str) for v in values)
