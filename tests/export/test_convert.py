"""Torch modules that aren't the usual two towers: what one file must be, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from export.convert import layer_norm_calls, run_torch, structure, write_graph
from export.gate import Check
from sdk.errors import ExportError
from train.checkpoint import GraphExport


class Tiny(nn.Module):
    """(b, 3, 4, 2) pixels → (b, 6), through two norms of which one runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 6)
        self.norm, self.last = nn.LayerNorm(6), nn.LayerNorm(6)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.norm(self.linear(pixels.flatten(1)))
        return self.last(self.norm(x.relu()))


def tiny(rows: int = 2, **changes: Any) -> GraphExport:
    torch.manual_seed(0)
    example = (torch.zeros(rows, 3, 4, 2),)
    fields: dict[str, Any] = {"inputs": {"pixels": "pixels"}, "outputs": {"features": ("n", 6)}}
    return GraphExport("tiny", Tiny(), example, **{**fields, **changes})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("tiny")
    return SimpleNamespace(files=write_graph(tiny(), folder), path=folder / "tiny.onnx", folder=folder)


def bad(checks: list[Check]) -> list[str]:
    return [check.name.removeprefix("tiny.onnx: ") for check in checks if not check.passed]


def test_the_file_is_what_it_must_be(written: SimpleNamespace) -> None:
    assert written.files == ["tiny.onnx"]
    assert layer_norm_calls(tiny()) == 3
    assert bad(structure(tiny(), written.path)) == []
    counts = [n.op_type for n in onnx.load(written.path).graph.node].count("LayerNormalization")
    assert counts == 3


def _decompose(model: onnx.ModelProto) -> None:
    node = next(n for n in model.graph.node if n.op_type == "LayerNormalization")
    node.op_type = "Softmax"
    del node.input[1:], node.attribute[:]


def _fix_batch(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 2


def _free_another(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def _rename_batch(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "s40"


def _rename(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "embedding"


def _older(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 17


def _note(model: onnx.ModelProto) -> None:
    model.graph.node[0].doc_string = 'File "/home/someone/model.py", line 3'


def _trace(model: onnx.ModelProto) -> None:
    model.graph.node[0].metadata_props.append(onnx.StringStringEntryProto(key="stack_trace", value="…"))


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (_decompose, "LayerNormalization operators"),
        (_fix_batch, "free axes"),
        (_free_another, "free axes"),
        (_rename_batch, "free axes"),
        (_rename, "inputs and outputs"),
        (_older, "opset"),
        (_note, "notes of the machine that made it"),
        (_trace, "notes of the machine that made it"),
    ],
)
def test_each_deviation_is_found(
    damage: Callable[[onnx.ModelProto], None], check: str, written: SimpleNamespace, tmp_path: Path
) -> None:
    model = onnx.load(written.path)
    damage(model)
    onnx.save(model, tmp_path / "tiny.onnx")
    assert bad(structure(tiny(), tmp_path / "tiny.onnx")) == [check]


def test_large_weights_go_to_a_file_of_their_own(written: SimpleNamespace, tmp_path: Path) -> None:
    files = write_graph(tiny(), tmp_path, single_file=1)
    assert files == ["tiny.onnx", "tiny.onnx.data"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(files)
    assert bad(structure(tiny(), tmp_path / "tiny.onnx")) == []
    alone, split = onnx.load(written.path), onnx.load(tmp_path / "tiny.onnx", load_external_data=False)
    outside = [t for t in split.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert {e.value for t in outside for e in t.external_data if e.key == "location"} == {"tiny.onnx.data"}
    assert len(alone.graph.initializer) == len(split.graph.initializer)


def test_an_example_of_one_row_would_bake_the_batch_in_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"graph 'tiny': .* example batches \[1\].* 2 or more"):
        write_graph(tiny(rows=1), tmp_path)


def test_inputs_and_example_must_fit(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="2 inputs"):
        write_graph(tiny(inputs={"pixels": "pixels", "input_ids": "input_ids"}), tmp_path)


class Branching(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1) if float(pixels.sum()) > 0 else -pixels.flatten(1)


def test_a_module_that_cannot_be_traced_is_refused_by_name(tmp_path: Path) -> None:
    graph = GraphExport(
        "branch", Branching(), (torch.zeros(2, 3, 4, 2),), {"pixels": "pixels"}, {"features": ("n", 24)}
    )
    with pytest.raises(ExportError, match=r"graph 'branch': torch\.onnx can't export it"):
        write_graph(graph, tmp_path)
    assert not list(tmp_path.iterdir())


def test_torch_runs_the_graphs_whose_sources_are_there() -> None:
    head = GraphExport(
        "head", nn.Linear(6, 2), (torch.zeros(2, 6),), {"x": "tiny.features"}, {"features": ("n", 2)}
    )
    text = GraphExport(
        "text", nn.Embedding(9, 2), (torch.zeros(2, 1),), {"input_ids": "input_ids"}, {"features": ("n", 2)}
    )
    out = run_torch([tiny(), head, text], {"pixels": np.zeros((5, 3, 4, 2), np.float32)})
    assert {name: array.shape for name, array in out.items()} == {
        "tiny.features": (5, 6),
        "head.features": (5, 2),
    }
    assert all(array.dtype == np.float32 for array in out.values())
