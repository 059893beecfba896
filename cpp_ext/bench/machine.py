"""What the figures were taken on: it stands above every table and in every row of the JSON."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import cpp_ext
from cpp_ext.bench.floors import last_cache, processors


def describe(packages: Sequence[str]) -> dict[str, str]:
    """Machine, system, level in use, versions and date; ``packages`` by their names in the package index."""
    facts = {
        "machine": processor(),
        "processors": f"{processors()} of {os.cpu_count()}, last cache {last_cache() >> 20} MiB",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "level": cpp_ext.level(),
        "levels": ", ".join(cpp_ext.LEVELS),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "python": platform.python_version(),
    }
    for package in packages:
        facts[package] = importlib.metadata.version(package)
    return facts


def processor() -> str:
    """The processor's name, family and model, as far as the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        text = ""
    fields = dict(re.findall(r"^(\w[\w ]*?)\s*: (.*)$", text, re.M))
    if "model name" not in fields:  # ARM gives numbers only
        return platform.processor() or platform.machine()
    return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"
