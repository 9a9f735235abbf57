"""How a run stands by its validations: the best weights so far, and when to stop."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from modules.evaluation.metrics import DEFINITIONS


class Standing(NamedTuple):
    """What a checkpoint keeps of the validations before it."""

    compared: tuple[Any, ...]  # what figures hang on, so that they can be compared
    figures: dict[str, float]  # of the best weights; empty before there are any
    epoch: int = 0  # after so many epochs these were reached
    stale: int = 0  # validations since

    def after(self, epoch: int, figures: Mapping[str, float], best_by: str) -> 'Standing':
        """The standing after one more validation.

        Equal figures are no better. As long as the figure can't be had, as AKD where no joint is
        found again, nothing is waited for.
        """
        if is_better(figures[best_by], self.figures.get(best_by, math.nan), best_by):
            return self._replace(figures=dict(figures), epoch=epoch, stale=0)
        return self._replace(stale=self.stale + 1) if self.figures else self


def is_better(value: float, before: float, figure: str) -> bool:
    """Whether a value of a figure is better than the one before; NaN is worse than any."""
    if math.isnan(value) or math.isnan(before):
        return math.isnan(before) and not math.isnan(value)
    return value < before if DEFINITIONS[figure].better == 'lower' else value > before


def compared_by(params: Mapping[str, Any]) -> tuple[Any, ...]:
    """Those of train_params.validation that figures hang on."""
    return params['best_by'], params['num_videos'], params['num_frames']


def restored(held: Mapping[str, Any] | None, params: Mapping[str, Any]) -> Standing:
    """The standing of a checkpoint, or a new one where its figures are of something else."""
    start = Standing(compared_by(params), {})
    if held is None:
        return start
    standing = Standing(**held)
    standing = standing._replace(compared=tuple(standing.compared))
    return standing if standing.compared == start.compared else start
