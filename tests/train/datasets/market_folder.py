"""A folder in the published format of Market-1501, of a few people: `import market_folder` from any test."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

UP = "black white red purple yellow gray blue green".split()
DOWN = "black white pink purple yellow gray blue green brown".split()
# the published order of the fields: another one in train than in test
TEST_ORDER = (
    "age backpack bag handbag clothes down up hair hat gender".split()
    + [f"up{c}" for c in UP]
    + [f"down{c}" for c in DOWN]
)
TRAIN_ORDER = (
    "age backpack bag handbag".split()
    + [f"down{c}" for c in sorted(DOWN)]
    + [f"up{c}" for c in sorted(UP)]
    + "clothes down up hair hat gender".split()
)
# What is said of some people, in the table's codes; a column that isn't named says 1.
RED_DRESS = dict(age=2, gender=2, hair=2, hat=1, up=2, upred=2, clothes=1, down=2, downblack=2, handbag=2)
NO_COLOUR = dict(age=3, gender=1, hair=1, hat=2, up=1, clothes=2, down=1)
OLD_MAN = dict(age=4, gender=1, hair=1, hat=1, up=1, upgreen=2, clothes=2, down=1, downbrown=2, backpack=2)
BLUE_WOMAN = dict(age=3, gender=2, hair=2, hat=1, up=1, upblue=2, clothes=2, down=1, downwhite=2, bag=2)

LOOKS = (RED_DRESS, BLUE_WOMAN, NO_COLOUR, OLD_MAN)
PAINT = ((220, 40, 40), (40, 40, 220), (128, 128, 128), (40, 220, 40))  # what pictures of each look show

People = Mapping[int, Mapping[str, int]]


def columns(people: People, order: Sequence[str]) -> dict[str, np.ndarray]:
    known = {name: np.array([person.get(name, 1) for person in people.values()], np.uint8) for name in order}
    return known | {"image_index": np.array([f"{p:04d}" for p in people], object)}


def write_table(path: Path, train: People, test: People) -> None:
    """market_attribute.mat: what is said of each person of the two parts."""
    both = {"test": columns(test, TEST_ORDER), "train": columns(train, TRAIN_ORDER)}
    savemat(path, {"market_attribute": both})


def write_pictures(
    root: Path, files: Mapping[str, Sequence[str]], paint: Callable[[str], Image.Image]
) -> None:
    """files: folder → names without their last .jpg; paint(name) makes the picture."""
    for folder, names in files.items():
        (root / folder).mkdir(parents=True)
        (root / folder / "Thumbs.db").write_bytes(b"not a picture")
        for name in names:
            paint(name).save(root / folder / f"{name}.jpg")


def few_people(root: Path, train: Sequence[int] = range(4, 12), test: Sequence[int] = range(20, 28)) -> None:
    """The whole set: person p has look p % 4 and two pictures of 64 x 32, in the test part one more as query.

    Two strangers are among the test pictures. A picture is noise around its look's colour, with a belt.
    """

    def paint(name: str) -> Image.Image:
        person, noise = int(name.split("_")[0]), np.random.default_rng([*name.encode()])
        pixels = np.array(PAINT[person % 4]) + noise.integers(-30, 31, (64, 32, 3))
        at = 7 * person % 56  # the belt's height, and below its grey, are the person's own
        pixels[at : at + 16] = 40 * (person // 4)
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    def names(people: Sequence[int], *cameras: int) -> list[str]:
        return [f"{person:04d}_c{camera}s1_000001_00" for person in people for camera in cameras]

    strangers = ["-1_c1s1_000001_00", "0000_c2s1_000001_00"]
    files = {"bounding_box_train": names(train, 1, 2), "query": names(test, 3)}
    write_pictures(root, {**files, "bounding_box_test": [*strangers, *names(test, 1, 2)]}, paint)
    of = [{person: LOOKS[person % 4] for person in people} for people in (train, test)]
    write_table(root / "market_attribute.mat", *of)
