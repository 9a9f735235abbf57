"""Which clip is animated by which: drawn as officially, or listed."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modules.runtime.errors import UserError, reason_of, shortened
from modules.runtime.files import PathLike, open_file
from modules.runtime.messages import warn


class Pair(NamedTuple):
    """What to animate: positions of two clips in the dataset."""

    source: int
    driving: int


def drawn_pairs(num_clips: int, num_pairs: int, seed: int) -> list[Pair]:
    """At most `num_pairs` from the square of the first `num_pairs` clips, without repetition."""
    side = min(num_pairs, num_clips)
    count = min(num_pairs, side**2)
    chosen = np.random.RandomState(seed).choice(side**2, count, replace=False)
    return [Pair(source=int(cell % side), driving=int(cell // side)) for cell in chosen]


def listed_pairs(pairs_list: PathLike, names: Sequence[str], root_dir: Path) -> list[Pair]:
    """The pairs of a csv file with columns source and driving, names of clips.

    Those with a name that is not among `names` are passed over and counted on stderr.

    Args:
        root_dir: of the data set, for messages.

    Raises:
        UserError: the list can't be read, or none of its pairs is in the dataset.
    """
    number = {name: index for index, name in enumerate(names)}
    try:
        # Names are those on the disk, which need not be UTF-8; the columns' are.
        with io.TextIOWrapper(
            open_file(pairs_list), encoding='utf-8-sig', errors='surrogateescape', newline=''
        ) as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            ''.join(columns).encode()
            if not {'source', 'driving'} <= set(columns):
                raise UserError(f'{pairs_list}: needs the columns source and driving')
            rows = [(row['source'], row['driving']) for row in reader]
    except OSError as error:
        reason = reason_of(error)
        raise UserError(f'{pairs_list}: {reason}; dataset_params.pairs_list names it') from error
    except (UnicodeError, csv.Error) as error:
        raise UserError(f'{pairs_list}: not a csv file: {error}; save it as UTF-8 text') from error
    pairs = [Pair(number[a], number[b]) for a, b in rows if a in number and b in number]
    if not pairs:
        first = [shortened(str(name)) for row in rows[:1] for name in row]
        example = f', such as {first[0]} and {first[1]}' if first else ''
        raise UserError(
            f'{pairs_list}: none of its {len(rows)} pairs{example}, is in {root_dir}; '
            'names must be those of clips there, with their extensions'
        )
    if len(pairs) < len(rows):
        absent = next(name for row in rows for name in row if name not in number)
        warn(
            f'{pairs_list}: {len(rows) - len(pairs)} of {len(rows)} pairs are passed over, since '
            f'{root_dir} lacks a clip of theirs, such as {shortened(str(absent))}'
        )
    return pairs
