"""The time and memory of a training step, beside the official PyTorch code's."""

import copy
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.config import check_config
from modules.runtime.process import has_bf16
from modules.runtime.seeding import seeded_inputs
from tools.benchmarking.common import SEED, Report
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
from tools.official.parity import without_nulls

OURS = 'this project'
OURS_LOW = f'{OURS}, bf16'


def compare_training(config: Mapping[str, Any], official: Official, options: Namespace) -> Report:
    """The section `training`.

    Args:
        options: batch_size, steps (of each run after a warm-up), repeats.

    Raises:
        UserError: the batch does not suit the config, or a process failed.
    """
    config = training_config(config, options.batch_size)
    params, shape = config['train_params'], config['dataset_params']['frame_shape']
    if not official.reason and params['loss_weights']['pixel']:
        official = Official(reason='not measured: it has no pixel loss, and the config weighs it')
    transform = without_nulls(params['transform_params'])
    inputs = seeded_inputs(SEED, shape, **transform, batch_size=options.batch_size)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = save_inputs(folder, inputs)
        job = {'section': 'training', 'inputs': path, 'steps': options.steps}
        contenders = [our_contender(OURS, config, job)]
        lacking = {}
        if has_bf16():
            low = copy.deepcopy(config)
            low['train_params']['amp'] = 'bf16'
            contenders.append(our_contender(OURS_LOW, low, job))
        else:
            lacking[OURS_LOW] = 'not measured: this CPU has no instructions for it'
        if official.reason:
            lacking[OFFICIAL] = official.reason
        else:
            rates = {n: params[f'lr_{n}'] for n in ('generator', 'kp_detector', 'discriminator')}
            contenders.append(official_contender(official, config, {**job, 'rates': rates}))
        runs = run_in_turns(contenders, options.repeats, folder, (shape[0], shape[1]), 'training')
    return training_report(runs, lacking, options.batch_size)


def training_config(config: Mapping[str, Any], batch_size: int) -> dict[str, Any]:
    """The config with this batch size, a VGG19 of random weights and networks that start anew."""
    changed = copy.deepcopy(dict(config))
    changed['train_params'].update(batch_size=batch_size, vgg19_weights='random')
    changed['ckpt_model'] = dict.fromkeys(changed['ckpt_model'])
    return check_config(changed, '--batch_size', ('train_params', 'dataset_params.frame_shape'))


def training_report(
    runs: Mapping[str, list[Run]], lacking: Mapping[str, str], batch_size: int
) -> Report:
    """
    Args:
        lacking: why a contender was not measured.
    """
    seconds = {name: times(of_name) for name, of_name in runs.items()}
    memory = {name: peaks(of_name) for name, of_name in runs.items()}
    rows = [
        [name, f'{seconds[name].median:.3f} s', f'{memory[name].median / MEGABYTE:.0f} MB']
        for name in runs
    ]
    figures: dict[str, Any] = {
        name: {
            'version': runs[name][0].version,
            'seconds': seconds[name].as_json(),
            'peak_bytes': memory[name].as_json(),
            'losses': runs[name][0].losses,
        }
        for name in runs
    }
    for name in (OURS, OURS_LOW):
        if name in runs and OFFICIAL in runs:
            ratios = [kind[name].median / kind[OFFICIAL].median for kind in (seconds, memory)]
            rows.append([f'{name} / {OFFICIAL}', *(f'{ratio:.2f}' for ratio in ratios)])
            place = figures if name == OURS else figures[name]
            place['ratios'] = dict(zip(('seconds', 'peak_bytes'), ratios))
    rows += [[name, reason, ''] for name, reason in lacking.items()]
    figures.update(lacking)
    lines = table([f'training step, batch of {batch_size}', 'time', 'peak memory'], rows)
    lines += ('', *losses_table({name: of_name[0].losses[0] for name, of_name in runs.items()}))
    return Report(lines, {f'{n}, step': s for n, s in seconds.items()}, figures)


def losses_table(losses: Mapping[str, Mapping[str, float]]) -> Sequence[str]:
    """Each loss of each contender, and how far the others' are from the first's; nan: has none."""
    first, *others = losses
    rows = []
    for name in dict.fromkeys(name for of_one in losses.values() for name in of_one):
        values = {contender: of_one.get(name, float('nan')) for contender, of_one in losses.items()}
        row = [name, f'{values[first]:.6g}']
        for other in others:
            difference = abs(values[other] - values[first]) / abs(values[first])
            row += [f'{values[other]:.6g}', f'{difference:.1e}']
        rows.append(row)
    header = ['loss of the first step', first]
    return table([*header, *(h for other in others for h in (other, 'difference'))], rows)
