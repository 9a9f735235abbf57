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
    frames = sum(1 for _ in VideoReader(options.clip))
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
        runs = run_in_turns(contenders, options.repeats, folder, size, 'demo', lacking)
    return demo_report(runs, {f: reason for f, reason in lacking.items() if reason}, frames)


def _lack(official: Official, form: str) -> str:
    """Why the official code is not measured in a form; '' if it can be."""
    reason = lack_of(official, form)
    for package in () if reason else PACKAGES:
        if package_version(official.python, package) is None:
            return f'not measured: no {package} in {official.python}'
    return reason


def demo_report(
    runs: Mapping[str, Sequence[Run]], lacking: Mapping[str, str], frames: int
) -> Report:
    """
    Args:
        runs: seconds of each: the whole process; but of the official demo.py also of a frame; and
            of this project what the networks take for a frame alone. Without frames that the
            networks get ready in.
        lacking: why a form was not measured.
        frames: of the clip.
    """
    rows, series = [], {}
    figures: dict[str, Any] = {'frames': frames}
    for name, of_name in runs.items():
        parts = [Series(values) for values in zip(*(run.seconds for run in of_name))]
        seconds, memory = parts[0], peaks(of_name)
        series[name] = seconds
        figures[name] = {
            'version': of_name[0].version,
            'seconds': seconds.as_json(),
            'peak_bytes': memory.as_json(),
        }
        row = [name, _shown(seconds, 's'), '', '', f'{memory.median / MEGABYTE:.0f} MB']
        if len(parts) > 1:
            frame = Series(tuple(1000 * value for value in parts[1].values))
            figures[name]['frame_milliseconds'] = frame.as_json()
            row[2] = _shown(frame, 'ms', 0)
        if len(parts) > 2:
            each = (run.seconds for run in of_name)
            beside = Series(tuple(100 * frames * (f - alone) / whole for whole, f, alone in each))
            figures[name]['percent_beside_networks'] = beside.as_json()
            row[3] = _shown(beside, '%', 1)
        if OFFICIAL in runs:
            theirs = Series(tuple(run.seconds[0] for run in runs[OFFICIAL])), peaks(runs[OFFICIAL])
            ratios = {
                'best': seconds.best / theirs[0].best,
                'median': seconds.median / theirs[0].median,
                'peak_bytes': memory.median / theirs[1].median,
            }
            figures[name]['ratios'] = ratios
            row.append(f'{ratios["best"]:.2f} ({ratios["median"]:.2f}); {ratios["peak_bytes"]:.2f}')
        rows.append(row)
    header = [
        f'demo, {frames} frames, best of {len(next(iter(runs.values())))} (median)',
        'the whole process',
        'a frame',
        'reading and writing',
        'peak memory',
    ]
    if OFFICIAL in runs:
        header.append(f'time; memory / {OFFICIAL}')
    rows += [[name, reason, *[''] * (len(header) - 2)] for name, reason in lacking.items()]
    figures.update(lacking)
    return Report(tuple(table(header, rows)), series, figures)


def _shown(series: Series, unit: str, digits: int = 2) -> str:
    return f'{series.best:.{digits}f} {unit} ({series.median:.{digits}f})'
