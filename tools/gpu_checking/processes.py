"""Several processes: two that share a batch beside one that has it all."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import paddle

from tools.gpu_checking.findings import Findings
from tools.gpu_checking.joint_steps import BEGINS
from tools.gpu_checking.running import ROOT
from tools.gpu_checking.small import on_gpu
from tools.parity import error

STEPS = Path(__file__).with_name('joint_steps.py')  # what each process runs
BAR, GPU_BAR = 1e-9, 1e-7  # in float64; on GPUs atomic sums come in any order


def processes(findings: Findings) -> None:
    """Steps in float64: their losses, weights and statistics at the end.

    By gloo on the CPU; where there are two GPUs, by NCCL on them, too.
    """
    cards = paddle.device.cuda.device_count() if on_gpu() else 0
    # The launcher has a GPU for each process even with --cpu, and fails where it counts but one: as
    # it does of an empty list of GPUs, too.
    hidden = {'CUDA_VISIBLE_DEVICES': '0,1'} if cards < 2 else {}
    launch = ['--nproc_per_node', '2']
    _compare(findings, 'two processes on the CPU', ['--cpu'], launch, BAR, hidden)
    if cards < 2:
        findings.fact('two processes on two GPUs', f'not run: GPUs here: {cards}')
    else:
        _compare(findings, 'two processes on two GPUs', [], ['--devices', '0,1'], GPU_BAR, {})


def _compare(
    findings: Findings,
    name: str,
    options: Sequence[str],
    launch: Sequence[str],
    bar: float,
    environment: Mapping[str, str],
) -> None:
    """Two processes beside one that does the same steps alone."""
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / 'one.npz', Path(folder) / 'two.npz'
        launcher = ['-m', 'paddle.distributed.launch', *launch, '--log_dir', f'{folder}/log']
        run_python([str(STEPS), str(one), *options])
        command = [*launcher, str(STEPS), str(two), *options]
        run_python(command, Path(folder) / 'log', environment)
        with np.load(one) as alone, np.load(two) as together:
            findings.holds(f'{name}: both take part', int(together['world']) == 2)
            for kind in ('loss', 'weight', 'statistic'):
                keys = [key for key in alone.files if key.startswith(f'{kind}.')]
                errors = [error(together[key], alone[key], floor=1.0) for key in keys]
                findings.at_most(f'{name}: {kind}', float(np.max(errors)), bar)


def run_python(
    arguments: Sequence[str],
    logs: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs a Python process.

    Args:
        logs: folder where processes that it launches write what they say.
        environment: variables that differ from ours.

    Raises:
        RuntimeError: it fails; what it and its processes said last is in the message.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        check=False,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        said = done.stdout
        for path in sorted(logs.glob('workerlog.*')) if logs else []:
            # The launcher has written the whole environment before, which is nobody's business.
            own = path.read_text(encoding='utf-8', errors='replace').partition(BEGINS)[2]
            said += f'\n{path.name}: {own[-1000:]}'
        raise RuntimeError(f'status {done.returncode} of {arguments[0]}: {said[-3000:]}')
