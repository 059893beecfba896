"""What users may rely on: the public names, the version, and the example that opens the README."""

import importlib.metadata
import re
from pathlib import Path

import pytest

import cpp_ext
import sdk

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("module", [sdk, cpp_ext], ids=lambda m: m.__name__)
def test_every_name_of_all_is_there_once(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]
    assert len(names) == len(set(names))  # their order is ruff's to hold
    for name in names:
        assert getattr(module, name) is not None


def test_the_changelog_knows_the_installed_version() -> None:
    version = importlib.metadata.version("labrador-retriever")
    newest = re.search(r"^## \[?(\d[^\]\s]*)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert newest is not None
    assert newest[1] == version
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text("utf-8")
