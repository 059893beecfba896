"""From the gallery of a call, whole or in parts, to what the compiled module takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cpp_ext import _arguments as arguments
from cpp_ext._packed import Packed

Gallery: TypeAlias = npt.NDArray[Any] | Packed
Mask: TypeAlias = npt.NDArray[np.bool_] | npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Part:
    """Checked arrays of consecutive items."""

    items: npt.NDArray[Any]  # (m, t, d)
    packed: Packed | None
    mask: npt.NDArray[np.uint8] | None
    labels: npt.NDArray[np.int64] | None
    read: npt.NDArray[np.uint8] | None

    def given(self) -> tuple[Any, ...]:
        """For the compiled module."""
        codes = (self.packed.panels, self.packed.bounds, self.packed.mean) if self.packed else None
        return arguments.part_of(self.items, self.mask, self.labels, codes, self.read)


def parts_of(
    gallery: Any, d: int, n: int, mask: Any = None, labels: Any = None, read: Any = None
) -> list[Part]:
    """One part for an array or a Packed, one for each of a sequence of them; all of the same t and d."""
    whole = isinstance(gallery, (np.ndarray, Packed)) or not isinstance(gallery, Sequence)
    given = [gallery] if whole else list(gallery)
    if not given:
        raise ValueError("gallery is an empty sequence: give at least one part, which may have no rows")
    masks = [mask] if whole else _per_part("mask", mask, len(given))
    numbers = [labels] if whole else _per_part("labels", labels, len(given))
    reads = [read] if whole else _per_part("read", read, len(given))
    if not whole and any((x is None) != (numbers[0] is None) for x in numbers):
        raise ValueError("labels must be given for every part or for none")
    parts: list[Part] = []
    for place, part in enumerate(given):
        at = "" if whole else f"[{place}]"
        packed = part if isinstance(part, Packed) else None
        items = arguments.gallery_of(part, f"gallery{at}") if packed is None else packed.items
        if items.shape[2] != d:
            raise ValueError(
                f"gallery{at} rows have d = {items.shape[2]}, but queries have d = {d}: they must agree"
            )
        if parts and items.shape[1] != parts[0].items.shape[1]:
            raise ValueError(
                f"gallery{at} items have {items.shape[1]} tokens, but those of gallery[0] have "
                f"{parts[0].items.shape[1]}: they must agree"
            )
        parts.append(
            Part(
                items,
                packed,
                arguments.mask_of(masks[place], n, len(items), f"mask{at}"),
                arguments.labels_of(f"labels{at}", numbers[place], len(items)),
                arguments.read_of(f"read{at}", reads[place], len(items)),
            )
        )
    return parts


def _per_part(name: str, given: Any, count: int) -> list[Any]:
    if given is None:
        return [None] * count
    if isinstance(given, np.ndarray) or not isinstance(given, Sequence) or len(given) != count:
        raise ValueError(f"a gallery of {count} parts takes {name} as a sequence of {count}, one per part")
    return list(given)
