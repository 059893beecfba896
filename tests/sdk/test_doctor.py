"""The doctor's judgement on machines we don't have, and its look at this one."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import cpp_ext
from sdk import observe as observing
from sdk.doctor import TINY_MODEL, Engine, Environment, diagnose
from sdk.observe import examine_bundle, extras_of, observe

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
EXTRAS = {
    "cpu": ("onnxruntime",), "gpu": ("onnxruntime-gpu",), "parquet": ("pyarrow",),
    "faiss": ("faiss-cpu",), "faiss-gpu": ("faiss-gpu",), "train": ("torch", "timm"),
}  # fmt: skip
BASE = {"labrador-retriever": "0.1.0", "numpy": "2.4.6", "pillow": "13.0.0", "tokenizers": "0.23.3"}
HEALTHY = Environment(
    python=(3, 11), packages={**BASE, "onnxruntime": "1.31.1"}, extras=EXTRAS,
    levels=("serial", "avx2"), engine=Engine((CPU,), (CPU,)),
)  # fmt: skip


def machine(*more, without=(), **changes):
    packages = {**HEALTHY.packages, **dict.fromkeys(more, "1.0")}
    packages = {name: version for name, version in packages.items() if name not in without}
    return replace(HEALTHY, packages=packages, **changes)


def broken(environment):
    return [f for f in diagnose(environment) if f.state == "broken"]


def notes(environment):
    return [f for f in diagnose(environment) if f.state == "note"]


def test_a_healthy_machine_has_nothing_broken():
    findings = diagnose(HEALTHY)
    assert [f.what for f in findings if f.state == "ok"] == [
        "Python 3.11 on x86_64; labrador-retriever 0.1.0, numpy 2.4.6, pillow 13.0.0, onnxruntime 1.31.1, "
        "tokenizers 0.23.3",
        "search kernels: serial, avx2; self-test passed",
        f"onnxruntime ran on {CPU}",
        "extras installed: cpu",
    ]
    assert broken(HEALTHY) == []


def test_missing_extras_are_notes_with_what_to_type_but_not_the_opposite_of_one_installed():
    found = {f.what.split()[1]: f for f in notes(HEALTHY)}
    assert found.keys() == {"faiss", "faiss-gpu", "parquet", "train"}  # not gpu: cpu is there
    assert found["parquet"].what == "extra parquet not installed (lacks pyarrow)"
    assert found["parquet"].remedy == "pip install 'labrador-retriever[parquet]'"
    assert "faiss-gpu" not in {f.what.split()[1] for f in notes(machine("faiss-cpu"))}
    partly = [f.what for f in notes(machine("torch")) if "train" in f.what]
    assert partly == ["extra train not installed (lacks timm)"]


@pytest.mark.parametrize(
    ("more", "gpus", "what", "remedy"),
    [
        (["onnxruntime-gpu"], 0, "onnxruntime and onnxruntime-gpu are both", "[cpu]'"),
        (["onnxruntime-gpu"], 1, "the extras cpu and gpu exclude each other", "[gpu]'"),
        (["onnxruntime-openvino"], 0, "onnxruntime and onnxruntime-openvino are both", "[cpu]'"),
        (["faiss-cpu", "faiss-gpu"], 1, "the extras faiss and faiss-gpu exclude each other", "[faiss-gpu]'"),
        (
            ["faiss-cpu", "faiss-gpu-cu12"],
            1,
            "overwrite each other in faiss/",
            "&& pip install faiss-gpu-cu12",
        ),
        (
            ["tensorrt-cu12-bindings", "tensorrt-cu13-bindings"],
            1,
            "overwrite each other in tensorrt/",
            "cu13",
        ),
        (["milvus-lite", "faiss-gpu"], 0, "milvus-lite needs faiss-cpu", "pip uninstall -y milvus-lite"),
    ],
)
def test_wheels_that_overwrite_each_other(more, gpus, what, remedy):
    found = broken(machine(*more, gpus=gpus, engine=Engine((CUDA, CPU), (CUDA, CPU))))
    assert len(found) == 1
    assert what in found[0].what
    assert found[0].remedy.startswith("pip uninstall -y ")
    assert remedy in found[0].remedy


def test_three_fighting_wheels_are_all_removed():
    (found,) = broken(machine("onnxruntime-gpu", "onnxruntime-openvino"))
    assert "pip uninstall -y onnxruntime onnxruntime-gpu onnxruntime-openvino" in found.remedy


def test_no_engine_at_all():
    bare = machine(without=["onnxruntime"], engine=Engine(problem="ModuleNotFoundError: onnxruntime"))
    (found,) = broken(bare)
    assert found.what == "no onnxruntime: nothing can be embedded"
    assert found.remedy == "pip install 'labrador-retriever[cpu]'"
    assert broken(replace(bare, gpus=1))[0].remedy == "pip install 'labrador-retriever[gpu]'"


def test_an_emptied_engine_folder_is_reinstalled():
    gone = "AttributeError: module 'onnxruntime' has no attribute 'get_available_providers'"
    (found,) = broken(machine(engine=Engine(problem=gone)))
    assert gone in found.what
    assert found.remedy == "pip uninstall -y onnxruntime && pip install 'labrador-retriever[cpu]'"
    (orphan,) = broken(machine(without=["onnxruntime"], engine=Engine((CPU,), problem="x")))
    assert orphan.remedy.endswith("[cpu]'")


def test_a_gpu_wheel_that_runs_on_the_cpu_beside_a_gpu_is_broken():
    silent = machine(
        "onnxruntime-gpu", "nvidia-cudnn-cu13",
        without=["onnxruntime"], gpus=1, engine=Engine(("TensorrtExecutionProvider", CUDA, CPU), (CPU,)),
    )  # fmt: skip
    (found,) = broken(silent)
    assert "a session that asked for it ran on the CPU; nvidia-curand not installed" in found.what
    assert "pip install 'labrador-retriever[gpu]'" in found.remedy
    assert broken(replace(silent, engine=Engine((CUDA, CPU), (CUDA, CPU)))) == []


def test_gpu_wheel_without_gpu_and_gpu_without_gpu_wheel_are_notes():
    idle = machine("onnxruntime-gpu", without=["onnxruntime"], engine=Engine((CUDA, CPU), (CPU,)))
    assert broken(idle) == []
    assert any("no NVIDIA GPU answers" in f.what for f in notes(idle))
    unused = machine(gpus=2)
    assert broken(unused) == []
    (note,) = [f for f in notes(unused) if "NVIDIA" in f.what]
    assert note.remedy == "pip uninstall -y onnxruntime && pip install 'labrador-retriever[gpu]'"


def test_torch_and_torchvision_of_different_builds():
    packages = {**HEALTHY.packages, "torch": "2.13.0+cpu", "torchvision": "0.28.0"}
    (found,) = broken(replace(HEALTHY, packages=packages))
    assert "torch 2.13.0+cpu and torchvision 0.28.0" in found.what
    assert broken(replace(HEALTHY, packages={**packages, "torch": "2.15.0"})) == []
    assert any("without torch" in f.what for f in notes(machine("torchvision")))


def test_old_python_and_failing_kernels():
    assert broken(replace(HEALTHY, python=(3, 9)))[0].what == "Python 3.9 is too old"
    (found,) = broken(replace(HEALTHY, kernels="wrong results at level avx2"))
    assert found.what == "search kernels: wrong results at level avx2"
    assert "--force-reinstall" in found.remedy


def test_a_source_tree_that_was_never_installed():
    assert any("isn't installed as a package" in f.what for f in notes(replace(HEALTHY, extras={})))


def test_extras_are_read_from_requirement_lines():
    lines = [
        "numpy>=1.26",
        'onnxruntime>=1.20; extra == "cpu"',
        'onnxruntime-gpu[cuda,cudnn]>=1.22 ; extra == "gpu"',
        "open_clip_torch>=3.2; python_version >= '3.11' and extra == 'train'",
        'labrador-retriever[train]; extra == "export"',
        'onnx>=1.18; extra == "export"',
    ]
    assert extras_of(lines) == {
        "cpu": ("onnxruntime",), "gpu": ("onnxruntime-gpu",),
        "train": ("open-clip-torch",), "export": ("onnx",),
    }  # fmt: skip


def test_the_tiny_model_is_what_onnx_makes_of_it():
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(TINY_MODEL)
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert (node.op_type, list(node.input), list(node.output)) == ("MatMul", ["x", "x"], ["y"])
    assert model.opset_import[0].version == 18


def test_this_machine_is_seen_as_it_is():
    seen = observe()
    assert seen.packages["numpy"] == np.__version__
    assert seen.levels == cpp_ext.LEVELS
    assert seen.kernels == ""
    assert seen.engine.problem == ""
    assert CPU in seen.engine.active
    assert {"cpu", "gpu", "parquet"} <= seen.extras.keys()


def test_a_wrong_kernel_is_named(monkeypatch):
    monkeypatch.setattr(cpp_ext, "self_test", lambda: {"reference": True, "serial": True, "avx2": False})
    assert observing._kernels()[1] == "wrong results at level avx2"


def test_an_engine_that_fails_is_reported_not_raised(monkeypatch):
    import onnxruntime

    monkeypatch.delattr(onnxruntime, "get_available_providers")
    assert observing._engine().problem.startswith("AttributeError")


def test_a_bundle_is_recomputed_here(tiny_bundle, tmp_path, make_bundle):
    findings = examine_bundle(tiny_bundle)
    assert {f.state for f in findings} == {"ok"}
    assert any("query.text features" in f.what for f in findings)
    copy = shutil.copytree(tiny_bundle, tmp_path / "copy.bundle")
    with open(copy / "image.onnx", "r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    (found,) = examine_bundle(copy)
    assert found.state == "broken"
    assert "image.onnx" in found.what


def test_a_machine_that_computes_something_else_is_found(tiny_bundle, monkeypatch):
    from sdk import golden

    real = golden.preprocess_images
    monkeypatch.setattr(
        golden, "preprocess_images", lambda images, spec: real([i[..., ::-1] for i in images], spec)
    )
    wrong = [f for f in examine_bundle(tiny_bundle) if f.state == "broken"]
    assert any("pixels" in f.what for f in wrong)
    assert all(f.remedy for f in wrong)
