"""Draw hits: a contact sheet as a picture file, and a self-contained HTML table for notebooks.

A hit's picture is the file its metadata names under "path", else the file its id names; one that isn't
there or can't be decoded becomes a grey tile. The sheet is set in Pillow's own font, so that it looks the
same on every machine; that font holds Latin letters without accents, others are folded to them or to "?".
The HTML shows every script.
"""

from __future__ import annotations

import base64
import html
import io
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .decode import load_image
from .errors import ImageError, InputError
from .types import Hit, Hits, Query, Ranking

_MARGIN, _GAP, _PAD = 24, 12, 8  # px: around the sheet, between tiles, inside a tile
_TILE, _ASK = 178, 240  # px: width of a hit's tile, of the query's
_LINE, _SIZE = 17, 13  # px: line height and type size
_MAX_HEIGHT = 24_000  # px: JPEG and most viewers end at 65,535; a longer sheet is no use to anyone
_PAPER, _CARD, _BLANK = "#f4f5f7", "#ffffff", "#d9dce1"
_INK, _GREY, _ACCENT, _EDGE = "#1b1f24", "#6a727c", "#1f5fbf", "#e1e4e8"
_META_LINES = 2  # of metadata at most, under the lines of score and id
_HTML_QUERIES, _HTML_HITS, _HTML_HEIGHT = 20, 24, 160
_MAX_TEXT = 4_000  # characters of a text that are looked at; a sheet shows far fewer
_FONT_EXTRA = "©«°±·»…"
_QUOTES = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def save_sheet(hits: Hits, path: str | Path, columns: int | None = None) -> Path:
    """Draw each query and its hits, best first, ``columns`` hits to a line (None: up to 6).

    Returns the path. Raises InputError for a suffix that is no picture's or columns below 1.
    """
    target = Path(path)
    if target.suffix.lower() not in _SUFFIXES:
        raise InputError(f"path: a sheet is written as {', '.join(_SUFFIXES)}; got {str(path)!r}")
    if columns is not None and columns < 1:
        raise InputError(f"columns: got {columns}; at least 1 hit stands on a line")
    most = max((len(r) for r in hits), default=0)
    across = columns or max(1, min(6, most))
    width = 2 * _MARGIN + _ASK + _GAP + across * (_TILE + _GAP) - _GAP
    blocks: list[Image.Image] = []
    height = 2 * _MARGIN
    for done, ranking in enumerate(hits):
        block = _draw_ranking(ranking, across, width - 2 * _MARGIN)
        if blocks and height + block.height > _MAX_HEIGHT:
            blocks.append(_draw_note(f"… and {len(hits) - done} more queries", width - 2 * _MARGIN))
            height += blocks[-1].height
            break
        blocks.append(block)
        height += block.height + 2 * _GAP
    if not blocks:
        blocks.append(_draw_note("no query", width - 2 * _MARGIN))
        height += blocks[-1].height
    sheet = Image.new("RGB", (width, height), _PAPER)
    top = _MARGIN
    for block in blocks:
        sheet.paste(block, (_MARGIN, top))
        top += block.height + 2 * _GAP
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target)
    return target


def to_html(hits: Hits) -> str:
    """One HTML fragment: text escaped, thumbnails as data URIs; at most 20 queries by 24 hits."""
    parts = ['<div style="font:13px/1.4 system-ui,sans-serif">']
    for ranking in list(hits)[:_HTML_QUERIES]:
        cells = [
            _html_cell(
                _query_image(ranking.query), [_query_label(ranking.query), *_query_text(ranking.query)]
            )
        ]
        for place, hit in enumerate(ranking[:_HTML_HITS], 1):
            head = f"{place} · {hit.score:.3f}"
            cells.append(_html_cell(_hit_image(hit), [head, str(hit.id), *_pairs(hit.metadata)]))
        if len(ranking) > _HTML_HITS:
            cells.append(_html_cell(None, [f"… {len(ranking) - _HTML_HITS} more"]))
        parts.append(f'<div style="display:flex;flex-wrap:wrap;gap:8px;margin:8px 0">{"".join(cells)}</div>')
    if len(hits) > _HTML_QUERIES:
        parts.append(f"<p>… and {len(hits) - _HTML_QUERIES} more queries</p>")
    return "".join([*parts, "</div>"])


