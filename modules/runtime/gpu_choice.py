"""What several processes compute on: GPUs by number, or the CPU."""

import os
import re

from modules.runtime.children import ChildDiedError, call_apart, close_children
from modules.runtime.errors import UserError
from modules.runtime.gpu import driver_version, why_no_gpu


def find_gpus(device: str) -> list[str]:
    """The GPUs that --device asks for, by what CUDA_VISIBLE_DEVICES calls them; none for the CPU.

    Args:
        device: auto, cpu, gpu (all of them), or gpu:0,2 (some, by number).

    Raises:
        UserError: no such device.
    """
    if device == 'cpu' or (device == 'auto' and driver_version() is None):
        return []
    chosen = re.fullmatch(r'gpu(?::(\d+(?:,\d+)*))?', device)
    if chosen is None and device != 'auto':
        raise UserError(f'--device {device}: give auto, cpu, gpu, or some GPUs such as gpu:0,1')
    names, why = _visible()
    if device == 'auto':
        return names
    assert chosen is not None
    if not names:
        raise UserError(f'--device {device}: {why}')
    if chosen[1] is None:
        return names
    numbers = list(dict.fromkeys(map(int, chosen[1].split(','))))
    absent = [number for number in numbers if number >= len(names)]
    if absent:
        raise UserError(
            f'--device {device}: there is no GPU {absent[0]}, only 0 to {len(names) - 1}'
        )
    return [names[number] for number in numbers]


def _visible() -> tuple[list[str], str]:
    """Names of the GPUs that Paddle sees, and why there are none. Paddle is asked in a process of
    its own, for those that compute are told what they may see before they start it.
    """
    try:
        count, cuda = call_apart(_ask_paddle)
    except ChildDiedError as error:
        raise UserError(f'PaddlePaddle does not start ({error}); take --device cpu') from error
    finally:
        close_children()
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if cuda is None:
        return [], 'this PaddlePaddle is for the CPU; install the one of requirements.txt'
    if count == 0:
        return [], f'this PaddlePaddle sees no GPU: {why_no_gpu(visible, driver_version(), cuda)}'
    if visible is None:
        return list(map(str, range(count))), ''
    return [name.strip() for name in visible.split(',')][:count], ''


def _ask_paddle() -> tuple[int, str | None]:
    import paddle

    if not paddle.is_compiled_with_cuda():
        return 0, None
    return paddle.device.cuda.device_count(), paddle.version.cuda()
