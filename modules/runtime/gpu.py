"""GPUs: whether this process has one, why not, and what it must do for it.

What decides takes what Paddle and the system say as arguments, so that it can be tried on any
machine. Nothing here imports Paddle before it is called.
"""

import ctypes
import os
from collections.abc import MutableMapping, Sequence
from typing import NamedTuple

from modules.runtime.errors import UserError
from modules.runtime.messages import note

Version = tuple[int, int]  # major, minor


class Lack(NamedTuple):
    """What a PaddlePaddle lacks for a GPU."""

    message: str
    hopeless: bool  # False: its driver may translate programs that were made for older ones


def hide_gpus(environment: MutableMapping[str, str]) -> None:
    """Keeps this process, and those it starts, from every GPU: before Paddle is imported.

    Paddle's generators of random numbers, among others, would have one for each GPU that it sees.
    """
    environment['CUDA_VISIBLE_DEVICES'] = ''
    environment.pop('FLAGS_selected_gpus', None)  # the launcher's, of a GPU that is not there now


def select_gpu() -> bool:
    """Whether Paddle can use a GPU. A GPU build that can't says so, with the likely reason.

    Raises:
        UserError: Paddle holds no programs for it.
    """
    import paddle

    if not paddle.is_compiled_with_cuda():
        return False
    if paddle.device.cuda.device_count() == 0:
        visible = os.environ.get('CUDA_VISIBLE_DEVICES')
        reason = why_no_gpu(visible, driver_version(), paddle.version.cuda())
        note(f'this PaddlePaddle is for GPUs and sees none: {reason}; the CPU is used')
        return False
    paddle.set_device('gpu')
    check_programs()
    # Matrix products are of coordinates here, which TF32 would move by up to a 16th of a pixel.
    paddle.base.core.set_cublas_switch(False)
    return True


def why_no_gpu(visible: str | None, driver: Version | None, cuda: str) -> str:
    """The likely reason.

    Args:
        visible: the environment variable CUDA_VISIBLE_DEVICES; None where it is not set.
        driver: the newest CUDA that the driver serves, as `driver_version` gives it.
        cuda: what PaddlePaddle was built for, such as '12.6'.
    """
    if visible is not None and not visible.strip(' \'"'):
        return 'CUDA_VISIBLE_DEVICES is empty; unset it'
    if visible is not None and visible.strip(' \'"').startswith('-'):
        return f'CUDA_VISIBLE_DEVICES is {visible}, which hides all; unset it'
    if driver is None:
        return "there is no NVIDIA driver (a container needs the host's: docker run --gpus all)"
    if driver[0] < int(cuda.partition('.')[0]):
        return (
            f'the NVIDIA driver serves CUDA {driver[0]}.{driver[1]} and older, and it was built '
            f'for {cuda}; update the driver'
        )
    if visible is not None:
        return f'CUDA_VISIBLE_DEVICES is {visible}, which names none of this machine; unset it'
    return 'its driver shows none; nvidia-smi may tell more'


def driver_version() -> Version | None:
    """The newest CUDA that the NVIDIA driver serves; None without a driver. Starts no GPU."""
    for name in ('libcuda.so.1', 'nvcuda.dll'):
        try:
            library, number = ctypes.CDLL(name), ctypes.c_int()
            if library.cuDriverGetVersion(ctypes.byref(number)) == 0 and number.value:
                return number.value // 1000, number.value % 1000 // 10
        except (OSError, AttributeError):
            continue
    return None


def check_programs() -> None:
    """Finds out, before any work, whether Paddle has programs for the current GPU.

    Raises:
        UserError: it has none.
    """
    import paddle

    lack = lack_of_programs(
        paddle.device.cuda.get_device_name(),
        paddle.device.cuda.get_device_capability(),
        paddle.version.cuda_archs(),
    )
    if lack is None:
        return
    if lack.hopeless:
        raise UserError(f'{lack.message}: install a PaddlePaddle that has them, or add --cpu')
    note(f'{lack.message}, so that it may fail; a PaddlePaddle for a newer CUDA may have them')
    try:
        (paddle.ones([2]) + 1).numpy()
    except Exception as error:  # of whatever kind: it is the first thing that is computed
        raise UserError(
            f'{lack.message}: install a PaddlePaddle for a newer CUDA, or add --cpu '
            f'({" ".join(str(error).split())[:200]})'
        ) from error


def lack_of_programs(name: str, capability: Version, archs: Sequence[int]) -> Lack | None:
    """What is missing for a GPU; None if nothing is.

    A program runs on GPUs of its own major version and the same or a later minor one.

    Args:
        name: of the GPU.
        capability: its compute capability.
        archs: those that PaddlePaddle was built for, as paddle.version.cuda_archs() gives them:
            [80, 86] for 8.0 and 8.6; empty if that is not known.
    """
    built = sorted({divmod(arch, 10) for arch in archs})
    major, minor = capability
    if not built or any(arch[0] == major and arch[1] <= minor for arch in built):
        return None
    has = ', '.join(f'{arch[0]}.{arch[1]}' for arch in built)
    message = (
        f'{name} has compute capability {major}.{minor}, for which this PaddlePaddle holds no '
        f'programs (it has {has})'
    )
    return Lack(message, hopeless=(major, minor) < built[0])


def switch_tf32_off() -> None:
    """Has GPUs multiply float32 numbers as they are, for comparisons with other machines.

    Else cuBLAS and cuDNN may round factors to 11 significant bits (TF32). Paddle's switches are for
    its own calls; the variable is read by NVIDIA's libraries when they start, so that whatever
    Paddle asks for comes out whole.
    """
    import paddle

    os.environ['NVIDIA_TF32_OVERRIDE'] = '0'
    paddle.base.core.set_cublas_switch(False)
    paddle.base.core.set_cudnn_switch(False)
