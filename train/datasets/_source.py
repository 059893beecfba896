"""What every loader says alike: that files are missing, and that counts differ from the published ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdk.errors import DatasetError


@dataclass(frozen=True)
class Source:
    """One dataset: the name of its module, what its folder holds, and who gives it out."""

    name: str
    layout: str  # goes on after "expected are"
    owners: str

    def lacks(self, what: str) -> DatasetError:
        """The one error for missing files: what is missing, the layout, and where the set comes from."""
        return DatasetError(
            f"{self.name}: {what}; expected are {self.layout}. Nothing is downloaded: {self.owners}"
        )

    def check_pictures(self, paths: Sequence[Path]) -> None:
        """Raises DatasetError, with a count and the first one, when listed pictures aren't there."""
        absent = [path for path in paths if not path.is_file()]
        if absent:
            raise self.lacks(
                f"{len(absent):,} of {len(paths):,} listed pictures are missing, first {absent[0]}"
            )


def differences(counts: Iterable[tuple[str, int, int]]) -> tuple[str, ...]:
    """A note for each (what, counted here, published) of which the numbers differ."""
    return tuple(
        f"{what}: {count:,} here, {known:,} published" for what, count, known in counts if count != known
    )
