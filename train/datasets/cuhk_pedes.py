"""CUHK-PEDES: sentences for pedestrian crops of five re-identification sets (Li et al., CVPR 2017).

    CUHK-PEDES/
      imgs/           cam_a, cam_b, CUHK01, CUHK03, Market, test_query, train_query
      reid_raw.json   a list of {split, captions, file_path (below imgs/), id, processed_tokens}

40,206 pictures of 13,003 people, two captions each (80,412, papers say) and more for a few (80,440 in all):

| part | pictures | people | captions | ids |
|---|---|---|---|---|
| train | 34,054 | 11,003 | 68,126 | 1 to 11003 |
| val | 3,078 | 1,000 | 6,158 | 11004 to 12003 |
| test | 3,074 | 1,000 | 6,156 | 12004 to 13003 |

Task text: every caption of the part asks for its person among all pictures of the part.
"""

from __future__ import annotations

from pathlib import Path

from train.datasets._captions import Published, load_captions
from train.datasets._source import Source
from train.split import Split

PARTS = ("train", "val", "test")
TASKS = ("text",)
SOURCE = Source(
    "cuhk_pedes",
    "imgs/ (with cam_a/, CUHK01/, Market/, …) and reid_raw.json in the folder CUHK-PEDES",
    "the authors give pictures and file out on request, see "
    "github.com/ShuangLI59/Person-Search-with-Natural-Language-Description",
)
PUBLISHED = {
    "train": Published(34_054, 11_003, 68_126, first=1),
    "val": Published(3_078, 1_000, 6_158, first=11_004),
    "test": Published(3_074, 1_000, 6_156, first=12_004),
}


def load(root: str | Path, part: str, task: str = "text") -> Split:
    """Parse ``part``; raises DatasetError that names the layout or the entry at fault."""
    return load_captions(SOURCE, Path(root) / "reid_raw.json", part, PUBLISHED)
