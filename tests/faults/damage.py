"""Files that are damaged as disks and sudden ends damage them."""

import random
from pathlib import Path


def damage(path: Path, chance: random.Random) -> str:
    """Tears a file, flips a bit of it, or fills a part with zeros -> what was done."""
    data = bytearray(path.read_bytes())
    kind = chance.choice(('torn', 'flipped', 'zeroed', 'emptied'))
    at = chance.randrange(len(data))
    if kind == 'torn':
        del data[at:]
    elif kind == 'flipped':
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 'zeroed':  # a page that never came to the disk, in which something was
        length = min(len(data) - at, 4096)
        data[at : at + length] = bytes(length)
    else:
        data.clear()
    if bytes(data) == path.read_bytes():  # there were zeros already
        data[at] ^= 1
    path.write_bytes(data)
    return f'{kind} at {at} of {path.name}'
