"""RSTPReid: five pictures of each person by cameras of MSMT17, two sentences each (Zhu et al., ACM MM 2021).

    RSTPReid/
      imgs/                20,505 pictures
      data_captions.json   a list of {split, captions, img_path (below imgs/), id}

| part | pictures | people | captions |
|---|---|---|---|
| train | 18,505 | 3,701 | 37,010 |
| val | 1,000 | 200 | 2,000 |
| test | 1,000 | 200 | 2,000 |

Train people are numbered from 0. Task text: every caption of the part asks for its person among all pictures
of the part.
"""

from __future__ import annotations

from pathlib import Path

from train.datasets._captions import Published, load_captions
from train.datasets._source import Source
from train.split import Split

PARTS = ("train", "val", "test")
TASKS = ("text",)
SOURCE = Source(
    "rstpreid",
    "imgs/ and data_captions.json in the folder RSTPReid",
    "the authors link the archive in github.com/NjtechCVLab/RSTPReid-Dataset",
)
PUBLISHED = {
    "train": Published(18_505, 3_701, 37_010, first=0),
    "val": Published(1_000, 200, 2_000),
    "test": Published(1_000, 200, 2_000),
}


def load(root: str | Path, part: str, task: str = "text") -> Split:
    """Parse ``part``; raises DatasetError that names the layout or the entry at fault."""
    return load_captions(SOURCE, Path(root) / "data_captions.json", part, PUBLISHED, picture="img_path")
