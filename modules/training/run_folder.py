"""The folder of a training run: resolved config, log, pictures, checkpoints."""

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from modules.checkpoints.models import load_checkpoint
from modules.checkpoints.places import find_checkpoints, newest_whole
from modules.checkpoints.reading import read_run_state
from modules.checkpoints.writing import save_checkpoint
from modules.runtime.errors import UserError, shortened
from modules.runtime.files import atomic_output, remove_leftovers
from modules.runtime.locks import folder_of_one_run
from modules.runtime.messages import note
from modules.runtime.shortage import memory_shortage
from modules.training.held_state import check_held_state
from modules.training.standing import Standing
from modules.training.trainer import Trainer
from modules.video import write_picture


class Progress(NamedTuple):
    """Where a run is, beside what the trainer knows."""

    epoch: int  # the one under way, from 0
    batch: int  # batches of it that are done
    loss_sums: dict[str, float]  # over those batches
    skipped: int = 0  # of those batches, which changed no network and count in no sum
    epoch_steps: int = 0  # batches of a whole epoch; 0: an older checkpoint, which does not tell
    validation: dict[str, Any] | None = None  # the run's Standing, where it validates


START = Progress(0, 0, {})
_EPOCH = re.compile(r'(\d{1,9})\)')  # begins a line of the log


class RunFolder:
    """Files of a run under `path`:

    config.yaml     the resolved config, below a line for each change since the run began
    log.txt         a line of mean losses per epoch, as the official code writes it, and rates
    train-vis/      a picture per epoch
    validation-vis/ a picture per validation, of the same clips
    best.safetensors  weights alone, the best by validation
    scalars/        curves, where the config asks for them
    EPOCH-BATCH-checkpoint.safetensors  the newest `keep` ones, all that resuming needs
    set-aside-1/    checkpoints that an older one, from which the run went on, has made void
    """

    def __init__(
        self, path: Path, config: Mapping[str, Any], keep: int, changes: Sequence[str] = ()
    ):
        self.path = path
        self.config = config
        self.keep = keep
        self.changes = list(changes)
        self.config_file = path / 'config.yaml'
        self.best = path / 'best.safetensors'

    def check_start(self, resumed: Path | None) -> None:
        """Raises UserError where a run, that is not the resumed one, has left checkpoints."""
        if self.checkpoints() and not (resumed and self.holds(resumed)):
            raise UserError(f'{self.path}: holds a run; add --resume or take another --save_dir')

    @contextlib.contextmanager
    def open(self, resumed: Path | None = None) -> Iterator[None]:
        """Makes the folder of a run, or takes up the same run; keeps others out for the while.

        Args:
            resumed: the checkpoint that the run goes on from. Where it is one of this folder, later
                ones are set aside, so that nobody goes on from them by mistake.

        Raises:
            UserError: another run is writing there, or it is no folder.
        """
        with folder_of_one_run(self.path):
            for place in (self.path, self.path / 'train-vis', self.path / 'validation-vis'):
                remove_leftovers(place)
            if resumed is not None and self.holds(resumed):
                later = [p for p in self.checkpoints() if p.name > resumed.name]
                void = later and self.best_epoch() > epoch_of(resumed)
                self._set_aside(later, [self.best] if void else [])
            self._write_config()
            yield

    def holds(self, checkpoint: Path) -> bool:
        """Whether it is a checkpoint of this folder."""
        return checkpoint.resolve().parent == self.path.resolve()

    def _set_aside(self, later: list[Path], others: list[Path]) -> None:
        if not later:
            return
        taken = (self.path / f'set-aside-{number}' for number in itertools.count(1))
        place = next(path for path in taken if not path.exists())
        place.mkdir()
        for checkpoint in (*others, *later):
            checkpoint.rename(place / checkpoint.name)
        note(f'{len(later)} later checkpoints are set aside in {place}')

    def _write_config(self) -> None:
        lines = ''.join(f'# {change}\n' for change in self.changes)
        text = lines + yaml.safe_dump(dict(self.config), sort_keys=False)
        place = self.config_file
        if not place.exists() or place.read_text(encoding='utf-8') != text:
            with atomic_output(place) as path:
                path.write_text(text, encoding='utf-8')

    def checkpoints(self) -> list[Path]:
        """The run's checkpoints, oldest first."""
        return find_checkpoints(self.path)

    def save(self, trainer: Trainer, progress: Progress) -> Path:
        """Writes a checkpoint, whole or not at all, and then removes those beyond `keep`."""
        tensors, meta = trainer.state()
        path = self.path / f'{progress.epoch:08d}-{progress.batch:08d}-checkpoint.safetensors'
        save_checkpoint(
            path,
            trainer.animating()._asdict(),
            self.config,
            extra_tensors=tensors,
            extra_meta={
                'epoch': progress.epoch,
                'progress': progress._asdict(),
                'trainer': meta,
                'changes': self.changes,
            },
        )
        for old in self.checkpoints()[: -self.keep]:
            old.unlink()
        return path

    def save_best(self, trainer: Trainer, standing: Standing) -> None:
        """Writes the weights that validation has found to be the best, whole or not at all."""
        save_checkpoint(
            self.best,
            trainer.animating()._asdict(),
            self.config,
            extra_meta={'epoch': standing.epoch, 'validation': standing.figures},
        )

    def best_epoch(self) -> int:
        """After how many epochs the best weights were reached; 0 where there are none."""
        if not self.best.exists():
            return 0
        try:
            epoch = read_run_state(self.best)[1].get('epoch')
        except UserError:
            return 0
        return epoch if type(epoch) is int else 0

    def log_epoch(
        self, epoch: int, losses: Mapping[str, float], others: Mapping[str, float]
    ) -> None:
        """Appends the line of an epoch; a repeated epoch, after a resume, replaces its line.

        Args:
            others: numbers beside the losses, which may be small: rates, figures of validation.
        """
        log = self.path / 'log.txt'
        text = log.read_text('utf-8', 'surrogateescape') if log.exists() else ''
        told = [(_EPOCH.match(line), line) for line in text.splitlines()]
        kept = [line for number, line in told if number is None or int(number[1]) < epoch]
        values = '; '.join(
            [
                *(f'{name} - {value:.5f}' for name, value in losses.items()),
                *(f'{name} - {value:.6g}' for name, value in others.items()),
            ]
        )
        with atomic_output(log) as path:
            lines = [*kept, f'{epoch:08d}) {values}']
            path.write_text('\n'.join(lines) + '\n', 'utf-8', 'surrogateescape')

    def save_picture(self, epoch: int, picture: np.ndarray, place: str = 'train-vis') -> None:
        (self.path / place).mkdir(exist_ok=True)
        with atomic_output(self.path / place / f'{epoch:08d}-rec.png') as path:
            write_picture(path, picture)