def _html_cell(image: Image.Image | None, lines: Sequence[str]) -> str:
    picture = ""
    if image is not None:
        image.thumbnail((3 * _HTML_HEIGHT, _HTML_HEIGHT))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=85)
        data = base64.b64encode(buffer.getvalue()).decode()
        picture = f'<img alt="" src="data:image/jpeg;base64,{data}" style="display:block">'
    text = "<br>".join(f"<b>{html.escape(t)}</b>" if i == 0 else html.escape(t) for i, t in enumerate(lines))
    style = "border:1px solid #ccc;border-radius:4px;padding:6px;max-width:220px;overflow-wrap:anywhere"
    return f'<div style="{style}">{picture}{text}</div>'


def _query_label(query: Query | None) -> str:
    return "query" if query is None else {"composed": "image + text"}.get(query.kind, query.kind)


def _query_text(query: Query | None) -> list[str]:
    if query is None:
        return []
    lines = [query.text] if query.text else []
    lines += [f"{slot}: {value}" for slot, value in (query.attributes or {}).items()]
    return lines + ([f"not: {query.without}"] if query.without else [])


def _pairs(metadata: dict[str, Any]) -> list[str]:
    return [f"{key} {value}" for key, value in metadata.items() if key != "path"]


def _query_image(query: Query | None) -> Image.Image | None:
    return None if query is None or query.image is None else _loaded(query.image)


def _hit_image(hit: Hit) -> Image.Image | None:
    named = hit.metadata.get("path")
    if isinstance(named, str):
        return _loaded(named)
    return _loaded(hit.id) if isinstance(hit.id, str) else None


def _loaded(source: Any) -> Image.Image | None:
    try:
        return load_image(source)
    except (ImageError, ValueError):  # ValueError: a path with a NUL in it
        return None


