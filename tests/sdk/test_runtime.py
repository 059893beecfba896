"""The onnxruntime engine: what runs and why, loud fall-backs, and graphs that aren't what they claim."""

import os
import subprocess
import sys
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sdk.bundle import Bundle
from sdk.errors import BundleFormatError, EngineError, InputError
from sdk.runtime import SESSIONS, open_session
from sdk.runtime import onnx as engine
from sdk.runtime.external import external_files
from sdk.types import Session

IDS = np.zeros((2, 12), np.int64)


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.open(tiny_bundle)


def test_every_engine_can_be_named_and_keeps_the_protocol(bundle: Bundle) -> None:
    for name in SESSIONS:
        session = open_session(bundle, engine=name)
        assert isinstance(session, Session)
        outputs = session.run("text", {"input_ids": IDS})
        assert outputs["features"].shape == (2, 16)
        session.close()
        assert session.run("text", {"input_ids": IDS})["features"].dtype == np.float32


def test_the_report_says_what_runs_and_why(bundle: Bundle) -> None:
    report = open_session(bundle, "cpu", strict=True).report
    assert report["engine"] == "onnxruntime"
    assert report["version"] == onnxruntime.__version__
    assert (report["device_asked"], report["device"], report["precision"]) == ("cpu", "cpu", "fp32")
    assert report["providers_asked"] == report["providers_active"] == ["CPUExecutionProvider"]
    assert report["why"] == "cpu was asked for"


@pytest.mark.parametrize(
    ("arguments", "says"), [({"device": "gpu"}, "'auto', 'cpu', 'cuda'"), ({"engine": "x"}, "'onnx'")]
)
def test_unknown_names(arguments: dict[str, str], says: str, bundle: Bundle) -> None:
    with pytest.raises(InputError, match=says):
        open_session(bundle, **arguments)  # type: ignore[arg-type]


def test_no_cuda_is_said_aloud(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "cuda_reason", lambda available: "the driver is on holiday")
    assert "on holiday" in open_session(bundle, "auto").report["why"]
    with pytest.warns(RuntimeWarning, match="on the CPU, not on cuda.*on holiday"):
        session = open_session(bundle, "cuda")
    assert (session.report["device_asked"], session.report["device"]) == ("cuda", "cpu")
    assert session.report["providers_asked"] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert session.run("text", {"input_ids": IDS})["features"].shape == (2, 16)
    with pytest.raises(EngineError, match=r"on holiday.*drop strict"):
        open_session(bundle, "cuda", strict=True)