def epoch_of(checkpoint: Path) -> int:
    """How many epochs were done when a checkpoint of a run was written."""
    return int(checkpoint.name[:8])


def newest_checkpoint(place: Path) -> Path:
    """`place` itself if it is a file, else the newest checkpoint of that run that is whole.

    Raises:
        UserError: there is none.
    """
    if place.is_file():
        return place
    if not find_checkpoints(place):
        raise UserError(f'{place}: no checkpoint of a run here to resume; start without --resume')
    return newest_whole(place, training_state=True)


def resume(path: Path, trainer: Trainer) -> Progress:
    """Takes up a run where a checkpoint left it: networks, optimizers, schedules, position.

    Raises:
        UserError: the file is no training checkpoint of these networks and optimizers.
    """
    models = trainer.models._asdict()
    checkpoint = load_checkpoint(path, **models, required=tuple(models), training_state=True)
    meta: dict[str, Any] | None = checkpoint.meta.get('trainer')
    if meta is None or 'progress' not in checkpoint.meta:
        raise UserError(
            f'{path}: holds weights and no state of a training run; give it as --checkpoint to '
            'start a new run from them'
        )
    check_held_state(path, checkpoint.meta)
    try:
        absent = trainer.load_state(checkpoint.tensors, meta)
    except (ValueError, KeyError, TypeError, AssertionError, RuntimeError) as error:
        if memory_shortage(error) is not None:
            raise
        reason = shortened(' '.join(str(error).split()))
        raise UserError(
            f'{path}: its training state is damaged ({reason}); resume another checkpoint'
        ) from error
    if absent:
        raise UserError(f'{path}: holds no optimizer of {", ".join(absent)}, which are trained')
    return Progress(**checkpoint.meta['progress'])
