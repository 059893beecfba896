"""The installed build: the levels this machine has are compiled and loaded, each unit within its ISA.

Two traps are held shut here. After a plain ``pip install .`` in a checkout, the source folder hides the
installed package: the kernels would be missing and nothing else would tell. And link-time optimisation
would merge the per-ISA units, so that a machine without AVX2 meets AVX2 code on a common path.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cpp_ext

ROOT = Path(__file__).resolve().parent.parent
CPU_INFO = Path("/proc/cpuinfo")
AVX2 = {"avx2", "fma", "f16c"}
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512dq"}
NEEDS = {  # level: what the processor must say it has
    "avx2": AVX2,
    "avxvnni": AVX2 | {"avx_vnni"},
    "avx512": AVX512,
    "avx512vnni": AVX512 | {"avx512_vnni"},
    "neon": {"asimd"},
    "neondot": {"asimd", "asimddp"},
}


def objects() -> Path:
    """The object files of this interpreter's editable build."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}-*"
    found = sorted((ROOT / "build").glob(f"{tag}/CMakeFiles/_core.dir/cpp_ext"))
    if not found:
        pytest.skip("no build folder in this checkout")
    return found[0]


def tool(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} isn't installed")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_compiled_module_is_loaded():
    from cpp_ext import _core

    assert Path(_core.__file__).is_file()
    assert "serial" in cpp_ext.LEVELS


@pytest.mark.skipif(not CPU_INFO.exists(), reason="needs /proc/cpuinfo")
def test_the_levels_this_machine_has_are_compiled_and_found():
    lists = re.findall(r"^(?:flags|Features)\s*:(.*)$", CPU_INFO.read_text(), re.M)  # x86-64, aarch64
    flags = set(lists[0].split()) if lists else set()
    expected = {level for level, needed in NEEDS.items() if needed <= flags}
    assert set(cpp_ext.LEVELS) - {"serial"} == expected


def test_the_levels_that_are_demanded_are_there():
    """CI says what it came to test: CPP_EXT_REQUIRE=serial,avx2."""
    demanded = {level for level in os.environ.get("CPP_EXT_REQUIRE", "serial").split(",") if level}
    assert demanded <= set(cpp_ext.LEVELS)


def units() -> list[str]:
    """All but those of levels that aren't compiled for this processor."""
    sources = [*(ROOT / "cpp_ext" / "cpu").glob("*.cpp"), *(ROOT / "cpp_ext").glob("bindings*.cpp")]
    elsewhere = NEEDS.keys() - set(cpp_ext.COMPILED_LEVELS)
    here = [path for path in sources if path.stem.rpartition("_")[2] not in elsewhere]
    return sorted(str(path.relative_to(ROOT / "cpp_ext")) for path in here)


def level_of(unit: str) -> str | None:
    return next((level for level in cpp_ext.COMPILED_LEVELS if unit.endswith(f"_{level}.cpp")), None)


@pytest.mark.parametrize("unit", units())
def test_a_unit_holds_the_instructions_of_its_suffix_only(unit):
    if os.uname().machine != "x86_64":
        pytest.skip("looks for x86-64 registers")
    path = objects() / f"{unit}.o"
    level = level_of(unit) or "serial"
    code = tool("objdump", "-d", "--no-show-raw-insn", str(path))
    assert "<" in code, "no machine code: link-time optimisation is on"
    assert ("%zmm" in code) == level.startswith("avx512")
    assert ("%ymm" in code or "%zmm" in code) == (level != "serial")
    assert ".gnu.lto" not in tool("objdump", "-h", str(path))


@pytest.mark.parametrize("unit", [unit for unit in units() if level_of(unit) not in (None, "serial")])
def test_a_level_exports_its_entry_and_nothing_the_linker_could_share(unit):
    symbols = [
        line.split() for line in tool("nm", "--defined-only", str(objects() / f"{unit}.o")).splitlines()
    ]
    shared = [name for *_, kind, name in symbols if kind in "TWVuBDRi"]
    assert len(shared) == 1, shared
    assert f"_{level_of(unit)}" in shared[0]


def configure(folder: Path, setting: str) -> subprocess.CompletedProcess[str]:
    import pybind11

    if shutil.which("cmake") is None:
        pytest.skip("cmake isn't installed")
    command = ["cmake", "-S", str(ROOT), "-B", str(folder), f"-DLABRADOR_CUDA={setting}"]
    command += [f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", f"-DPython_EXECUTABLE={sys.executable}"]
    environment = os.environ | {"CUDACXX": str(folder / "no-such-compiler")}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.parametrize(
    ("setting", "message"),
    [("ON", "LABRADOR_CUDA=ON, but nvcc isn't found"), ("MAYBE", "LABRADOR_CUDA is 'MAYBE'; allowed: ON,")],
)
def test_a_cuda_build_that_cannot_be_is_refused(tmp_path, setting, message):
    done = configure(tmp_path, setting)
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())
