"""Where the process is set up: threads, warnings and device. Layers never ask where they are.

Import this module, and call `prepare_process`, before Paddle is imported: Paddle reads its
environment once.
"""

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator

from modules.runtime import signals
from modules.runtime.cgroups import cpu_quota
from modules.runtime.errors import UserError
from modules.runtime.gpu import hide_gpus, select_gpu
from modules.runtime.user_cache import lend_home


def _chosen_threads() -> str | None:
    """OMP_NUM_THREADS as the user has set it.

    Paddle, once imported, puts a 1 where nothing was. Its launcher hands that on to the processes
    that it starts.
    """
    chosen = os.environ.get('OMP_NUM_THREADS')
    if chosen != '1':
        return chosen
    if 'PADDLE_LOCAL_SIZE' in os.environ:
        with contextlib.suppress(OSError), open(f'/proc/{os.getppid()}/environ', 'rb') as file:
            # As the launcher itself was started.
            return chosen if b'OMP_NUM_THREADS=1' in file.read().split(b'\0') else None
    return None if 'paddle' in sys.modules else chosen


_CHOSEN_THREADS = _chosen_threads()


def prepare_process(cpu: bool = False) -> None:
    """Uses every core this process may have, unless OMP_NUM_THREADS says otherwise.

    SIGTERM and SIGHUP end it as `end_by_exception` says; Paddle alone would print a trace and leave
    behind what is half written.

    Args:
        cpu: no GPU is touched, by this process or by what it starts.
    """
    if cpu:
        hide_gpus(os.environ)
    _prepare_paddle()
    import paddle

    paddle.disable_signal_handler()
    end_by_exception()


def end_by_exception() -> None:
    """SIGTERM and SIGHUP end the process as an exception does, so that nothing half written stays
    behind.
    """
    for number in ending_signals():
        signal.signal(number, signals.end)


def prepare_library(cpu: bool = False) -> None:
    """What a program of somebody else's needs, whose signals, GPUs and choice of a device are its
    own: threads, and GPUs that compute coordinates exactly.

    Args:
        cpu: switch Paddle to the CPU.

    Raises:
        UserError: Paddle has no programs for the GPU that is chosen.
    """
    _prepare_paddle()
    import paddle

    device = paddle.device.get_device()
    if cpu:
        paddle.set_device('cpu')
    elif device != 'cpu':
        select_gpu()
        paddle.set_device(device)


def _prepare_paddle() -> None:
    for message in ('No ccache found', "Tensor do not have 'place'"):  # Paddle's, about compiling
        warnings.filterwarnings('ignore', message=message)
    # Errors alone: notes about compiled programs and the GPU, and warnings of an exception that is
    # on its way anyhow, say nothing that our own lines don't.
    os.environ.setdefault('GLOG_minloglevel', '2')
    if 'AuthenticAMD' in describe_cpu():
        # The bundled matrix library takes a slow path on AMD unless told that AVX2 is there.
        os.environ.setdefault('MKL_DEBUG_CPU_TYPE', '5')
    lend_home()
    import paddle

    if _CHOSEN_THREADS is None:  # Paddle would set one thread
        paddle.base.core.set_num_threads(cores_of_process())


def num_threads() -> int:
    """Threads of an operation: every core it has, unless OMP_NUM_THREADS says otherwise."""
    chosen = (_CHOSEN_THREADS or '').split(',')[0]
    return int(chosen) if chosen.isdigit() and int(chosen) else cores_of_process()


def ending_signals() -> list[int]:
    """Signals that ask to end, beside SIGINT: SIGTERM, and SIGHUP unless it is ignored (nohup)."""
    hangup = getattr(signal, 'SIGHUP', None)  # none on Windows
    if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, hangup]


def available_cores() -> int:
    """Cores this process may use: by its affinity mask and its container's quota, where there are
    such things.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    return min(cores, cpu_quota() or cores)


def local_processes() -> int:
    """How many processes of this machine work together: as many as Paddle's launcher started."""
    count = os.environ.get('PADDLE_LOCAL_SIZE', '')
    return max(1, int(count)) if count.isdigit() else 1


@contextlib.contextmanager
def users_environment() -> Iterator[None]:
    """What is started within the block has OMP_NUM_THREADS as the user has set it, whatever Paddle
    has made of it.
    """
    there = os.environ.get('OMP_NUM_THREADS')
    if _CHOSEN_THREADS is None:
        os.environ.pop('OMP_NUM_THREADS', None)
    try:
        yield
    finally:
        if there is not None:
            os.environ['OMP_NUM_THREADS'] = there


def refuse_launcher(command: str) -> None:
    """For a command that starts its processes itself, by --processes.

    Raises:
        UserError: it is one of several that Paddle's launcher has started.
    """
    count = os.environ.get('PADDLE_TRAINERS_NUM', '')
    if count.isdigit() and int(count) > 1:
        raise UserError(
            f'paddle.distributed.launch is for train.py; start {command} by itself, with '
            f'--processes {count}'
        )


def cores_of_process() -> int:
    """The share of the cores that this one of the local processes has, at least one."""
    return max(1, available_cores() // local_processes())


def choose_device(cpu: bool) -> str:
    """Selects the GPU of this process where Paddle has one, else (or with `cpu`) the CPU.

    Returns:
        'cpu', 'gpu:0', ...

    Raises:
        UserError: Paddle has no programs for that GPU.
    """
    import paddle

    if cpu or not select_gpu():
        paddle.set_device('cpu')
    return paddle.device.get_device()


def describe_cpu() -> str:
    """What Linux says of the first core: maker, model and instruction sets; else ''."""
    try:
        with open('/proc/cpuinfo', encoding='ascii', errors='replace') as file:
            lines = file.read().split('\n\n')[0].splitlines()
    except OSError:
        return ''
    changing = ('cpu MHz', 'bogomips', 'processor', 'apicid', 'initial apicid', 'core id')
    return '\n'.join(line for line in lines if line.split('\t')[0] not in changing)


def has_instructions(*names: str) -> bool:
    """Whether the CPU has one of these instruction sets, by Linux's names."""
    return not set(names).isdisjoint(describe_cpu().split())


def has_bf16() -> bool:
    """Whether the CPU has instructions for bfloat16."""
    return has_instructions('avx512_bf16', 'amx_bf16')
