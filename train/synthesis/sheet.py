"""A contact sheet: one row per person, so that one sees at a glance whether a draw came out well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

_CELL = (96, 192)  # width, height of a picture's place
_GAP, _MARGIN = 4, 20
_PAPER = (246, 246, 244)


def save_sheet(path: Path, rows: Sequence[Sequence[Path]], columns: int = 3) -> None:
    """Write `rows` of pictures as a PNG, the rows running down `columns` blocks."""
    per_row = max(len(row) for row in rows)
    down = -(-len(rows) // columns)
    block = per_row * (_CELL[0] + _GAP) + _MARGIN
    sheet = Image.new("RGB", (_MARGIN + columns * block, 2 * _MARGIN + down * (_CELL[1] + _GAP)), _PAPER)
    for i, row in enumerate(rows):
        for j, file in enumerate(row):
            with Image.open(file) as picture:
                scale = min(_CELL[0] / picture.width, _CELL[1] / picture.height)
                size = (round(picture.width * scale), round(picture.height * scale))
                shown = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
            left = _MARGIN + (i // down) * block + j * (_CELL[0] + _GAP) + (_CELL[0] - size[0]) // 2
            top = _MARGIN + (i % down) * (_CELL[1] + _GAP) + (_CELL[1] - size[1]) // 2
            sheet.paste(shown, (left, top))
    sheet.save(path)
