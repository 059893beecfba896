"""One writer, many readers: a lock file held for as long as the writer is open."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from ..errors import GalleryLockedError, GalleryWriteError


class WriterLock:
    """``flock`` on a file of its own: it belongs to the open file, so that a second gallery in the same
    process is refused like one in another process, and it vanishes when the holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def acquire(self) -> None:
        """Take the lock or raise GalleryLockedError at once, naming the holder."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise GalleryWriteError(
                f"{self._path.parent} can't be opened for writing: {error.strerror}. "
                "Open it with write=False to search it."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(file, 0)
            os.write(file, f"{os.getpid()} {socket.gethostname()}".encode())
        except BlockingIOError:
            holder = _describe(os.read(file, 300).decode(errors="replace"))
            os.close(file)
            raise GalleryLockedError(
                f"{self._path.parent} is open for writing by {holder}. One writer at a time: close that one "
                "or wait for it; to search meanwhile, open with write=False."
            ) from None
        except OSError as error:
            os.close(file)
            raise GalleryWriteError(f"{self._path} can't be written: {error.strerror}") from error
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)  # not left to close(): a forked child may share the file
            self.forget()

    def forget(self) -> None:
        """Drop the lock file inherited through fork; the parent keeps the lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _describe(text: str) -> str:
    pid, _, host = text.partition(" ")
    if not pid.isdigit():
        return "another process"
    if host != socket.gethostname():
        return f"process {pid} on {host}"
    return (
        f"this process ({pid}), through another open gallery" if int(pid) == os.getpid() else f"process {pid}"
    )
