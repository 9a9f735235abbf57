"""Several processes that train one model: what they say to each other.

Alone, a process has rank 0 of 1 and nothing here communicates.
"""

import os
from collections.abc import Iterable

import paddle
import paddle.distributed as dist
from paddle import Tensor

from modules.runtime.interfaces import interface_of


def start() -> None:
    """Joins the processes that `python -m paddle.distributed.launch` started, if it did.

    The device must be chosen before.
    """
    if world_size() == 1:
        return
    if paddle.device.get_device() == 'cpu':
        # The launcher chooses by the build and by the GPUs that are there; NCCL would take the
        # work to them.
        os.environ['PADDLE_DISTRI_BACKEND'] = 'gloo'
        _name_interface()
    dist.init_parallel_env()


def _name_interface() -> None:
    """Has gloo take the interface that the launcher has the others call: by itself it takes the one
    of the host's name, which is often the loopback that no other machine reaches.
    """
    endpoints = os.environ.get('PADDLE_TRAINER_ENDPOINTS', '').split(',')
    hosts = {endpoint.rpartition(':')[0] for endpoint in endpoints}
    if len(hosts) > 1 and 'GLOO_SOCKET_IFNAME' not in os.environ:
        own = os.environ.get('PADDLE_CURRENT_ENDPOINT', '').rpartition(':')[0]
        interface = interface_of(own)
        if interface is not None:
            os.environ['GLOO_SOCKET_IFNAME'] = interface


def rank() -> int:
    return dist.get_rank()


def world_size() -> int:
    return dist.get_world_size()


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces each gradient by its mean over the processes, in one message."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = paddle.concat([gradient.flatten() for gradient in gradients])
    flat = summed(flat) / world_size()
    begin = 0
    for gradient in gradients:
        mean = flat[begin : begin + gradient.size]
        gradient.set_value(mean.reshape(gradient.shape))
        begin += gradient.size


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of a tensor of scalars over the processes."""
    if world_size() == 1:
        return values
    return summed(values) / world_size()


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any of the processes: all of them get the same answer."""
    if world_size() == 1:
        return flag
    return summed(paddle.to_tensor([int(flag)])).item() > 0


def summed(values: Tensor) -> Tensor:
    """The sum of a tensor over the processes.

    What has 16 bits is summed in float32: gloo sums float16 wrongly, without an error (3.3.1).
    """
    if values.dtype in (paddle.float16, paddle.bfloat16):
        return summed(values.astype('float32')).astype(values.dtype)
    total = values.clone()
    dist.all_reduce(total)
    return total


def gathered(values: Tensor) -> Tensor:
    """The tensors of all processes: (...) -> (processes, ...)."""
    parts: list[Tensor] = []
    dist.all_gather(parts, values)
    return paddle.stack(parts)
