"""scripts/gpu_check where there is no GPU, and the table that it makes of results."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cpp_ext.bench.floors import Floor
from cpp_ext.bench.row import Other, Row
from cpp_ext.bench.timing import Runs

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "gpu_check"


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("gpu_check", str(SCRIPT))
    spec = importlib.util.spec_from_loader("gpu_check", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_names_the_tools_that_are_missing(tmp_path: Path) -> None:
    done = run(CUDACXX=str(tmp_path / "nvcc"), PATH=str(tmp_path))
    assert done.returncode == 1
    assert "this machine lacks cmake, c++, nvcc" in done.stderr


def test_says_that_no_gpu_answers(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for name in ("cmake", "c++", "nvcc"):
        (tmp_path / name).touch(mode=0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = run(CUDACXX=str(tmp_path / "nvcc"), PATH=path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert "no GPU answers" in done.stderr
    assert "building" not in done.stdout


def test_a_row_of_the_table(script: ModuleType) -> None:
    runs, slower = Runs((2.0, 2.0, 2.0)), Runs((5.0, 5.0, 5.0))
    row = Row(
        "search", {"Q": "8"}, runs, floor=Floor(1.5, "read"), others=(Other("torch", slower, ("torch",)),)
    )
    assert script.shown(row.as_json()) == ["search", "Q 8", "2 ms", "0.75 (read)", "2.50x torch"]
    wrong = Row("search", {"Q": "8"}, runs, faults=("ids differ",))
    assert script.shown(wrong.as_json()) == ["search", "Q 8", "2 ms", "", "WRONG: ids differ"]
    lines = script.table([script.shown(row.as_json())]).splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
