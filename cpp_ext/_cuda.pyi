MAX_ITEMS: int
MAX_TOKENS: int
MAX_CODED: int

def device_count() -> int: ...
def device_of(address: int, /) -> int: ...
def wait_for(later: int, earlier: int, device: int, /) -> None: ...
def codes_bytes(m: int, t: int, d: int, /) -> int: ...
def topk_workspace(n: int, m: int, t: int, d: int, k: int, coded: bool, /) -> int: ...
def pack(
    gallery: tuple[int, str, int, int, int, int, int], mean: int, codes: int, device: int, stream: int, /
) -> None: ...
def topk(
    queries: tuple[int, int, int],
    gallery: tuple[int, str, int, int, int, int, int],
    codes: int,
    top_tokens: int,
    mask: tuple[int, int],
    excluded: tuple[int, int],
    above: float,
    k: int,
    indices: int,
    scores: int,
    workspace: int,
    device: int,
    stream: int,
    /,
) -> None: ...

MINING_ROWS: int
MINING_DEPTH: int

def mining_workspace(n: int, m: int, d: int, /) -> int: ...
def hard_triplets(
    anchors: tuple[int, int, int, int],
    others: tuple[int, int, int, int],
    d: int,
    element: str,
    wide_ids: bool,
    rules: tuple[bool, bool, bool],
    found: tuple[int, int, int, int],
    workspace: int,
    device: int,
    stream: int,
    /,
) -> None: ...
def mining_gradient_workspace(n: int, m: int, /) -> int: ...
def hard_triplets_gradient(
    anchors: tuple[int, int, int, int],
    others: tuple[int, int, int, int],
    d: int,
    element: str,
    slopes: tuple[int, int, int, int],
    d_anchors: int,
    d_others: int,
    workspace: int,
    device: int,
    stream: int,
    /,
) -> None: ...
