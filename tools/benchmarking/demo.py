"""The time and memory of the whole demo, from files to a file, beside the official code's."""

import json
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.video import VideoReader
from tools.benchmarking.common import Report, Series
from tools.benchmarking.runs import (
    MEGABYTE,
    OFFICIAL,
    Official,
    Run,
    lack_of,
    official_contender,
    our_contender,
    peaks,
    run,
    run_in_turns,
)
from tools.markdown import table
from tools.official.parity import package_version

# What the official demo.py reads and writes files with, and so do those in other forms.
PACKAGES = ('imageio', 'imageio_ffmpeg', 'skimage')


def compare_demo(config: Mapping[str, Any], official: Official, options: Namespace) -> Report:
    """The section `demo`: a picture and a clip become a video, by the same .pth.tar. The official
    code runs as it is; in its other forms by a script that reads, computes and writes frame by
    frame. Ours finds its programs in the cache, as every time but the first.

    Args:
        options: engines (names), peers (names of FORMS), picture, clip, repeats.

    Raises:
        UserError: a process failed.
    """
    shape = config['dataset_params']['frame_shape']
    size = shape[0], shape[1]
    frames = VideoReader(options.clip).frame_count
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = {
            'checkpoint': folder / 'weights.pth.tar',
            'source_image': options.picture.resolve(),
            'driving_video': options.clip.resolve(),
            'result_video': folder / 'result.mp4',
        }
        job: dict[str, Any] = {name: str(path) for name, path in files.items()}
        run(our_contender('weights', config, {**job, 'section': 'weights'}), folder, size)
        config_file = folder / 'config.yaml'  # JSON is YAML, too
        config_file.write_text(json.dumps(config), encoding='utf-8')
        ours = {**job, 'section': 'demo', 'config_file': str(config_file)}
        contenders = [
            our_contender(name, config, {**ours, 'engine': name}) for name in options.engines
        ]
        for contender in contenders:
            run(contender, folder, size)  # compiles what is not in the cache
        lacking = {form: _lack(official, form) for form in options.peers}
        contenders += [
            official_contender(official, config, {**job, 'section': 'demo', 'size': size}, form)
            for form, reason in lacking.items()
            if not reason
        ]
        runs = run_in_turns(contenders, options.repeats, folder, size, 'demo')
    return demo_report(runs, {f: reason for f, reason in lacking.items() if reason}, frames)


def _lack(official: Official, form: str) -> str:
    """Why the official code is not measured in a form; '' if it can be."""
    reason = lack_of(official, form)
    for package in () if reason else PACKAGES:
        if package_version(official.python, package) is None:
            return f'not measured: no {package} in {official.python}'
    return reason


def demo_report(
    runs: Mapping[str, Sequence[Run]], lacking: Mapping[str, str], frames: int | None
) -> Report:
    """
    Args:
        runs: seconds of each: the whole process; of this project's also, from the first frame that
            is computed to the last one that is written, all of it and what the networks took.
        lacking: why a form was not measured.
        frames: of the clip.
    """
    rows, series = [], {}
    figures: dict[str, Any] = {'frames': frames}
    for name, of_name in runs.items():
        seconds, memory = Series(tuple(run.seconds[0] for run in of_name)), peaks(of_name)
        series[name] = seconds
        figures[name] = {
            'version': of_name[0].version,
            'seconds': seconds.as_json(),
            'peak_bytes': memory.as_json(),
        }
        row = [
            name,
            f'{seconds.best:.2f} s ({seconds.median:.2f})',
            f'{memory.median / MEGABYTE:.0f} MB',
        ]
        if len(of_name[0].seconds) > 1:
            rest = Series(tuple(1 - run.seconds[2] / run.seconds[1] for run in of_name))
            figures[name]['share_beside_networks'] = rest.as_json()
            row.append(f'{100 * rest.best:.1f} % ({100 * rest.median:.1f})')
        else:
            row.append('')
        if OFFICIAL in runs:
            figures[name]['ratios'] = ratios = {
                'best': seconds.best / min(run.seconds[0] for run in runs[OFFICIAL]),
                'median': seconds.median
                / Series(tuple(r.seconds[0] for r in runs[OFFICIAL])).median,
                'peak_bytes': memory.median / peaks(runs[OFFICIAL]).median,
            }
            row.append(f'{ratios["best"]:.2f} ({ratios["median"]:.2f}), {ratios["peak_bytes"]:.2f}')
        rows.append(row)
    rows += [[name, reason, '', ''] for name, reason in lacking.items()]
    figures.update(lacking)
    count = len(next(iter(runs.values())))
    header = [
        f'demo, {frames} frames, best of {count} (median)',
        'the whole process',
        'peak memory',
        'beside the networks',
    ]
    if OFFICIAL in runs:
        rows = [row + [''] * (5 - len(row)) for row in rows]
        header.append(f'time and memory / {OFFICIAL}')
    return Report(tuple(table(header, rows)), series, figures)
