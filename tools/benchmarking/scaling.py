"""Training by several processes of this machine, which share its cores and a batch, beside one."""

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.data.loader import share_of_batch
from modules.runtime.seeding import seeded_inputs
from tools.benchmarking.common import SEED, Report, Series
from tools.benchmarking.runs import (
    MEGABYTE,
    TOOLS,
    Contender,
    Run,
    run_in_turns,
    save_inputs,
    times,
)
from tools.benchmarking.training import training_config
from tools.markdown import table
from tools.official.parity import without_nulls


def compare_scaling(config: Mapping[str, Any], options: Namespace) -> Report:
    """The section `scaling`.

    Args:
        options: processes (numbers of them), joint_batch (None: the config's), steps (of each run
            after a warm-up), repeats.

    Raises:
        UserError: the batch does not divide among the processes, or they failed.
    """
    batch = options.joint_batch or config['train_params']['batch_size']
    config = training_config(config, batch)
    params, shape = config['train_params'], config['dataset_params']['frame_shape']
    counts = sorted(set(options.processes))
    for count in counts:
        share_of_batch(batch, count, params['accumulation_steps'])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        transform = without_nulls(params['transform_params'])
        inputs = seeded_inputs(SEED, shape, **transform, batch_size=batch)
        path = save_inputs(folder, {name: inputs[name] for name in ('source', 'driving')})
        job = {'section': 'scaling', 'config': config, 'inputs': path, 'steps': options.steps}
        contenders = [launched_contender(count, job, folder) for count in counts]
        runs = run_in_turns(contenders, options.repeats, folder, (shape[0], shape[1]), 'scaling')
    return scaling_report(runs, batch)


def launched_contender(count: int, job: dict[str, Any], folder: Path) -> Contender:
    """So many processes of ours.py, by Paddle's launcher; one as well, for equal conditions."""
    file = folder / 'scaling.json'
    file.write_text(json.dumps(job), encoding='utf-8')
    launch = ['-m', 'paddle.distributed.launch', '--nproc_per_node', str(count)]
    launch += ['--log_dir', str(folder / 'logs')]
    ours = [str(TOOLS / 'benchmarking' / 'ours.py'), str(file)]
    name = '1 process' if count == 1 else f'{count} processes'
    # The launcher wants as many GPUs as processes, there or not; these hide them from themselves.
    return Contender(name, [sys.executable, *launch, *ours], {}, ','.join(map(str, range(count))))


def scaling_report(runs: Mapping[str, list[Run]], batch: int) -> Report:
    """
    Args:
        runs: by the numbers of processes; `extra` is from `train_jointly` in ours.py.
    """
    rows, series = [], {}
    figures: dict[str, Any] = {}
    rates = {
        name: Series(tuple(batch / seconds for seconds in times(of_name).values), True)
        for name, of_name in runs.items()
    }
    first = next(iter(rates))
    for name, of_name in runs.items():
        extra = of_name[0].extra
        memory = Series(tuple(max(run.extra['peaks']) for run in of_name))
        # Of a step's time, the first one left out.
        waits = Series(tuple(sum(run.extra['waits'][1:]) / sum(run.seconds[1:]) for run in of_name))
        rows.append([
            name,
            str(extra['threads']),
            f'{rates[name].median:.2f}',
            f'{rates[name].median / rates[first].median:.2f}x',
            f'{100 * waits.median:.0f} %' if extra['processes'] > 1 else '',
            f'{memory.median / MEGABYTE:.0f} MB',
        ])  # fmt: skip
        series[f'{name}, samples per second'] = rates[name]
        figures[name] = {
            'version': of_name[0].version,
            'processes': extra['processes'],
            'threads': extra['threads'],
            'samples_per_second': rates[name].as_json(),
            'ratio': rates[name].median / rates[first].median,
            'waiting_share': waits.median,
            'peak_bytes': memory.as_json(),
            'losses': of_name[0].losses,
        }
    header = [
        f'training, joint batch of {batch}', 'threads of each', 'samples per second',
        f'beside {first}', 'waiting for messages', 'peak memory of each',
    ]  # fmt: skip
    return Report(tuple(table(header, rows)), series, figures)
