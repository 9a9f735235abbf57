"""How fast, and how late, a picture follows a camera; without a browser."""

import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modules.animation.inputs import BUNDLED_CHECKPOINT, BUNDLED_CONFIG
from modules.config import load_config
from tools.benchmarking.common import Report, Series
from tools.benchmarking.ours import CAMERA_FPS, CAMERA_SIZE, STAGES
from tools.benchmarking.runs import MEGABYTE, Run, our_contender, peaks, run_in_turns
from tools.markdown import table

BUNDLED = 'bundled'


def compare_live(config: Mapping[str, Any], options: Namespace) -> Report:
    """The section `live`: the bundled networks, and those of the config with weights from their
    names by each compiled engine.

    Args:
        options: config (its path), engines, seconds (of each run), repeats.

    Raises:
        UserError: a process failed.
    """
    job = {'section': 'live', 'seconds': options.seconds}
    bundled = load_config(BUNDLED_CONFIG)
    weights = {'engine': 'onednn', 'checkpoint': str(BUNDLED_CHECKPOINT)}
    contenders = [our_contender(BUNDLED, bundled, {**job, **weights})]
    contenders += [
        our_contender(f'{Path(options.config).stem}, {name}', config, {**job, 'engine': name})
        for name in options.engines
        if name != 'eager'
    ]
    with tempfile.TemporaryDirectory() as scratch:
        runs = run_in_turns(contenders, options.repeats, Path(scratch), (1, 1), 'live')
    return live_report(runs)


def live_report(runs: Mapping[str, Sequence[Run]]) -> Report:
    """
    Args:
        runs: of each contender; `seconds` are the latencies of its results, `extra` is from
            `watch_live` in ours.py.
    """
    rows, stages, series = [], [], {}
    figures: dict[str, Any] = {}
    for name, of_name in runs.items():
        rate, alone = (
            Series(tuple(run.extra[key] for run in of_name), True) for key in ('rate', 'alone')
        )
        median, late = (
            Series(tuple(float(np.percentile(run.seconds, q)) for run in of_name)) for q in (50, 95)
        )
        memory = peaks(of_name)
        spent = {
            stage: Series(tuple(run.extra['stages'][stage] for run in of_name)) for stage in STAGES
        }
        rows.append([
            name,
            f'{rate.median:.1f}',
            f'{alone.median:.1f}',
            f'{1000 * median.median:.0f} ms',
            f'{1000 * late.median:.0f} ms',
            f'{memory.median / MEGABYTE:.0f} MB',
        ])  # fmt: skip
        stages.append([name, *(f'{1000 * of_stage.median:.2f} ms' for of_stage in spent.values())])
        series.update({f'{name}, rate': rate, f'{name}, latency': median})
        figures[name] = {
            'version': of_name[0].version,
            'rate': rate.as_json(),
            'engine_rate': alone.as_json(),
            'latency_seconds': median.as_json(),
            'latency_95_seconds': late.as_json(),
            'stage_seconds': {stage: of_stage.as_json() for stage, of_stage in spent.items()},
            'peak_bytes': memory.as_json(),
        }
    camera = f'live, camera of {CAMERA_SIZE[1]}x{CAMERA_SIZE[0]}, {CAMERA_FPS} per second'
    header = [camera, 'results per second', 'engine alone', 'latency', '95 %', 'peak memory']
    lines = (*table(header, rows), '', *table(['each stage alone', *STAGES], stages))
    return Report(lines, series, figures)
