"""Runs one check in this process: python -m tools.gpu_checking.worker NAME RESULT.json [--cpu]"""

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from modules.runtime.errors import UserError
from modules.runtime.process import choose_device, prepare_process

prepare_process('--cpu' in sys.argv)

from tools.gpu_checking import (
    agreement,
    animating,
    doors,
    machine,
    memory,
    precision,
    processes,
    training,
)
from tools.gpu_checking.findings import (
    FAIL,
    NOT_RUN,
    Findings,
    NotRunError,
    Outcome,
    outcome_of,
)

FUNCTIONS: dict[str, Callable[[Findings], None]] = {
    function.__name__: function
    for function in (
        machine.device,
        machine.archs,
        machine.tf32,
        agreement.float64,
        agreement.float32,
        agreement.inverse,
        agreement.batch_norm,
        agreement.repeat,
        training.adam_resume,
        precision.amp_bf16,
        precision.amp_fp16,
        training.overflow,
        precision.learning,
        animating.animation,
        animating.programs,
        memory.memory,
        memory.out_of_memory,
        processes.processes,
        machine.no_gpu,
        doors.demo,
        doors.train,
    )
}


def run_here(name: str, device: str) -> Outcome:
    """A check in this process, on the current device. Nothing but its outcome comes out."""
    findings = Findings()
    try:
        FUNCTIONS[name](findings)
    except NotRunError as reason:
        return Outcome(name, NOT_RUN, str(reason), device)
    except Exception as error:
        said = ' '.join(str(error).split())[-300:]
        line = said if isinstance(error, UserError) else f'{type(error).__name__}: {said}'
        log = traceback.format_exc()[-4000:]
        return Outcome(name, FAIL, line, device, 0, tuple(findings.rows), log)
    return outcome_of(name, findings)._replace(device=device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('name', choices=list(FUNCTIONS))
    parser.add_argument('result', type=Path)
    parser.add_argument('--cpu', action='store_true')
    options = parser.parse_args()
    outcome = run_here(options.name, choose_device(options.cpu))
    sys.stdout.flush()
    partial = options.result.with_suffix('.part')  # whole or not at all, if we are killed
    partial.write_text(json.dumps(outcome.as_json()), encoding='utf-8')
    partial.replace(options.result)


if __name__ == '__main__':
    main()
