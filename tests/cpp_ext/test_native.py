"""level_tests, the program without Python: every level on cases whose results NumPy worked out."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from case_file import MAGIC, Case, write
from exact_dots import fused
from hypothesis import given
from hypothesis import strategies as st
from level_cases import cases

import cpp_ext

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = ("dot", "screen", "widen", "topk", "pairs", "mining", "slopes")


@pytest.fixture(scope="module")
def program() -> Path:
    """Built as a release is; what didn't change since the last run isn't compiled again."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake isn't installed")
    folder = ROOT / "build" / "level_tests"
    folder.mkdir(parents=True, exist_ok=True)
    generator = ["-G", "Ninja"] if shutil.which("ninja") and not (folder / "Makefile").exists() else []
    configure = ["cmake", "-S", ROOT, "-B", folder, *generator, "-DCMAKE_BUILD_TYPE=Release"]
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (
            [*configure, "-DLABRADOR_NATIVE_TESTS=ON", "-DLABRADOR_CUDA=OFF"],
            ["cmake", "--build", folder, "--parallel", str(os.cpu_count())],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr
    return folder / "level_tests"


@pytest.fixture(scope="module")
def every_case() -> list[Case]:
    return list(cases())


def run(program: Path, path: Path, *levels: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, path, *levels], capture_output=True, text=True, timeout=120)


def test_every_level_returns_the_expected_bits(program, every_case, tmp_path):
    assert {case.operation for case in every_case} == set(OPERATIONS)
    write(tmp_path / "all", every_case)
    done = run(program, tmp_path / "all", *cpp_ext.LEVELS)
    assert done.returncode == 0, done.stderr
    for level in cpp_ext.LEVELS:
        (line,) = [line for line in done.stdout.splitlines() if line.split()[0] == level]
        assert all(f" {operation} " in line for operation in OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_wrong_bit_is_seen(program, every_case, tmp_path, operation):
    for_all = [
        case for case in every_case if case.operation != "screen" or np.abs(case.inputs[0]).max() <= 63
    ]
    case = next(case for case in for_all if case.operation == operation and case.expected[-1].size > 1)
    write(tmp_path / "sound", [case])
    assert run(program, tmp_path / "sound").returncode == 0
    for wrong in range(len(case.expected)):
        damaged = [np.array(array) for array in case.expected]
        damaged[wrong].view(np.uint8).reshape(-1)[-1] ^= 1
        write(tmp_path / "damaged", [case, case._replace(expected=damaged)])
        done = run(program, tmp_path / "damaged")
        assert done.returncode == 1
        for level in cpp_ext.LEVELS:
            assert f"case 1, {operation}, level {level}: " in done.stderr


def test_what_cannot_be_run_is_no_success(program, every_case, tmp_path):
    def message(content: bytes, *levels: str) -> str:
        (tmp_path / "file").write_bytes(content)
        done = run(program, tmp_path / "file", *levels)
        assert done.returncode == 1
        return done.stderr

    whole = every_case[0].to_bytes()
    assert "holds no case" in message(MAGIC)
    assert "isn't a file of cases" in message(b"LABCASE0" + whole)
    assert "no operation is called dit" in message(MAGIC + whole.replace(b"dot", b"dit", 1))
    assert "array 0 has" in message(MAGIC + every_case[0]._replace(inputs=[np.zeros(1)]).to_bytes())
    for length in (1, 12, 20, 50, len(whole) - 1):
        assert "the file of cases" in message(MAGIC + whole[:length])
    assert "aren't the ones demanded" in message(MAGIC + whole, *cpp_ext.LEVELS, "another")
    assert "can't be read" in run(program, tmp_path / "absent").stderr
    assert run(program, tmp_path / "absent").returncode == 1


def rounded_once(exact: Fraction) -> np.float32:
    """The nearest float32, of two as near the even one."""
    guess = np.float32(float(exact))
    near = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    return min(near, key=lambda f: (abs(Fraction(float(f)) - exact), int(f.view(np.uint32)) & 1))


MANTISSAS = st.integers(-(2**24), 2**24)


@given(a=MANTISSAS, b=MANTISSAS, c=MANTISSAS, exponent=st.integers(-149, 0), above=st.integers(-30, 60))
def test_the_expected_fused_multiply_add_is_rounded_once(a, b, c, exponent, above):
    x, y = np.float32(a) * np.float32(2.0**exponent), np.float32(b)
    z = np.float32(c) * np.float32(2.0 ** max(-149, min(60, exponent + above)))
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
    assert fused(np.array([x]), np.array([y]), np.array([z]))[0] == rounded_once(exact)


def test_rounding_twice_would_show():
    x, y = np.float32(2**-24) * np.float32(1 + 2**-18), np.float32(1 - 2**-18)
    z = np.float32(1 + 2**-23)  # the sum lies 2^-60 below the middle of two float32
    assert fused(np.array([x]), np.array([y]), np.array([z]))[0] == z
    assert np.float32(np.float64(x) * np.float64(y) + np.float64(z)) != z
