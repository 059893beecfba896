"""ICFG-PEDES: one long sentence for each of MSMT17's pedestrian crops (Ding et al., arXiv 2107.12666).

    ICFG-PEDES/
      imgs/             test/ and train/: MSMT17's folders, which are *not* the parts
      ICFG-PEDES.json   or ICFG_PEDES.json; a list of {split, captions, file_path (below imgs/), id}

54,522 pictures of 4,102 people, one caption each, no validation part:

| part | pictures | people | captions |
|---|---|---|---|
| train | 34,674 | 3,102 | 34,674 |
| test | 19,848 | 1,000 | 19,848 |

Train people are numbered from 0. Task text: every caption of the part asks for its person among all pictures
of the part.
"""

from __future__ import annotations

from pathlib import Path

from train.datasets._captions import Published, load_captions
from train.datasets._source import Source
from train.split import Split

PARTS = ("train", "test")
TASKS = ("text",)
FILES = ("ICFG-PEDES.json", "ICFG_PEDES.json")  # as public code opens it, as the owners' README calls it
SOURCE = Source(
    "icfg_pedes",
    f"imgs/ (with test/ and train/) and {' or '.join(FILES)} in the folder ICFG-PEDES",
    "the authors give the set out on request, see github.com/zifyloo/SSAN",
)
PUBLISHED = {
    "train": Published(34_674, 3_102, 34_674, first=0),
    "test": Published(19_848, 1_000, 19_848),
}


def load(root: str | Path, part: str, task: str = "text") -> Split:
    """Parse ``part``; raises DatasetError that names the layout or the entry at fault."""
    paths = [Path(root) / name for name in FILES]
    path = next((p for p in paths if p.is_file()), None)
    if path is None:
        raise SOURCE.lacks(f"{root} has neither of {' and '.join(FILES)}")
    return load_captions(SOURCE, path, part, PUBLISHED)
