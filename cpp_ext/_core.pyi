import numpy as np
import numpy.typing as npt

def levels() -> dict[str, bool]: ...
def topk(
    queries: npt.NDArray[np.float32],
    gallery: npt.NDArray[np.float32],
    mask: npt.NDArray[np.uint8] | None,
    excluded: npt.NDArray[np.int64] | None,
    excluded_begin: npt.NDArray[np.int64] | None,
    above: float,
    top_tokens: int,
    threads: int,
    level: str,
    indices: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
) -> None: ...
def score_pairs(
    queries: npt.NDArray[np.float32],
    gallery: npt.NDArray[np.float32],
    query_index: npt.NDArray[np.int64],
    gallery_index: npt.NDArray[np.int64],
    top_tokens: int,
    level: str,
    scores: npt.NDArray[np.float32],
) -> None: ...
def hard_triplets(
    anchors: npt.NDArray[np.float32],
    others: npt.NDArray[np.float32],
    anchor_ids: npt.NDArray[np.int64],
    other_ids: npt.NDArray[np.int64],
    paired: bool,
    semi_hard: bool,
    exclude_self: bool,
    threads: int,
    level: str,
    positive: npt.NDArray[np.int64],
    positive_score: npt.NDArray[np.float32],
    negative: npt.NDArray[np.int64],
    negative_score: npt.NDArray[np.float32],
) -> None: ...
def hard_triplets_gradient(
    anchors: npt.NDArray[np.float32],
    others: npt.NDArray[np.float32],
    threads: int,
    positive: npt.NDArray[np.int64],
    positive_score: npt.NDArray[np.float32],
    negative: npt.NDArray[np.int64],
    negative_score: npt.NDArray[np.float32],
    d_anchors: npt.NDArray[np.float32],
    d_others: npt.NDArray[np.float32],
) -> None: ...
def run_floor(
    level: str, loop: str, data: npt.NDArray[np.uint8], ahead: int, rounds: int, threads: int
) -> tuple[int, float]: ...
