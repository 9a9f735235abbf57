"""How long it takes to the first frame of an animation, beside the official PyTorch code."""

import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.benchmarking.animation import animation_inputs
from tools.benchmarking.common import Report, Series
from tools.benchmarking.runs import (
    MEGABYTE,
    OFFICIAL,
    Official,
    Run,
    official_contender,
    our_contender,
    peaks,
    run,
    run_in_turns,
    save_inputs,
)
from tools.markdown import table

OURS = 'this project'


def compare_start(config: Mapping[str, Any], official: Official, options: Namespace) -> Report:
    """The section `start`: both read the same .pth.tar and animate one frame by it; ours finds its
    programs in the cache, as every time but the first.

    Args:
        options: repeats.

    Raises:
        UserError: a process failed.
    """
    shape = config['dataset_params']['frame_shape']
    size = shape[0], shape[1]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        job = {
            'section': 'start',
            'inputs': save_inputs(folder, animation_inputs(shape, 1)),
            'checkpoint': str(folder / 'weights.pth.tar'),
            'engine': 'onednn',
        }
        run(our_contender('weights', config, {**job, 'section': 'weights'}), folder, size)
        contenders = [our_contender(OURS, config, job)]
        run(contenders[0], folder, size)  # compiles what is not in the cache
        if not official.reason:
            contenders.append(official_contender(official, config, job))
        runs = run_in_turns(contenders, options.repeats, folder, size, 'start')
    return start_report(runs, official.reason)


def start_report(runs: Mapping[str, Sequence[Run]], reason: str) -> Report:
    """
    Args:
        runs: seconds of each: the import of the framework, all that follows.
        reason: why the official code was not measured; '' if it was.
    """
    rows, series = [], {}
    figures: dict[str, Any] = {}
    for name, of_name in runs.items():
        imported, first = (Series(tuple(run.seconds[i] for run in of_name)) for i in (0, 1))
        memory = peaks(of_name)
        rows.append([
            name,
            f'{imported.best:.2f} s ({imported.median:.2f})',
            f'{first.best:.2f} s ({first.median:.2f})',
            f'{memory.median / MEGABYTE:.0f} MB',
        ])  # fmt: skip
        series.update({f'{name}, import': imported, f'{name}, first frame': first})
        figures[name] = {
            'version': of_name[0].version,
            'import_seconds': imported.as_json(),
            'first_frame_seconds': first.as_json(),
            'peak_bytes': memory.as_json(),
        }
    if OFFICIAL in figures:
        ours, theirs = (figures[name]['first_frame_seconds'] for name in (OURS, OFFICIAL))
        ratios = {kind: ours[kind] / theirs[kind] for kind in ('best', 'median')}
        figures['ratios'] = ratios
        shown = f'{ratios["best"]:.2f} ({ratios["median"]:.2f})'
        rows.append([f'{OURS} / {OFFICIAL}', '', shown, ''])
    else:
        rows.append([OFFICIAL, reason, '', ''])
        figures[OFFICIAL] = reason
    count = len(runs[OURS])
    title = f'start, best of {count} (median)'
    header = [title, 'import of the framework', 'from there to the first frame', 'peak memory']
    return Report(tuple(table(header, rows)), series, figures)
