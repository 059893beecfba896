"""One torch module → one ONNX file, and the checks of its structure.

What a file must be, because runtimes and readers rely on it: batch the only free axis, the names that
were asked for, LayerNormalization one operator (decomposed, it overflows in fp16), opset 18 or newer,
and nothing of the machine that made it: the exporter notes stack traces with file paths at every node.
The same module gives the same bytes.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch
from torch import nn

from sdk.errors import ExportError

from .gate import Check

if TYPE_CHECKING:
    import onnx
    import onnx_ir

    from train.checkpoint import GraphExport

Array = npt.NDArray[Any]

OPSET = 20  # 18 is the least at which the exporter keeps LayerNormalization whole without converting down
MIN_OPSET = 18
SINGLE_FILE = int(1.8e9)  # bytes of weights; a protobuf ends at 2 GiB, and the nodes need room too


def write_graph(graph: GraphExport, folder: Path, single_file: int = SINGLE_FILE) -> list[str]:
    """Write ``<name>.onnx`` to `folder`, its weights beside it as ``.onnx.data`` from `single_file` bytes on.

    Returns the file names, the .onnx first. Raises ExportError when the module can't be exported or the
    file isn't valid ONNX.
    """
    import onnx
    import onnx_ir

    rows = {len(tensor) for tensor in graph.example}
    if len(rows) != 1 or min(rows) < 2 or len(graph.inputs) != len(graph.example):
        raise ExportError(
            f"graph {graph.name!r}: {len(graph.inputs)} inputs with example batches {sorted(rows)}; give one "
            "example tensor per input, all of the same batch of 2 or more (a batch of 1 would be baked in)"
        )
    batch = torch.export.Dim("batch", min=1)
    try:
        with warnings.catch_warnings():
            # Two inputs of one batch are what is wanted; the exporter warns that they share its name.
            warnings.filterwarnings("ignore", "# The axis name: batch will not be used", UserWarning)
            program = torch.onnx.export(
                graph.module.eval(),
                tuple(graph.example),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=tuple({0: batch} for _ in graph.example),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ExportError(f"graph {graph.name!r}: torch.onnx can't export it: {error}") from error
    assert program is not None
    model = program.model
    _strip(model)
    name = f"{graph.name}.onnx"
    weights = sum(
        value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value
    )
    files = [name] if weights < single_file else [name, f"{name}.data"]
    onnx_ir.save(model, folder / name, external_data=files[1] if len(files) > 1 else None)
    try:
        onnx.checker.check_model(str(folder / name), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"graph {graph.name!r}: the exporter wrote invalid ONNX: {error}") from error
    return files


def run_torch(graphs: Iterable[GraphExport], feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Every output of the torch modules, ``<graph>.<output>`` → float32, for n rows of each source.

    Graphs whose sources `feeds` lacks are left out.
    """
    values: dict[str, torch.Tensor] = {source: torch.from_numpy(array) for source, array in feeds.items()}
    for graph in graphs:
        if not all(source in values for source in graph.inputs.values()):
            continue
        with torch.inference_mode():
            out = graph.module.eval()(*(values[source] for source in graph.inputs.values()))
        outputs = out if isinstance(out, (tuple, list)) else (out,)
        values.update(
            {f"{graph.name}.{name}": tensor for name, tensor in zip(graph.outputs, outputs, strict=True)}
        )
    return {name: tensor.float().numpy() for name, tensor in values.items() if "." in name}


