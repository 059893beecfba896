"""The arrows of ARCHITECTURE.md: who may import whom, and what `import sdk` may load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("sdk", "train", "export", "cpp_ext", "examples")
# room -> the modules of other rooms that it may import (a room's name allows all of it)
ALLOWED = {
    "examples": ("sdk", "train", "export"),
    "export": ("sdk", "train.checkpoint", "train.datasets", "train.metrics", "train.split"),
    "train": ("sdk", "cpp_ext"),
    "sdk": ("cpp_ext",),
    "cpp_ext": (),
}
HEAVY = ("torch", "transformers", "onnx", "onnxruntime", "faiss", "pymilvus", "fastapi", "pandas", "pyarrow")


def imports(source: str, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of every import, relative ones made absolute, `from a import b` as a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *(node.module.split(".") if node.module else ())))
            for name in node.names:
                yield node.lineno, f"{module}.{name.name}"


def breaches(room: str, source: str, package: tuple[str, ...]) -> list[str]:
    found = []
    for line, module in imports(source, package):
        target = module.split(".")[0]
        if target in ROOMS and target != room:
            allowed = any(module == a or module.startswith(a + ".") for a in ALLOWED[room])
            if not allowed:
                found.append(f"line {line}: {room} imports {module}")
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_its_arrows_allow(room: str) -> None:
    found = []
    for path in sorted((ROOT / room).rglob("*.py")):
        package = path.relative_to(ROOT).parent.parts
        found += [f"{path.relative_to(ROOT)} {b}" for b in breaches(room, path.read_text("utf-8"), package)]
    assert not found, "\n".join(found)


def test_the_rule_itself_bites() -> None:
    assert breaches("sdk", "from train import model", ("sdk",))
    assert breaches("sdk", "def f():\n    import export.onnx", ("sdk",))
    assert breaches("export", "from train.model import TwoTower", ("export",))
    assert breaches("cpp_ext", "from sdk.errors import InputError", ("cpp_ext",))
    assert not breaches("export", "from train.checkpoint import load", ("export",))
    assert not breaches("sdk", "from ..errors import InputError", ("sdk", "gallery"))


def test_import_sdk_loads_nothing_heavy() -> None:
    code = f"import sys, sdk; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
