"""Every error Labrador raises on purpose.

LabradorError
├── InputError (also ValueError)      an argument at the public face
│   ├── ImageError                    a picture that can't be decoded or isn't usable
│   ├── TextError                     a text that is empty or too long to be a query
│   ├── AttributeValueError           an unknown slot or value; the message lists the known ones
│   ├── VectorError                   wrong shape, dtype, or not finite
│   ├── FilterError                   a `where` that isn't in the filter language
│   └── IdError                       an id of the wrong kind, a duplicate, an unknown one
├── BundleError                       a model on disk that must not be used
│   ├── BundleFormatError             a manifest that can't be read or lacks a field
│   ├── BundleVersionError            written by a newer Labrador
│   ├── BundleMissingFileError        a file the manifest names isn't there
│   ├── BundleDamagedError            length or hash differs from the manifest
│   ├── BundlePathError               a file name that leaves the bundle
│   └── MissingRoleError              the bundle has no graph for this kind of query
├── GalleryError                      a gallery that can't do what was asked
│   ├── SpaceMismatchError            its vectors were made by another model
│   ├── GalleryLockedError            another writer holds it
│   ├── GalleryDamagedError           stored vectors fail their checksum; the message names the ids
│   └── GalleryWriteError             the disk refused; nothing of the call was kept
├── CheckpointError                   a `ckpt.pt` that isn't one, or holds more than plain data
├── DatasetError                      a dataset folder without the expected layout
├── ExportError                       an export whose graphs don't equal the checkpoint
├── EngineError                       a runtime, device or extra that isn't there
└── JobError                          an indexing job that can't start or didn't add up
"""

from __future__ import annotations


class LabradorError(Exception):
    """Root of every deliberate error."""


class InputError(LabradorError, ValueError):
    """An argument at the public face is wrong."""


class ImageError(InputError):
    """A picture can't be decoded or isn't usable.

    For a batch, ``failures`` maps the index of every bad picture to its own error.
    """

    def __init__(self, message: str, failures: dict[int, ImageError] | None = None) -> None:
        super().__init__(message)
        self.failures: dict[int, ImageError] = failures or {}


class TextError(InputError):
    """A text is empty or too long to be a query."""


class AttributeValueError(InputError):
    """An attribute slot or value is not in the schema."""


class VectorError(InputError):
    """Vectors have the wrong shape or dtype, or hold NaN or infinity."""


class FilterError(InputError):
    """A `where` filter is not in the filter language."""


class IdError(InputError):
    """An id is of the wrong kind, a duplicate, or unknown."""


class BundleError(LabradorError):
    """A bundle must not be used."""


class BundleFormatError(BundleError):
    """The manifest can't be read or lacks a field."""


class BundleVersionError(BundleError):
    """The bundle was written by a newer Labrador."""


class BundleMissingFileError(BundleError):
    """A file that the manifest names isn't there."""


class BundleDamagedError(BundleError):
    """A file's length or hash differs from the manifest."""


class BundlePathError(BundleError):
    """A file name in the manifest leaves the bundle."""


class MissingRoleError(BundleError):
    """The bundle has no graph for this kind of query."""


class GalleryError(LabradorError):
    """A gallery can't do what was asked."""


class SpaceMismatchError(GalleryError):
    """The gallery's vectors were made by another model."""


class GalleryLockedError(GalleryError):
    """Another writer holds the gallery."""


class GalleryDamagedError(GalleryError):
    """Stored vectors fail their checksum; ``ids`` are the rows in question, where they are known."""

    ids: tuple[str | int, ...] = ()


class GalleryWriteError(GalleryError):
    """The disk refused a write; nothing of the call was kept."""


class CheckpointError(LabradorError):
    """A checkpoint isn't one, or holds more than tensors and plain data."""


class DatasetError(LabradorError):
    """A dataset folder lacks the expected layout."""


class ExportError(LabradorError):
    """Exported graphs don't equal the checkpoint."""


class EngineError(LabradorError):
    """A runtime, a device or an extra isn't there."""


class JobError(LabradorError):
    """An indexing job can't start, or its counts don't add up."""