def structure(graph: GraphExport, path: Path) -> list[Check]:
    """What the file at `path` is, held against what it must be."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    values = (*model.graph.input, *model.graph.output)
    free = {v.name: [i for i, size in enumerate(_shape(v)) if isinstance(size, str)] for v in values}
    batches = {str(_shape(v)[0]) for v in values}
    shapes = {v.name: _shape(v)[1:] for v in model.graph.output}
    wanted = {name: [int(size) for size in shape[1:]] for name, shape in graph.outputs.items()}
    wrong = [f"{name} has axes {axes}" for name, axes in free.items() if axes != [0]]
    names = [[v.name for v in side] for side in (model.graph.input, model.graph.output)]
    wrong_names = names != [list(graph.inputs), list(graph.outputs)] or shapes != wanted
    norms = Counter(node.op_type for node in model.graph.node)["LayerNormalization"]
    calls = layer_norm_calls(graph)
    notes = sum(1 for _ in _notes(model))
    what = f"{graph.name}.onnx"
    return [
        Check(f"{what}: opset", opset >= MIN_OPSET, float(opset), f"≥ {MIN_OPSET}"),
        Check(
            f"{what}: inputs and outputs",
            not wrong_names,
            f"{', '.join(names[0])} → {', '.join(f'{n} {shapes[n]}' for n in names[1])}",
            f"{', '.join(graph.inputs)} → {', '.join(f'{n} {shape}' for n, shape in wanted.items())}",
        ),
        Check(
            f"{what}: free axes",
            not wrong and len(batches) == 1,
            ", ".join(sorted(batches)),
            "the batch of every input and output",
            "; ".join(wrong),
        ),
        Check(
            f"{what}: LayerNormalization operators", norms >= calls, float(norms), f"≥ {calls}, as in torch"
        ),
        Check(f"{what}: notes of the machine that made it", notes == 0, float(notes), "0"),
        *_tables(graph, model, path),
    ]


def _tables(graph: GraphExport, model: onnx.ModelProto, path: Path) -> list[Check]:
    """Embedding tables, row by row: a run meets few of their rows, so comparing features proves little here.

    Every other weight takes part in every run.
    """
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    checks = []
    for name, module in graph.module.named_modules():
        tensor = stored.get(f"{name}.weight")
        if isinstance(module, nn.Embedding) and tensor is not None:
            rows = module.weight.detach().numpy()
            there = numpy_helper.to_array(tensor, base_dir=str(path.parent))
            wrong = len(rows) if there.shape != rows.shape else int((there != rows).any(axis=1).sum())
            what = f"{path.name}: rows of {name.rpartition('.')[2]} unlike torch's"
            checks.append(Check(what, wrong == 0, float(wrong), f"0 of {len(rows)}"))
    return checks


def layer_norm_calls(graph: GraphExport) -> int:
    """How often one forward pass runs an nn.LayerNorm."""
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1

    hooks = [m.register_forward_hook(counted) for m in graph.module.modules() if isinstance(m, nn.LayerNorm)]
    try:
        with torch.inference_mode():
            graph.module.eval()(*graph.example)
    finally:
        for hook in hooks:
            hook.remove()
    return count


def _strip(model: onnx_ir.Model) -> None:
    """Drop every doc string and metadata entry: stack traces, module paths, names of symbols."""
    import onnx_ir

    model.producer_name, model.producer_version = "labrador", None
    model.doc_string = None
    model.metadata_props.clear()
    scopes: list[onnx_ir.Graph | onnx_ir.Function] = [model.graph, *model.functions.values()]
    for scope in scopes:
        values: list[onnx_ir.Value] = [*scope.inputs, *scope.outputs]
        values += scope.initializers.values() if isinstance(scope, onnx_ir.Graph) else ()
        scope.doc_string = None
        scope.metadata_props.clear()
        for node in onnx_ir.traversal.RecursiveGraphIterator(scope):
            node.doc_string = None
            node.metadata_props.clear()
            values += node.outputs
            for attribute in node.attributes.values():
                attribute.doc_string = None
        for value in values:
            value.doc_string = None
            value.metadata_props.clear()
            if value.const_value is not None:
                value.const_value.doc_string = None
                value.const_value.metadata_props.clear()


def _notes(model: onnx.ModelProto) -> Iterator[str]:
    """Every doc string and metadata entry left in the main graph."""
    yield from (text for text in (model.doc_string, model.graph.doc_string) if text)
    yield from (entry.key for holder in (model, model.graph) for entry in holder.metadata_props)
    for items in (model.graph.node, model.graph.input, model.graph.output, model.graph.initializer):
        for item in items:
            yield from ([item.doc_string] if item.doc_string else [])
            yield from (entry.key for entry in item.metadata_props)


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    """Sizes; a free axis is its symbol, "?" if it has none."""
    dims = value.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims]
