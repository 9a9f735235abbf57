"""From clips to a data set, step by step; each leaves a record, by which a stopped run goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from modules.animation.faces import INSTALL, has_face_detector
from modules.animation.track_clips import clip_name
from modules.animation.tracks import Rules, Track
from modules.runtime.errors import UserError, shortened
from modules.runtime.files import atomic_output
from modules.runtime.json_text import parse_json
from modules.runtime.messages import note
from tools.dataset_preparing import jobs
from tools.dataset_preparing.choosing import (
    AUTO,
    FACE,
    OBJECT,
    Chosen,
    choose,
    object_tracks,
    whole_tracks,
)
from tools.dataset_preparing.duplicates import find_duplicates
from tools.dataset_preparing.jobs import Done, apart
from tools.dataset_preparing.outcome import (
    LeftOut,
    Part,
    Prepared,
    Settings,
    faults_of,
    why_nothing,
)
from tools.dataset_preparing.sources import Source, identity, too_long
from tools.dataset_preparing.splitting import TEST, TRAIN, Piece, split
from tools.dataset_preparing.survey import Survey

STATE = '.prepared'  # folder of the records, within that of the data set
ASKED = 24  # clips in which faces are looked for, to decide what is cropped


class Preparation:
    """A run of the tool.

    Args:
        out: folder of the data set, which is locked by this run.
        workers: clips that are worked at side by side.

    Raises:
        UserError: the folder holds something else.
    """

    def __init__(self, sources: Sequence[Source], out: Path, settings: Settings, workers: int):
        self.sources, self.out, self.settings, self.workers = sources, out, settings, workers
        self.state = out / STATE
        self.by_name = {source.name: source for source in sources}
        self._take_folder()

    def _take_folder(self) -> None:
        wanted = json.loads(json.dumps(self.settings.to_json()))
        there = self._read('settings')
        if there is None:
            taken = [name for name in (TRAIN, TEST) if (self.out / name).exists()]
            if taken:
                raise UserError(
                    f'{self.out}: holds a folder {taken[0]}/ already, which is not from here; take '
                    'another --out'
                )
            self.state.mkdir(exist_ok=True)
            self._write('settings', wanted)
            return
        rules = there.get('rules')
        for key, value in {**wanted, **wanted['rules']}.items():
            before = {**there, **(rules if isinstance(rules, dict) else {})}.get(key)
            if key != 'rules' and before != value:
                raise UserError(
                    f'{self.out}: holds a data set made with --{key} {shortened(str(before))}, not '
                    f'{value}; take another --out, or remove it'
                )

    def _read(self, name: str) -> dict[str, Any] | None:
        """A record; None where there is none, or a damaged one, which is made anew."""
        try:
            values = parse_json((self.state / f'{name}.json').read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return None
        return values if isinstance(values, dict) else None

    def _write(self, name: str, values: Mapping[str, Any]) -> None:
        with atomic_output(self.state / f'{name}.json') as path:
            path.write_text(json.dumps(values), encoding='utf-8')

    def run(self) -> Prepared:
        """Everything up to the clips of the data set.

        Raises:
            UserError: not one clip could be made.
        """
        left_out: list[LeftOut] = []
        surveys = self._surveys(left_out)
        duplicates = find_duplicates(surveys)
        for name, kept in duplicates.items():
            left_out.append(LeftOut(name, 'duplicate', 0, f'the same as {kept}'))
        used = {name: found for name, found in surveys.items() if name not in duplicates}
        crop = self._crop(used)
        tracks = self._tracks(used, crop, left_out)
        chosen = {name: choose(found, used[name], self.settings.rules) for name, found in tracks}
        for name, of_clip in chosen.items():
            left_out += faults_of(name, of_clip, self.settings.rules, crop)
        parts, level, units = self._split(chosen)
        if not parts:
            raise UserError(why_nothing(self.sources, left_out, chosen, self.settings))
        written = self._carry_out(parts, used, units, left_out)
        parts = [part for part in parts if (self.out / part.file).exists()]
        notes = [f'{name}: {note}' for name, found in used.items() for note in found.notes]
        left_out.sort()
        return Prepared(crop, level, parts, left_out, used, written, notes)

    def _surveys(self, left_out: list[LeftOut]) -> dict[str, Survey]:
        """Of all clips that can be read, as far as they are not known from an earlier run."""
        surveys: dict[str, Survey] = {}
        todo: list[Source] = []
        for source in self.sources:
            wrong = too_long(source)
            if wrong:
                left_out.append(LeftOut(source.name, 'broken', 0, wrong))
                continue
            known = self._known_survey(source)
            if known is None:
                todo.append(source)
            else:
                surveys[source.name] = known
        rules, fps = self.settings.rules, self.settings.fps

        def task(source: Source) -> tuple[Any, ...]:
            return _surveyed, source, fps, rules, self.state

        done = apart(todo, task, 'looking at clips', self.workers)
        surveys |= done.results
        left_out += [LeftOut(name, 'broken', 0, why) for name, why in done.failures.items()]
        return dict(sorted(surveys.items()))

    def _known_survey(self, source: Source) -> Survey | None:
        values = self._read(f'{source.key}.survey')
        try:
            if values is None or values['identity'] != identity(source):
                return None
            return Survey.from_json(values)
        except (ValueError, TypeError, KeyError, OSError):
            return None

    def _crop(self, surveys: Mapping[str, Survey]) -> str:
        """What is cropped: as asked for, or by what most clips show."""
        if self.settings.crop != AUTO:
            return self.settings.crop
        known = (self._read('crop') or {}).get('crop')
        if known in (FACE, OBJECT):
            return str(known)
        crop = OBJECT
        if not has_face_detector():
            note(f'what moves is cropped; faces are found by an extra: {INSTALL}')
        else:
            names = [n for n, found in surveys.items() if any(s.moving for s in found.segments)]
            asked = [self.by_name[name] for name in names[:: max(1, len(names) // ASKED)]]
            answers = apart(asked, _peeked, 'looking for faces', self.workers).results
            if answers and 2 * sum(answers.values()) >= len(answers):
                crop = FACE
        self._write('crop', {'crop': crop})
        return crop

    def _tracks(
        self, surveys: Mapping[str, Survey], crop: str, left_out: list[LeftOut]
    ) -> list[tuple[str, list[Track]]]:
        increase = self.settings.rules.increase
        if crop == OBJECT:
            return [(name, object_tracks(found, increase)) for name, found in surveys.items()]
        if crop != FACE:
            return [(name, whole_tracks(found)) for name, found in surveys.items()]
        rules, fps = self.settings.rules, self.settings.fps

        def task(source: Source) -> tuple[Any, ...]:
            sha256 = surveys[source.name].sha256
            record = self.state / f'{source.key}.{sha256[:12]}.tracks.json'
            return jobs.face_tracks, source.path, fps, rules, record, sha256

        wanted = [self.by_name[name] for name in surveys]
        done: Done = apart(wanted, task, 'looking for faces', self.workers)
        left_out += [LeftOut(name, 'broken', 0, why) for name, why in done.failures.items()]
        return list(done.results.items())

    def _split(self, chosen: Mapping[str, Chosen]) -> tuple[list[Part], str, dict[str, str]]:
        files = [
            (self.by_name[name], track, clip_name(self.by_name[name].stem, number, track, kind))
            for kind in [self.settings.format]
            for name, of_clip in chosen.items()
            for number, track in enumerate(of_clip.tracks)
        ]
        pieces = [Piece(source.person, source.name, file) for source, _, file in files]
        before = (self._read('plan') or {}).get('units', {})
        settings = self.settings
        found = split(pieces, settings.split, settings.test, settings.seed, before)
        parts = [
            Part(f'{part}/{file}', source, track, part)
            for (source, track, file), part in zip(files, found.parts)
        ]
        return sorted(parts), found.level, found.units

    def _carry_out(
        self,
        parts: Sequence[Part],
        surveys: Mapping[str, Survey],
        units: Mapping[str, str],
        left_out: list[LeftOut],
    ) -> int:
        """Writes what is not there yet, and takes away what a run with other clips has left."""
        plan = {
            part.file: [surveys[part.source.name].sha256, *part.track[:2], *part.track.box]
            for part in parts
        }
        before = (self._read('plan') or {}).get('files', {})
        gone = [file for file, what in before.items() if plan.get(file) != what]
        for file in gone:
            _remove(self.out / file)
        foreign = [f for f in plan if f not in before and (self.out / f).exists()]
        if foreign:
            raise UserError(
                f'{self.out / foreign[0]}: is there already, and not from here; take another --out'
            )
        self._write('plan', {'units': units, 'files': plan})
        todo: dict[str, dict[Path, Track]] = {}
        for part in parts:
            place = self.out / part.file
            place.parent.mkdir(exist_ok=True)
            if not place.exists():
                todo.setdefault(part.source.name, {})[place] = part.track
        for name in (TRAIN, TEST):
            if (self.out / name).is_dir() and not any(file.startswith(name) for file in plan):
                _remove_empty(self.out / name)
        fps, size, kind = self.settings.fps, self.settings.size, self.settings.format

        def task(source: Source) -> tuple[Any, ...]:
            scratch = self.state / f'{source.key}.unfinished'
            return jobs.write_clips, source.path, fps, todo[source.name], scratch, size, kind

        wanted = [self.by_name[name] for name in todo]
        done = apart(wanted, task, 'cropping', self.workers, may_fail=False)
        left_out += [LeftOut(name, 'broken', 0, why) for name, why in done.failures.items()]
        return sum(len(todo[name]) for name in done.results)


def _surveyed(source: Source, fps: Fraction, rules: Rules, state: Path) -> Survey:
    """In a process of its own: looks at a clip, and keeps what it has found."""
    known_by = identity(source)
    found = jobs.look_at(source.path, fps, rules)
    with atomic_output(state / f'{source.key}.survey.json') as path:
        text = json.dumps({'identity': known_by, **found.to_json()})
        path.write_text(text, encoding='utf-8')
    return found


def _peeked(source: Source) -> tuple[Callable[[Path], bool], Path]:
    return jobs.shows_face, source.path


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
