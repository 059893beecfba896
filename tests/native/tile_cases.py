"""Cases of what a level brings: dot tiles, screen tiles, widening."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from case_file import Case
from exact_dots import Floats, dots, fused

ROWS = 16  # of a panel
UNTOUCHED = 0xA5  # bytes of an output that nothing was written to


def dot_cases(random: np.random.Generator) -> Iterator[Case]:
    def case(queries: Floats, gallery: Floats) -> Case:
        sizes = (len(queries), len(gallery), queries.shape[1])
        return Case("dot", sizes, (queries, gallery), (dots(queries, gallery),))

    def real(*shape: int) -> Floats:
        return random.standard_normal(shape).astype(np.float32)

    sizes = [(*random.integers(1, 14, 2), d) for d in (*range(1, 49), 63, 64, 65, 97, 127, 128, 129)]
    sizes += [(*random.integers(1, 9, 2), d) for d in (255, 256, 257, 300, 511, 512, 513, 600)]
    sizes += [(n, rows, 19) for n in range(1, 9) for rows in range(1, 18)]
    sizes += [(70, 70, 21), (1, 70, 37), (70, 1, 32), (5, 66, 16), (64, 9, 15)]
    sizes += [(*random.integers(1, 71, 2), int(random.integers(1, 601))) for _ in range(16)]
    for n, rows, d in sizes:
        yield case(real(n, d), real(rows, d))
    for d in (16, 50, 67):  # sums that cancel, underflow and overflow
        scale = np.float32(10) ** random.integers(-44, 19, (40, d)).astype(np.float32)
        values = real(40, d) * scale
        yield case(values[:7], np.concatenate([values, -values]))
        values = values.copy()
        values[:, random.integers(0, d)] = 3e38
        yield case(values[:7], values[7:])
    damaged = real(20, 45)
    damaged[random.random(damaged.shape) < 0.01] = np.nan
    damaged[random.random(damaged.shape) < 0.01] = np.inf
    yield case(real(5, 45), damaged)
    for d in (32, 33):  # lanes that underflow to the zero of their products' sign
        tiny = np.full((3, d), 1e-30, np.float32)
        yield case(tiny, np.concatenate([-tiny, tiny, 0 * tiny, -0.0 * tiny]))


class Screen(NamedTuple):
    queries: npt.NDArray[np.int8]  # (n, depth)
    scale: Floats  # (n,), as the next three
    residual: Floats
    norm: Floats
    threshold: Floats
    codes: npt.NDArray[np.int8]  # (rows, depth)
    bounds: Floats  # (3, rows): scale, norm, residual

    def uppers(self) -> Floats:
        """(n, rows), as kernels.h has it."""
        products = self.queries.astype(np.int32) @ self.codes.astype(np.int32).T
        scale, norm, residual = self.bounds
        with np.errstate(all="ignore"):
            slack = fused(norm, self.residual[:, None], residual * self.norm[:, None])
            return fused(products.astype(np.float32) * self.scale[:, None], scale, slack)

    def case(self, every: bool) -> Case:
        n, depth = self.queries.shape
        count = len(self.codes) // ROWS
        uppers = self.uppers().reshape(n, count, ROWS)
        hit = ~(uppers < self.threshold[:, None, None])
        hits = np.packbits(hit, axis=2, bitorder="little").view("<u2")
        stored = np.full(uppers.shape, np.frombuffer(bytes([UNTOUCHED] * 4), np.float32)[0])
        seen = hit.any(axis=2) | every
        stored[seen] = uppers[seen]
        correction = 128 * self.queries.sum(axis=1, dtype=np.int32)
        floats = (self.scale, self.residual, self.norm, self.threshold)
        constants = np.stack([*floats, correction.view(np.float32)], axis=1)
        # (count, steps, rows, 4): a step of a panel is four codes of every row
        panels = self.codes.reshape(count, ROWS, depth // 4, 4).swapaxes(1, 2)
        stored_codes = (panels.astype(np.int16) + 128).astype(np.uint8)
        bounds = self.bounds.reshape(3, count, ROWS).swapaxes(0, 1)
        inputs = (self.queries, constants, stored_codes, bounds)
        return Case("screen", (n, count, depth, every), inputs, (hits, stored))


def screen_cases(random: np.random.Generator) -> Iterator[Case]:
    def positive(*shape: int) -> Floats:
        return random.random(shape).astype(np.float32)

    def screen(n: int, count: int, depth: int, limit: int) -> Screen:
        rows = count * ROWS
        queries = random.integers(-limit, limit + 1, (n, depth), np.int8)
        codes = random.integers(-127, 128, (rows, depth), np.int8)
        bounds = np.stack([positive(rows) / 127, positive(rows), positive(rows) * np.float32(0.01)])
        made = Screen(queries, positive(n) / 127, positive(n), positive(n), positive(n), codes, bounds)
        uppers = made.uppers()
        share = random.choice([0.5, 0.9, 0.99, 1])
        threshold = np.quantile(uppers, share, axis=1, method="nearest")  # one of the uppers: a tie
        return made._replace(threshold=threshold.astype(np.float32))

    sizes = [(*random.integers(1, 9, 2), 16 * steps) for steps in range(1, 39)]
    sizes += [(n, count, 32) for n in range(1, 15) for count in range(1, 5)]
    sizes += [(70, 3, 48), (3, 20, 64), (1, 20, 512), (13, 11, 256)]
    sizes += [
        (int(random.integers(1, 71)), int(random.integers(1, 21)), 16 * int(random.integers(1, 39)))
        for _ in range(16)
    ]
    for number, (n, count, depth) in enumerate(sizes):
        limit = (127, 63)[number // 2 % 2]  # some levels take queries of seven bits only
        yield screen(n, count, depth, limit).case(every=number % 3 == 0)
    for limit in (127, 63):  # the largest sums there are, of either sign
        extreme = screen(4, 2, 608, limit)
        extreme.queries[:] = np.array([limit, -limit, limit, -limit], np.int8)[:, None]
        extreme.codes[:] = np.where(np.arange(len(extreme.codes)) % 2, 127, -127)[:, None]
        yield extreme.case(every=True)
        odd = screen(8, 6, 112, limit)
        odd.threshold[:5] = -np.inf, np.inf, np.nan, 0, -0.0
        values = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 3e38, 1e-45], np.float32)
        places = random.random(odd.bounds.shape) < 0.2
        odd.bounds[places] = random.choice(values, places.sum())
        odd.bounds[:, :16] = np.array([0, 0, np.inf], np.float32)[:, None]  # rows that can't be coded
        yield odd.case(every=False)
        yield odd.case(every=True)


def widen_cases(random: np.random.Generator) -> Iterator[Case]:
    halves = np.arange(65536, dtype=np.uint16)
    for values in (halves, *(random.choice(halves, count) for count in range(1, 41))):
        with np.errstate(invalid="ignore"):  # signalling NaNs are among them
            yield Case("widen", (len(values),), (values,), (values.view(np.float16).astype(np.float32),))
