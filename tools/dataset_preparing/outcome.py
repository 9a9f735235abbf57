"""What a data set depends on, and what becomes of clips: for people, and in values for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from modules.animation.tracks import Rules, Track
from tools.dataset_preparing.choosing import Chosen
from tools.dataset_preparing.sources import Source
from tools.dataset_preparing.survey import Survey


class Settings(NamedTuple):
    """All that a data set depends on, beside the clips."""

    size: int
    format: str
    crop: str
    fps: Fraction
    rules: Rules
    split: str
    test: float
    seed: int

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), 'fps': str(self.fps), 'rules': self.rules._asdict()}


class Part(NamedTuple):
    """A clip of the data set."""

    file: str  # below the folder
    source: Source
    track: Track
    part: str  # 'train' or 'test'

    def to_json(self, survey: Survey) -> dict[str, Any]:
        fps = survey.fps
        return {
            'file': self.file,
            'part': self.part,
            'id': self.source.person,
            'source': self.source.name,
            'seconds': [round(float(number / fps), 3) for number in self.track[:2]],
            'frames': self.track.frame_count,
            'fps': str(fps),
            'box': [round(value, 2) for value in self.track.box],
        }


class LeftOut(NamedTuple):
    """A clip, or parts of it, that are not in the data set."""

    source: str
    what: str  # 'broken', 'duplicate', 'still', 'short', 'small', 'nothing'
    tracks: int  # how many; 0 for the whole clip
    why: str


class Prepared(NamedTuple):
    """What has become of all clips."""

    crop: str  # what was cropped
    level: str  # what is kept together by the split
    parts: list[Part]
    left_out: list[LeftOut]
    surveys: dict[str, Survey]
    written: int  # now; the other parts were there
    notes: list[str]


def faults_of(name: str, chosen: Chosen, rules: Rules, crop: str) -> list[LeftOut]:
    """Lines about what is left out of a clip."""
    whys = {
        'still': 'nothing moves',
        'short': f'shorter than --min_frames {rules.min_frames}',
        'small': f'smaller than --min_size {rules.min_size}, the largest {chosen.largest:.0f}',
    }
    found = [LeftOut(name, what, count, whys[what]) for what, count in chosen.faults.items()]
    if not chosen.tracks and not found:
        found.append(LeftOut(name, 'nothing', 0, f'no {crop} is found in it'))
    return found


def why_nothing(
    sources: Sequence[Source],
    left_out: Sequence[LeftOut],
    chosen: Mapping[str, Chosen],
    settings: Settings,
) -> str:
    """The line where there is no data set."""
    counts = Counter(each.what for each in left_out)
    largest = max((each.largest for each in chosen.values()), default=0.0)
    if largest and counts['small'] == max(counts.values()):
        even = int(largest) // 2 * 2
        mend = f'the largest is {largest:.0f} pixels; give --size {even}, or a lower --min_size'
    elif counts['short'] and counts['short'] == max(counts.values()):
        mend = f'all are shorter than {settings.rules.min_frames} frames; give --min_frames'
    else:
        mend = min(left_out).why if left_out else 'nothing is found'
    told = ', '.join(f'{count} {what}' for what, count in sorted(counts.items()))
    return f'no clip of {len(sources)} is of use ({told}): {mend}'
