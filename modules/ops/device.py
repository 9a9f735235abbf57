"""The one question about the device that operations ask."""

from paddle import Tensor

from modules import test_mode


def rearranges(x: Tensor) -> bool:
    """Whether operations on `x` may be computed in another order.

    What is rewritten gives the same values but for rounding, and is faster with Paddle's CPU
    kernels. Not under a tape, which compares operation by operation.
    """
    return x.place.is_cpu_place() and not test_mode.recording()
