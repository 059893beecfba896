MAX_ITEMS: int
MAX_TOP_TOKENS: int

def device_count() -> int: ...
def topk_workspace(n: int, m: int, k: int, top_tokens: int, /) -> int: ...
def topk(
    queries: int,
    n: int,
    d: int,
    query_stride: int,
    gallery: int,
    m: int,
    t: int,
    item_stride: int,
    token_stride: int,
    top_tokens: int,
    mask: int,
    mask_stride: int,
    excluded: int,
    excluded_begin: int,
    above: float,
    k: int,
    indices: int,
    scores: int,
    workspace: int,
    stream: int,
    /,
) -> None: ...
