"""How the module loads, which level runs, and what a process may do around a call."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import cpp_ext
from cpp_ext import _cuda_module, cuda, reference


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=60,
    )


WITHOUT_CORE = "import sys; sys.modules['cpp_ext._core'] = None; import cpp_ext; "
SEARCH = (
    "import numpy as np; q = np.eye(3, dtype=np.float32); print(cpp_ext.topk(q, q[::-1], 1)[0].ravel()); "
)


def test_without_the_compiled_module_the_import_says_what_to_type():
    done = run(WITHOUT_CORE)
    assert done.returncode != 0
    assert "ImportError" in done.stderr
    assert "pip install --no-build-isolation -e ." in done.stderr


def test_the_reference_runs_without_the_compiled_module_when_asked_for():
    done = run(WITHOUT_CORE + SEARCH + "print(cpp_ext.level(), cpp_ext.LEVELS)", LABRADOR_LEVEL="reference")
    assert done.stdout.split("\n")[:2] == ["[2 1 0]", "reference ()"], done.stderr


def test_the_fastest_level_is_the_default(monkeypatch):
    monkeypatch.delenv("LABRADOR_LEVEL", raising=False)
    assert cpp_ext.level() == cpp_ext.LEVELS[-1]
    assert cpp_ext.LEVELS[0] == cpp_ext.COMPILED_LEVELS[0] == "serial"
    assert set(cpp_ext.LEVELS) <= set(cpp_ext.COMPILED_LEVELS)


@pytest.mark.parametrize("level", ["reference", *cpp_ext.LEVELS])
def test_the_environment_forces_a_level(monkeypatch, real, level):
    monkeypatch.setenv("LABRADOR_LEVEL", level)
    assert cpp_ext.level() == level
    queries, gallery = real(3, 70), real(50, 70)
    found = cpp_ext.topk(queries, gallery, 50)
    forced = cpp_ext.topk(queries, gallery, 50, level=level)
    assert found[1].tobytes() == forced[1].tobytes()


def test_the_environment_cannot_force_what_is_not_there(monkeypatch):
    monkeypatch.setenv("LABRADOR_LEVEL", "fastest")
    with pytest.raises(ValueError, match=r"variable LABRADOR_LEVEL asks for level 'fastest'.*serial"):
        cpp_ext.level()
    one = np.ones((1, 1), np.float32)
    with pytest.raises(ValueError, match="LABRADOR_LEVEL"):
        cpp_ext.topk(one, one, 1)


def test_self_test_passes_on_every_level():
    assert cpp_ext.self_test() == dict.fromkeys(("reference", *cpp_ext.LEVELS), True)


def test_self_test_sees_a_wrong_specification(monkeypatch):
    """A rule that differs from the kernels' (ties to the larger row) must show."""
    honest = reference.topk

    def backwards(queries, gallery, k, **options):
        indices, scores = honest(queries, gallery, k, **options)
        return indices[:, ::-1], scores

    monkeypatch.setattr(reference, "topk", backwards)
    assert not any(cpp_ext.self_test()[level] for level in cpp_ext.LEVELS)


def test_a_search_works_after_a_fork():
    done = run(
        "import os, sys, numpy as np, cpp_ext\n"
        "x = np.random.default_rng(0).standard_normal((9000, 64)).astype(np.float32)\n"
        "before = cpp_ext.topk(x[:9], x, 5, threads=4)\n"
        "child = os.fork()\n"
        "after = cpp_ext.topk(x[:9], x, 5, threads=4)\n"
        "same = all(a.tobytes() == b.tobytes() for a, b in zip(before, after))\n"
        "if not child: os._exit(0 if same else 3)\n"
        "status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "sys.exit(status or (0 if same else 4))\n"
    )
    assert done.returncode == 0, done.stderr


def test_the_public_names():
    assert all(hasattr(cpp_ext, name) for name in cpp_ext.__all__)


def test_importing_brings_numpy_and_nothing_heavier():
    done = run(
        "import sys, cpp_ext; print([m for m in ('torch', 'sdk', 'train', 'export') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_cuda_without_a_build_says_how_to_get_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "cpp_ext._cuda", None)
    _cuda_module.load.cache_clear()
    try:
        assert cuda.device_count() == 0
        with pytest.raises(ImportError, match=r"LABRADOR_CUDA=ON"):
            cuda.workspace_bytes(1, 1, 1)
    finally:
        _cuda_module.load.cache_clear()


def test_cuda_imports_on_any_machine():
    pytest.importorskip("cpp_ext._cuda", reason="cpp_ext was built without CUDA")
    assert cuda.device_count() >= 0
    assert cuda.workspace_bytes(3, 1000, 10) >= 3 * 10 * 8
