"""The time and memory of an animation by each engine, beside the official PyTorch code's."""

import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modules.runtime.seeding import seeded_inputs
from tools.benchmarking.common import SEED, Report, Series
from tools.benchmarking.runs import (
    MEGABYTE,
    OFFICIAL,
    Official,
    Run,
    official_contender,
    our_contender,
    peaks,
    run_in_turns,
    save_inputs,
    times,
)
from tools.markdown import table

REFERENCE = 'eager'  # the engine whose frames the others' are compared with


def compare_animation(config: Mapping[str, Any], official: Official, options: Namespace) -> Report:
    """The section `animation`.

    Args:
        options: engines (names; 'eager', which the others are compared with, is added), driving
            (frames), repeats.

    Raises:
        UserError: a process failed.
    """
    shape = config['dataset_params']['frame_shape']
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = save_inputs(folder, animation_inputs(shape, options.driving))
        job = {'section': 'animation', 'inputs': path}
        contenders = [
            our_contender(name, config, {**job, 'engine': name})
            for name in dict.fromkeys((REFERENCE, *options.engines))
        ]
        if not official.reason:
            contenders.append(official_contender(official, config, job))
        runs = run_in_turns(contenders, options.repeats, folder, shape[:2], 'animation')
    return animation_report(runs, official.reason, shape)


def animation_inputs(shape: Sequence[int], count: int) -> dict[str, np.ndarray]:
    """source (H, W, 3) and driving (N, H, W, 3), float32 in [0, 1]: a picture that wanders."""
    inputs = seeded_inputs(SEED, shape, sigma_affine=0, batch_size=1)
    source, moved = (
        inputs[name][0].transpose(1, 2, 0).astype(np.float32) / 255
        for name in ('source', 'driving')
    )
    driving = np.stack([np.roll(moved, (n, 2 * n), axis=(0, 1)) for n in range(count)])
    return {'source': source, 'driving': driving}


def animation_report(runs: Mapping[str, list[Run]], reason: str, shape: Sequence[int]) -> Report:
    reference = frames_of(runs[REFERENCE][0])
    rows, series = [], {}
    figures: dict[str, Any] = {}
    for name, of_name in runs.items():
        latency, seconds = Series(tuple(run.seconds[0] for run in of_name)), times(of_name)
        memory, frames = peaks(of_name), frames_of(of_name[-1])
        difference, likeness = compare_frames(frames, reference)
        rows.append([
            name,
            f'{latency.median:.2f} s',
            f'{1000 * seconds.median:.0f} ms',
            f'{1 / seconds.median:.2f}',
            f'{memory.median / MEGABYTE:.0f} MB',
            f'{difference:.1e}',
            'the same' if np.isinf(likeness) else f'{likeness:.1f} dB',
        ])  # fmt: skip
        series.update({f'{name}, first frame': latency, f'{name}, frame': seconds})
        figures[name] = {
            'version': of_name[0].version,
            'first_frame_seconds': latency.as_json(),
            'frame_seconds': seconds.as_json(),
            'peak_bytes': memory.as_json(),
            'largest_difference': difference,
            'psnr': None if np.isinf(likeness) else likeness,
        }
    if reason:
        rows.append([OFFICIAL, reason, *[''] * 5])
        figures[OFFICIAL] = reason
    title = f'animation, {shape[1]}x{shape[0]}, {len(reference)} frames'
    header = [title, 'first frame', 'frame', 'fps', 'peak memory', f'differs from {REFERENCE}']
    lines = table([*header, 'PSNR'], rows)
    if not reason:
        lines += ('', *ratio_table(figures))
    return Report(lines, series, figures)


def ratio_table(figures: dict[str, Any]) -> Sequence[str]:
    """Each engine's medians relative to the official code's; also noted in the figures."""
    kinds = ('first_frame_seconds', 'frame_seconds', 'peak_bytes')
    rows = []
    for name in [name for name in figures if name != OFFICIAL]:
        ratios = {kind: figures[name][kind]['median'] for kind in kinds}
        ratios = {kind: value / figures[OFFICIAL][kind]['median'] for kind, value in ratios.items()}
        figures[name]['ratios'] = ratios
        rows.append([f'{name} / {OFFICIAL}', *(f'{ratio:.2f}' for ratio in ratios.values())])
    return table(['ratio', 'first frame', 'frame', 'peak memory'], rows)


def frames_of(run: Run) -> np.ndarray:
    """What a run of this section always has."""
    assert run.frames is not None
    return run.frames


def compare_frames(frames: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Largest absolute difference, and the peak signal-to-noise ratio in decibels.

    Args:
        frames, reference: (N, H, W, 3) in [0, 1].
    """
    difference = frames.astype(np.float64) - reference
    mean_square = np.square(difference).mean()
    ratio = float('inf') if mean_square == 0 else float(-10 * np.log10(mean_square))
    return float(np.abs(difference).max()), ratio
