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
    lack_of,
    official_contender,
    our_contender,
    peaks,
    run_in_turns,
    save_inputs,
    times,
)
from tools.markdown import table
from tools.official.forms import FORMS

REFERENCE = 'eager'  # the engine whose frames the others' are compared with


def compare_animation(config: Mapping[str, Any], official: Official, options: Namespace) -> Report:
    """The section `animation`.

    Args:
        options: engines (names; 'eager', which the others are compared with, is added), peers
            (names of FORMS), driving (frames), repeats.

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
        lacking = {form: lack_of(official, form) for form in options.peers}
        contenders += [
            official_contender(official, config, job, form)
            for form, reason in lacking.items()
            if not reason
        ]
        runs = run_in_turns(contenders, options.repeats, folder, shape[:2], 'animation', lacking)
    return animation_report(runs, {f: reason for f, reason in lacking.items() if reason}, shape)


def animation_inputs(shape: Sequence[int], count: int) -> dict[str, np.ndarray]:
    """source (H, W, 3) and driving (N, H, W, 3), float32 in [0, 1]: a picture that wanders."""
    inputs = seeded_inputs(SEED, shape, sigma_affine=0, batch_size=1)
    source, moved = (
        inputs[name][0].transpose(1, 2, 0).astype(np.float32) / 255
        for name in ('source', 'driving')
    )
    driving = np.stack([np.roll(moved, (n, 2 * n), axis=(0, 1)) for n in range(count)])
    return {'source': source, 'driving': driving}


def animation_report(
    runs: Mapping[str, list[Run]], lacking: Mapping[str, str], shape: Sequence[int]
) -> Report:
    """
    Args:
        runs: of each contender: this project's engines, then the official networks in FORMS.
        lacking: why a form was not measured.
    """
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
    rows += [[name, reason, *[''] * 5] for name, reason in lacking.items()]
    figures.update(lacking)
    title = f'animation, {shape[1]}x{shape[0]}, {len(reference)} frames'
    header = [title, 'first frame', 'frame', 'fps', 'peak memory', f'differs from {REFERENCE}']
    lines = table([*header, 'PSNR'], rows)
    if OFFICIAL in runs:
        lines += ('', *ratio_table(figures, [name for name in runs if name not in FORMS]))
    peers = [name for name in runs if name in FORMS]
    if peers:
        lines += ('', *frame_ratio_table(figures, peers, len(runs[REFERENCE])))
    return Report(lines, series, figures)


def ratio_table(figures: dict[str, Any], engines: Sequence[str]) -> Sequence[str]:
    """Each engine's medians relative to the official code's; also noted in the figures."""
    kinds = ('first_frame_seconds', 'frame_seconds', 'peak_bytes')
    rows = []
    for name in engines:
        ratios = {kind: figures[name][kind]['median'] for kind in kinds}
        ratios = {kind: value / figures[OFFICIAL][kind]['median'] for kind, value in ratios.items()}
        figures[name]['ratios'] = ratios
        rows.append([f'{name} / {OFFICIAL}', *(f'{ratio:.2f}' for ratio in ratios.values())])
    return table(['ratio', 'first frame', 'frame', 'peak memory'], rows)


def frame_ratio_table(figures: dict[str, Any], peers: Sequence[str], repeats: int) -> Sequence[str]:
    """The time of a frame by each engine relative to that by each peer: the best of all runs, which
    a busy machine disturbs least, and the median; also noted in the figures.
    """
    rows = []
    for name in [name for name in figures if name not in FORMS]:
        ours, row = figures[name]['frame_seconds'], [f'{name} / ...']
        figures[name]['frame_ratios'] = {}
        for peer in peers:
            theirs = figures[peer]['frame_seconds']
            ratios = {kind: ours[kind] / theirs[kind] for kind in ('best', 'median')}
            figures[name]['frame_ratios'][peer] = ratios
            row.append(f'{ratios["best"]:.2f} ({ratios["median"]:.2f})')
        rows.append(row)
    return table([f'frame, best of {repeats} (median)', *peers], rows)


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
