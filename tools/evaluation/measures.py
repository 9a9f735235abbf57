"""Which metrics the options of tools/evaluate.py ask for, and what computes them."""

import argparse
import itertools

from modules.evaluation.metrics import (
    FIGURES,
    EmbeddingMeasure,
    KeypointMeasure,
    Measure,
    measure_l1,
    measure_psnr,
    measure_ssim,
)
from modules.runtime.errors import UserError
from tools.evaluation.detectors import build_detector, build_embedder
from tools.evaluation.report import NEEDS


def choose_metrics(options: argparse.Namespace) -> list[str]:
    """The metrics to measure, in the order of FIGURES.

    Raises:
        UserError: one lacks what it needs, or an option is for none of them.
    """
    given = {
        'lpips_weights': ('lpips',) if options.lpips_weights else (),
        'detector': ('akd', 'mkr') if options.detector else (),
        'embedder': ('aed',) if options.embedder else (),
    }
    possible = ['l1', 'psnr', 'ssim', *itertools.chain(*given.values())]
    chosen = options.metrics or possible
    for metric in chosen:
        if metric not in possible and metric != 'lpips':  # which knows where to get its weights
            raise UserError(f'--metrics {metric}: needs {NEEDS[metric]} (see --help)')
    for option, metrics in given.items():
        if metrics and not set(metrics) & set(chosen):
            raise UserError(f'--{option}: is for {" and ".join(metrics)}; add it to --metrics')
    return [metric for metric in FIGURES if metric in chosen]


def build_measures(options: argparse.Namespace) -> list[Measure]:
    """What computes the chosen metrics."""
    simple = {'l1': measure_l1, 'psnr': measure_psnr, 'ssim': measure_ssim}
    measures: list[Measure] = [simple[name] for name in options.metrics if name in simple]
    if 'lpips' in options.metrics:
        from tools.evaluation.perceptual_distance import LpipsMeasure, build_lpips

        measures.append(LpipsMeasure(build_lpips(options.lpips_weights)))
    if options.detector:
        measures.append(KeypointMeasure(build_detector(options.detector)))
    if options.embedder:
        measures.append(EmbeddingMeasure(build_embedder(options.embedder)))
    return measures
