"""What the program keeps for itself: frames of a clip, compiled programs."""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from modules.data.clips import open_clip
from modules.data.frame_cache import write_entry
from tests.fuzz.cases import Seed

KEY = 'ab' * 16  # of the entry of programs
PROGRAM = 'a.json', 'a.pdiparams', 'shapes.json'


def strip() -> bytes:
    """A PNG of four frames of 16 x 16 pixels side by side."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, 16, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    with TemporaryDirectory() as folder:
        path = Path(folder, 'a.png')
        Image.fromarray(pixels).save(path)
        return path.read_bytes()


def frames() -> dict[str, Seed]:
    with TemporaryDirectory() as folder:
        clip, entry = Path(folder, 'a.png'), Path(folder, 'entry')
        clip.write_bytes(strip())
        write_entry(entry, open_clip(clip, (16, 16)))
        return {'entry': Seed({'a.frames': entry.read_bytes()})}


def programs() -> dict[str, Seed]:
    files = {name: name.encode() * 9 for name in PROGRAM}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    told = {'sums.json': json.dumps(sums).encode(), **files}
    return {
        'entry': Seed(
            {f'first-order-model/programs/{KEY}/{name}': data for name, data in told.items()}
        )
    }
