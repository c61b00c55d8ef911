"""What can be wrong with data, as exceptions that name the file and the way out."""

from __future__ import annotations

from collections.abc import Mapping


class DatasetError(ValueError):
    """The data given cannot be used as they are."""


class DatasetNotFoundError(FileNotFoundError):
    """A folder, an archive or a list is not where it was looked for."""


class UnsafeArchiveError(DatasetError):
    """An archive holds a member that could leave the folder it is unpacked to, or that is no plain file."""


class BadPictureError(DatasetError):
    """One picture cannot be used; the message says why, the caller knows which."""


class BadPicturesError(DatasetError):
    """One or more pictures of a source cannot be used.

    Attributes:
        bad: File name of every refused picture, with the reason.
    """

    SHOWN = 20

    def __init__(self, source: object, bad: Mapping[str, str]) -> None:
        self.source = source
        self.bad = dict(bad)
        shown = "".join(f"\n  {file}: {reason}" for file, reason in list(self.bad.items())[: self.SHOWN])
        rest = len(self.bad) - self.SHOWN
        more = f"\n  ... and {rest} more" if rest > 0 else ""
        super().__init__(
            f"{len(self.bad)} bad picture(s) in {source}; replace them, or leave them out with "
            f"'facehall-prepare ... --skip-bad' (skip_bad=True):{shown}{more}"
        )

    def __reduce__(self) -> tuple[type[BadPicturesError], tuple[object, dict[str, str]]]:
        return type(self), (self.source, self.bad)
