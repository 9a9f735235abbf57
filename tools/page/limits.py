"""How much the page takes."""

from __future__ import annotations

import argparse
from typing import NamedTuple


class Limits(NamedTuple):
    """How much a reader may send and ask for."""

    megabytes: float  # of a file
    seconds: float  # of a clip
    megapixels: float  # of a picture, of a clip's frames and of the result's
    waiting: int  # jobs in the queue, beside the one at work
    minutes: float  # that files are kept

    @classmethod
    def of(cls, options: argparse.Namespace) -> Limits:
        return cls(
            options.max_mb,
            options.max_seconds,
            options.max_pixels,
            options.max_waiting,
            options.keep_minutes,
        )

    @property
    def bytes(self) -> int:
        return round(self.megabytes * 1e6)

    @property
    def pixels(self) -> int:
        return round(self.megapixels * 1e6)
