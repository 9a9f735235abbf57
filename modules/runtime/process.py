"""Where the process is set up: threads, warnings, device and seed. Layers never ask where they are.

Import this module, and call `prepare_process`, before Paddle is imported: Paddle reads its
environment once.
"""

import os
import signal
import sys
import warnings
from typing import List

# As the user has set it; Paddle, once imported, puts a 1 where nothing was.
_CHOSEN_THREADS = None if 'paddle' in sys.modules else os.environ.get('OMP_NUM_THREADS')


def prepare_process() -> None:
    """Uses every core this process may have, unless OMP_NUM_THREADS says otherwise.

    SIGTERM and SIGHUP end the process as an exception does, so that nothing half written stays
    behind; Paddle alone would print a trace and leave it there.
    """
    for message in ('No ccache found', "Tensor do not have 'place'"):  # Paddle's, about compiling
        warnings.filterwarnings('ignore', message=message)
    os.environ.setdefault('GLOG_minloglevel', '1')  # no notes of Paddle's about compiled programs
    if _is_amd():
        # The bundled matrix library takes a slow path on AMD unless told that AVX2 is there.
        os.environ.setdefault('MKL_DEBUG_CPU_TYPE', '5')
    import paddle

    paddle.disable_signal_handler()
    for number in ending_signals():
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    if _CHOSEN_THREADS is None:  # Paddle would set one thread
        paddle.base.core.set_num_threads(available_cores())


def num_threads() -> int:
    """Threads of an operation: every core, unless OMP_NUM_THREADS says otherwise."""
    chosen = (_CHOSEN_THREADS or '').split(',')[0]
    return int(chosen) if chosen.isdigit() and int(chosen) else available_cores()


def ending_signals() -> List[int]:
    """Signals that ask to end, beside SIGINT: SIGTERM, and SIGHUP unless it is ignored (nohup)."""
    hangup = getattr(signal, 'SIGHUP', None)  # none on Windows
    if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, hangup]


def available_cores() -> int:
    """Cores this process may use (its affinity mask, where the system has one)."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_device(cpu: bool) -> str:
    """Selects the GPU of this process where Paddle has one, else (or with `cpu`) the CPU.

    Returns:
        'cpu', 'gpu:0', ...
    """
    import paddle

    use_gpu = not cpu and paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    paddle.set_device('gpu' if use_gpu else 'cpu')
    return paddle.device.get_device()


def seed_everything(seed: int) -> None:
    """Seeds the initial weights; data order and noise have generators of their own."""
    import paddle

    paddle.seed(seed)


def _is_amd() -> bool:
    return 'AuthenticAMD' in describe_cpu()


def describe_cpu() -> str:
    """What Linux says of the first core: maker, model and instruction sets; else ''."""
    try:
        with open('/proc/cpuinfo', encoding='ascii', errors='replace') as file:
            lines = file.read().split('\n\n')[0].splitlines()
    except OSError:
        return ''
    changing = ('cpu MHz', 'bogomips', 'processor', 'apicid', 'initial apicid', 'core id')
    return '\n'.join(line for line in lines if line.split('\t')[0] not in changing)