def _draw_ranking(ranking: Ranking, across: int, width: int) -> Image.Image:
    """One query with its hits: the query's card at the left, the hits beside it in lines."""
    found = list(ranking)
    pictures = [_hit_image(hit) for hit in found]
    shapes = [p.height / p.width for p in pictures if p is not None]
    inner = _TILE - 2 * _PAD
    window = round(inner * min(max(median(shapes), 0.6), 2.2)) if shapes else inner
    notes = [_wrapped(" · ".join(_pairs(hit.metadata)), inner, _SIZE - 1, _META_LINES) for hit in found]
    tile = window + (2 + max(map(len, notes), default=0)) * _LINE + 3 * _PAD
    lines = -(-len(found) // across)
    query_height = _query_height(ranking.query)
    block = Image.new("RGB", (width, max(query_height, lines * (tile + _GAP) - _GAP if found else 0)), _PAPER)
    draw = ImageDraw.Draw(block)
    _draw_query(block, draw, ranking.query, max(query_height, tile) if found else query_height)
    if not found:
        draw.text((_ASK + 2 * _GAP, _PAD), "no hit", _GREY, _font(_SIZE))
    for place, (hit, picture) in enumerate(zip(found, pictures, strict=True)):
        left = _ASK + _GAP + (place % across) * (_TILE + _GAP)
        top = (place // across) * (tile + _GAP)
        _draw_card(draw, left, top, _TILE, tile)
        _draw_picture(block, draw, picture, str(hit.id), (left + _PAD, top + _PAD, inner, window))
        at = top + _PAD + window + _PAD
        draw.text((left + _PAD, at), f"{place + 1}", _ACCENT, _font(_SIZE + 1))
        score = f"{hit.score:.3f}"
        right = left + _TILE - _PAD - _font(_SIZE + 1).getlength(score)
        draw.text((right, at), score, _INK, _font(_SIZE + 1))
        draw.text(
            (left + _PAD, at + _LINE), _fit(str(hit.id), inner, _SIZE, keep_end=True), _INK, _font(_SIZE)
        )
        for n, line in enumerate(notes[place]):
            draw.text((left + _PAD, at + (2 + n) * _LINE), line, _GREY, _font(_SIZE - 1))
    return block


_ASK_PICTURE = 240  # px: most height of the query's own picture
_ASK_LINES = 16


def _query_height(query: Query | None) -> int:
    image = query is not None and query.image is not None
    lines = sum(len(part) for part in _query_lines(query))
    return 3 * _PAD + _LINE + (_ASK_PICTURE + _PAD if image else 0) + lines * (_LINE + 2)


def _query_lines(query: Query | None) -> list[list[str]]:
    return [_wrapped(text, _ASK - 2 * _PAD, _SIZE + 1, _ASK_LINES) for text in _query_text(query)]


def _draw_query(block: Image.Image, draw: ImageDraw.ImageDraw, query: Query | None, height: int) -> None:
    _draw_card(draw, 0, 0, _ASK, height)
    draw.text((_PAD, _PAD), _query_label(query).upper(), _ACCENT, _font(_SIZE - 2))
    at = _PAD + _LINE + _PAD // 2
    if query is not None and query.image is not None:
        box = (_PAD, at, _ASK - 2 * _PAD, _ASK_PICTURE)
        _draw_picture(block, draw, _query_image(query), "the query's picture", box)
        at += _ASK_PICTURE + _PAD
    for lines in _query_lines(query):
        for line in lines:
            draw.text((_PAD, at), line, _INK, _font(_SIZE + 1))
            at += _LINE + 2


def _draw_card(draw: ImageDraw.ImageDraw, left: int, top: int, width: int, height: int) -> None:
    draw.rounded_rectangle((left, top, left + width - 1, top + height - 1), 6, _CARD, _EDGE)


def _draw_picture(
    block: Image.Image,
    draw: ImageDraw.ImageDraw,
    picture: Image.Image | None,
    name: str,
    box: tuple[int, int, int, int],  # left, top, width, height
) -> None:
    left, top, width, height = box
    if picture is None:
        draw.rectangle((left, top, left + width - 1, top + height - 1), _BLANK)
        lines = ["no picture", *_wrapped(name, width - 2 * _PAD, _SIZE - 1, 3)]
        start = top + (height - len(lines) * _LINE) // 2
        for n, line in enumerate(lines):
            size = _SIZE - 1
            draw.text(
                (left + (width - _font(size).getlength(line)) / 2, start + n * _LINE),
                line,
                _GREY,
                _font(size),
            )
        return
    scale = min(width / picture.width, height / picture.height)
    across, down = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    shown = picture.resize((across, down), Image.Resampling.LANCZOS)
    block.paste(shown, (left + (width - across) // 2, top + (height - down) // 2))


def _draw_note(text: str, width: int) -> Image.Image:
    note = Image.new("RGB", (width, 2 * _LINE), _PAPER)
    ImageDraw.Draw(note).text((0, _LINE // 2), _spoken(text), _GREY, _font(_SIZE))
    return note


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _spoken(text: str) -> str:
    """The text in letters that the font has, on one line."""
    out = []
    for char in unicodedata.normalize("NFKD", " ".join(text[:_MAX_TEXT].split()).translate(_QUOTES)):
        if (char.isascii() and char.isprintable()) or char in _FONT_EXTRA:
            out.append(char)
        elif not unicodedata.combining(char):
            out.append("-" if unicodedata.category(char) == "Pd" else "?")
    return "".join(out)


def _fit(text: str, width: int, size: int, *, keep_end: bool = False) -> str:
    """The text cut to ``width`` px with an ellipsis; ``keep_end`` cuts its beginning (a file's name)."""
    text = _spoken(text)
    if _font(size).getlength(text) <= width:
        return text
    if keep_end:
        return "…" + text[len(text) - _most(len(text), lambda n: "…" + text[len(text) - n :], width, size) :]
    return text[: _most(len(text), lambda n: text[:n] + "…", width, size)] + "…"


def _most(length: int, shown: Callable[[int], str], width: int, size: int) -> int:
    """How many letters can be shown within ``width`` px, by bisection."""
    low, high = 0, length + 1
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _font(size).getlength(shown(middle)) <= width else (low, middle)
    return low


def _wrapped(text: str, width: int, size: int, most: int) -> list[str]:
    """At most ``most`` lines of at most ``width`` px; the last ends in an ellipsis when there was more.

    A word wider than a line is broken where the line ends.
    """
    rest = _spoken(text)
    lines: list[str] = []
    while rest:
        if len(lines) == most - 1:
            return [*lines, _fit(rest, width, size)]
        fits = max(1, _most(len(rest), lambda n, text=rest: text[:n], width, size))  # type: ignore[misc]
        space = rest.rfind(" ", 0, fits + 1)
        end = fits if fits == len(rest) or space < 1 else space
        lines.append(rest[:end])
        rest = rest[end:].lstrip(" ")
    return lines
