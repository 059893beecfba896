"""How much memory a piece of work takes while it runs, in a process of its own.

In a process that did other things before, freed memory would be taken again and not be seen. The work is
done once at a small size, so that libraries and threads are there; then the system's mark of the most memory
in use is set back, and read after the work. Linux only.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROCESS = Path("/proc/self")


def peak(table: str, way: str, sizes: Sequence[int]) -> float:
    """MiB beyond what was in use before, of ``working(way, sizes)`` in ``cpp_ext.bench.<table>``.

    Raises:
        RuntimeError: the process failed, with what it said.
    """
    command = [sys.executable, "-m", "cpp_ext.bench.memory", table, way, *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return float(done.stdout)


def main(table: str, way: str, *sizes: str) -> None:
    module = importlib.import_module(f"cpp_ext.bench.{table}")
    numbers = [int(size) for size in sizes]
    module.working(way, module.small(numbers))()
    work = module.working(way, numbers)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc keeps what was freed, and would take it again unseen
        libc.malloc_trim(0)
    (PROCESS / "clear_refs").write_text("5")  # proc(5): sets the peak back to what is in use
    before = _kib("VmRSS")
    kept = work()
    after = _kib("VmHWM")
    del kept
    print(max(after - before, 1) / 1024)


def _kib(field: str) -> int:
    found = re.search(rf"^{field}:\s*(\d+) kB$", (PROCESS / "status").read_text(), re.M)
    if found is None:
        raise RuntimeError(f"/proc/self/status has no {field}")
    return int(found[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
