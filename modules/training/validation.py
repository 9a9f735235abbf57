"""Validation in the middle of a run: test clips, each reconstructed from its first frame."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from frames_dataset import FramesDataset
from modules.build import Models
from modules.data.clips import Clip
from modules.eager import EagerEngine
from modules.evaluation.frame_pairs import FramePair
from modules.evaluation.joints import DrawnJoints, joints_file
from modules.evaluation.metrics import (
    DEFINITIONS,
    KeypointMeasure,
    Measure,
    Tallies,
    Tally,
    add,
    measure_l1,
    measure_psnr,
    measure_ssim,
)
from modules.evaluation.reconstruction import reconstruct
from modules.evaluation.whole_clips import DamagedClipError
from modules.runtime import distributed
from modules.runtime.errors import UserError
from modules.runtime.messages import warn
from modules.training.standing import Standing, restored
from modules.visualizer import Visualizer

PICTURES = 4  # clips in the picture of a validation, at most
_ALWAYS: dict[str, Measure] = {'l1': measure_l1, 'psnr': measure_psnr, 'ssim': measure_ssim}
_OF_JOINTS = ('akd', 'mkr')  # where joints are known


class Validation:
    """The test clips of a run, and how it stands by them.

    Figures are those of tools/evaluate.py, computed by the networks as they are, in float32; see
    modules/evaluation/metrics.py. It draws nothing at random and leaves the networks as they were.
    Processes that train together share the clips, and all get the figures that one would get.

    Args:
        params: train_params.validation, not None.
        dataset: the test part.
        held: the standing in the checkpoint that the run goes on from.

    Attributes:
        figures: names of what is measured.
        standing: after the validations so far.

    Raises:
        UserError: the best weights are to be found by joints, and none are known.
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        dataset: FramesDataset,
        held: Mapping[str, Any] | None = None,
    ):
        self._every, self._patience = params['every'], params['patience']
        self._num_frames, self.best_by = params['num_frames'], params['best_by']
        self._root = dataset.root_dir
        self._clips: Sequence[Clip] = dataset.clips[: params['num_videos']]
        self._with_joints = [joints_file(clip.path).is_file() for clip in self._clips]
        self.figures = (*_ALWAYS, *(_OF_JOINTS if any(self._with_joints) else ()))
        if self.best_by not in self.figures:
            raise UserError(
                f'train_params.validation.best_by: {self.best_by} needs the joints of a test clip '
                f'({joints_file(self._clips[0].path)}), and there are none; take l1'
            )
        self._measure_joints = KeypointMeasure(DrawnJoints())
        self._told: set[str] = set()
        self._params = params
        self.standing: Standing = restored(held, params)

    @property
    def over(self) -> bool:
        """Whether the run has waited long enough for better weights."""
        return self._patience is not None and self.standing.stale >= self._patience

    def start_anew(self) -> None:
        """Forgets the best weights, where they are lost."""
        self.standing = restored(None, self._params)

    def due(self, epoch: int, last: bool) -> bool:
        """Whether it is time, after so many epochs; `last`: no more are to come."""
        return last or epoch % self._every == 0

    def run(self, models: Models, epoch: int) -> dict[str, float]:
        """Measures the networks after so many epochs, and brings the standing up to date.

        Returns:
            A mean for each of `figures`: of frames, for joints of joints.

        Raises:
            UserError: none of the clips can be read.
        """
        tallies = np.zeros((len(self._clips), len(self.figures), 2))
        with evaluating(models):
            engine = EagerEngine(models)
            for number in range(distributed.rank(), len(self._clips), distributed.world_size()):
                found = self._figures_of(engine, number)
                for place, name in enumerate(self.figures):
                    tallies[number, place] = np.array(found.get(name, (0, 0)))
        if distributed.world_size() > 1:  # a clip's are 0 in all processes but one
            tallies = distributed.summed(paddle.to_tensor(tallies)).numpy()
        sums = [Tally(total, int(count)) for total, count in tallies.sum(axis=0)]
        figures = {name: tally.mean for name, tally in zip(self.figures, sums)}
        if sums[0].count == 0:
            raise UserError(f'{self._root}: no test clip can be read to its end; look at them')
        self.standing = self.standing.after(epoch, figures, self.best_by)
        return figures

    def _figures_of(self, engine: EagerEngine, number: int) -> Tallies:
        """Those of a clip; none if it is damaged, which is said once."""
        sums: Tallies = {}
        measures = list(_ALWAYS.values())
        if self._with_joints[number]:
            measures.append(self._measure_joints)
        try:
            for pair in self._pairs(engine, self._clips[number]):
                for measure in measures:
                    add(sums, measure(pair))
        except DamagedClipError as error:
            self._tell(f'{error} (left out of validation)')
            return {}
        return sums

    def _pairs(self, engine: EagerEngine, clip: Clip) -> Iterator[FramePair]:
        return reconstruct(engine, clip, self._num_frames, self._tell)

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            warn(line)

    @paddle.no_grad()
    def picture(self, models: Models, visualizer: Visualizer) -> np.ndarray | None:
        """What the networks make of the first clips: always the same frames, the first one in the
        pose of that in the middle.

        Returns:
            (B * H, columns * W, 3) uint8, a row for each clip; see Visualizer.visualize. None where
            none of them can be read.
        """
        rows = []
        with evaluating(models):
            for clip in self._clips[:PICTURES]:
                length = min(clip.frame_count, self._num_frames or clip.frame_count)
                try:
                    frames = clip.read([0, length // 2])
                except UserError:  # said in `run`
                    continue
                pair = paddle.to_tensor(frames.transpose(0, 3, 1, 2).astype('float32') / 255)
                source, driving = pair[:1], pair[1:]
                kp_source, kp_driving = map(models.kp_detector, (source, driving))
                made = models.generator(source, kp_driving=kp_driving, kp_source=kp_source)
                rows.append(visualizer.visualize(source, driving, made, kp_source, kp_driving))
        return np.concatenate(rows) if rows else None

    def line(self, figures: Mapping[str, float]) -> str:
        """The figures for a reader, and whether they are the best so far."""
        values = ', '.join(f'{DEFINITIONS[name].title} {figures[name]:.4g}' for name in figures)
        by = DEFINITIONS[self.best_by].title
        if not self.standing.figures:
            return f'{values}; no {by} so far'
        if self.standing.stale == 0:
            return f'{values}; the best so far by {by}'
        return f'{values}; the best by {by} was {self.standing.figures[self.best_by]:.4g}'


def standing_of(validation: Validation | None) -> dict[str, Any] | None:
    """How the run stands, for a checkpoint."""
    return None if validation is None else validation.standing._asdict()


@contextlib.contextmanager
def evaluating(models: Models) -> Iterator[None]:
    """Inside the block the networks are in eval mode; then each layer is in that which it was."""
    layers = [layer for network in models for layer in network.sublayers(include_self=True)]
    modes = [layer.training for layer in layers]
    models.eval()
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes):
            layer.training = mode