def test_reasons_against_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "CPU build" in str(engine.cuda_reason(["CPUExecutionProvider"]))

    def no_driver(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(engine.ctypes, "CDLL", no_driver)
    assert "no NVIDIA driver" in str(engine.cuda_reason([engine.CUDA]))

    class Driver:
        def __init__(self, count: int) -> None:
            self.count = count

        def cuInit(self, flags: int) -> int:
            return 0

        def cuDeviceGetCount(self, out: Any) -> int:
            out._obj.value = self.count
            return 0

    monkeypatch.setattr(engine.ctypes, "CDLL", lambda name: Driver(0))
    assert "finds no GPU" in str(engine.cuda_reason([engine.CUDA]))
    monkeypatch.setattr(engine.ctypes, "CDLL", lambda name: Driver(1))
    assert engine.cuda_reason([engine.CUDA]) is None


def test_a_gpu_that_does_not_start_is_found_in_the_session(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime-gpu with a broken cuDNN runs on the CPU and raises nothing."""
    create, asked = onnxruntime.InferenceSession, []

    def silently_on_cpu(path: str, options: Any, providers: list[Any]) -> Any:
        asked.append(providers)
        return create(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", silently_on_cpu)
    monkeypatch.setattr(engine, "cuda_reason", lambda available: None)
    session = open_session(bundle, "auto")
    assert session.report["device"] == "cuda"
    with pytest.warns(RuntimeWarning, match="could not start CUDA"):
        session.run("text", {"input_ids": IDS})
    assert asked[0][0] == ("CUDAExecutionProvider", {"use_tf32": "0"})
    assert session.report["device"] == "cpu"
    assert session.report["providers_active"] == ["CPUExecutionProvider"]
    with pytest.raises(EngineError, match="could not start CUDA"):
        open_session(bundle, "cuda", strict=True)


def test_a_missing_or_gutted_onnxruntime_names_the_extras(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match=r"labrador-retriever\[cpu\].*labrador-retriever\[gpu\]"):
        open_session(bundle)
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(EngineError, match="empty folder; uninstall onnxruntime and onnxruntime-gpu"):
        open_session(bundle)


def test_sessions_are_made_once_and_shared_by_threads(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, create = [], engine.OnnxSession._create

    def counted(self: Any, graph: Any) -> Any:
        made.append(graph.name)
        return create(self, graph)

    monkeypatch.setattr(engine.OnnxSession, "_create", counted)
    session = open_session(bundle)
    ids = np.arange(24, dtype=np.int64).reshape(2, 12) % 14
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: session.run("text", {"input_ids": ids})["features"], range(64)))
    assert made == ["text"]
    assert all(np.array_equal(results[0], other) for other in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_makes_its_own_session(tiny_bundle: Path) -> None:
    code = f"""
import os, numpy as np
from sdk import Bundle, open_session
session = open_session(Bundle.open({str(tiny_bundle)!r}))
ids = np.zeros((8, 12), np.int64)
before = session.run("text", {{"input_ids": ids}})["features"]
child = os.fork()
if child == 0:
    same = np.array_equal(session.run("text", {{"input_ids": ids}})["features"], before)
    own = {{pid for pid, _ in session._sessions}} == {{os.getppid(), os.getpid()}}
    os._exit(0 if same and own else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60, cwd=root)


def retyped(change: Callable[[Any], None]) -> Callable[[Path], None]:
    """Change text.onnx as protobuf; the manifest then vouches for the changed file."""

    def tamper(folder: Path) -> None:
        model = onnx.load(folder / "text.onnx")
        change(model)
        onnx.save(model, folder / "text.onnx")

    return tamper


def fixed_batch(model: Any) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def other_length(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 13


def int32_ids(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32


def renamed_input(model: Any) -> None:
    model.graph.input[0].name = model.graph.node[0].input[1] = "tokens"


def renamed_output(model: Any) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "embedding"


CLAIMS: dict[str, tuple[Callable[[Any], None], str]] = {
    "fixed batch": (
        fixed_batch,
        r"input 'input_ids' has the fixed shape \[1, 12\]; its first axis, the batch",
    ),
    "length": (other_length, r"input 'input_ids' has shape \['n', 13\]; the manifest says \['n', 12\]"),
    "dtype": (int32_ids, r"tensor\(int32\); it must be tensor\(int64\)"),
    "input name": (renamed_input, r"takes \['tokens'\], the manifest says \['input_ids'\]"),
    "output name": (renamed_output, r"has no output 'features'; it has \['embedding'\]"),
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_graph_that_is_not_what_the_manifest_says(kind: str, make_bundle: Any, tmp_path: Path) -> None:
    change, says = CLAIMS[kind]
    session = open_session(Bundle.open(make_bundle(tmp_path / "b", tamper=retyped(change))))
    with pytest.raises(BundleFormatError, match="graph 'text'.*" + says):
        session.run("text", {"input_ids": IDS})


def test_a_file_that_is_no_graph(make_bundle: Any, tmp_path: Path) -> None:
    for number, junk in enumerate((b"", b"not a graph at all", b"\x3a\x05\x0a")):
        path = make_bundle(
            tmp_path / str(number), tamper=lambda f, junk=junk: (f / "text.onnx").write_bytes(junk)
        )
        with pytest.raises(BundleFormatError, match=r"text"):
            open_session(Bundle.open(path)).run("text", {"input_ids": IDS})


def outside(folder: Path) -> None:
    model = onnx.load(folder / "text.onnx")
    onnx.save_model(
        model, folder / "text.onnx", save_as_external_data=True, location="w.data", size_threshold=64
    )


def graph_json(*files: str) -> dict[str, Any]:
    return {"files": list(files), "inputs": {"input_ids": "input_ids"}, "outputs": {"features": ["n", 16]}}


def test_external_weights_load_when_listed_and_only_then(
    make_bundle: Any, tiny_bundle: Path, tmp_path: Path
) -> None:
    image = {"files": ["image.onnx"], "inputs": {"pixels": "pixels"}, "outputs": {"features": ["n", 16]}}
    ids = np.arange(12, dtype=np.int64)[None] % 14
    listed = {"image": image, "text": graph_json("text.onnx", "w.data")}
    path = make_bundle(tmp_path / "listed", tamper=outside, graphs=listed)
    inside = open_session(Bundle.open(tiny_bundle)).run("text", {"input_ids": ids})["features"]
    np.testing.assert_array_equal(
        open_session(Bundle.open(path)).run("text", {"input_ids": ids})["features"], inside
    )

    unlisted = {"image": image, "text": graph_json("text.onnx")}
    path = make_bundle(tmp_path / "unlisted", tamper=outside, graphs=unlisted)
    (path / "w.data").write_bytes(
        (tmp_path / "listed/w.data").read_bytes()
    )  # there, but nothing vouches for it
    with pytest.raises(BundleFormatError, match=r"reads w\.data, which its 'files' don't list"):
        open_session(Bundle.open(path)).run("text", {"input_ids": ids})


def external_tensor(name: str) -> Any:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=f"{name}.bin")
    tensor.external_data.add(key="offset", value="0")
    return tensor


def test_external_files_are_found_wherever_onnx_allows_them(tmp_path: Path) -> None:
    deep = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=external_tensor("in_attribute"))],
        "branch", [], [], [external_tensor("in_branch")],
    )  # fmt: skip
    node = helper.make_node("If", ["x"], ["y"], then_branch=deep, else_branch=deep)
    graph = helper.make_graph([node], "g", [], [], [external_tensor("top")])
    function = helper.make_function(
        "d", "f", [], [], [helper.make_node("Constant", [], ["c"], value=external_tensor("in_function"))], []
    )
    model = helper.make_model(graph, functions=[function])
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external_tensor("sparse"))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert external_files(tmp_path / "m.onnx") == {
        "in_attribute.bin", "in_branch.bin", "top.bin", "in_function.bin", "sparse.bin",
    }  # fmt: skip
    (tmp_path / "cut.onnx").write_bytes(model.SerializeToString()[:-3])
    with pytest.raises(BundleFormatError, match="not ONNX"):
        external_files(tmp_path / "cut.onnx")


def test_an_engine_failure_names_graph_and_device(bundle: Bundle) -> None:
    session = open_session(bundle)
    with pytest.raises(EngineError, match="graph 'text': onnxruntime failed on cpu"):
        session.run("text", {"input_ids": np.full((1, 12), 99, np.int64)})  # beyond the vocabulary
