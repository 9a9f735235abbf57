"""Linear algebra of the local affine maps."""

import paddle
from paddle import Tensor


def inverse_2x2(matrices: Tensor) -> Tensor:
    """The inverses of 2x2 matrices, in closed form: (..., 2, 2) -> (..., 2, 2).

    A library's inverse raises where a single matrix of a batch is singular, and on GPUs waits for
    the device to find that out. Here a singular matrix (determinant 0) gets its Moore-Penrose
    pseudo-inverse, that of zeros being zeros, and finite gradients: one frame or one sample whose
    local map collapses ends neither an animation nor a training. What is not finite stays so.

    It is computed in float64, where products of float32 numbers are exact: the determinant is 0
    for singular matrices alone, and cancellation costs no digits.
    """
    flat = matrices.astype('float64').flatten(-2)
    a, b, c, d = (flat[..., n : n + 1] for n in range(4))  # (..., 1)
    determinant = a * d - b * c
    singular = determinant == 0
    adjugate = paddle.concat([d, -b, -c, a], axis=-1)  # (..., 4)
    transposed = paddle.concat([a, c, b, d], axis=-1)
    # Of rank 1 the pseudo-inverse is the transposed matrix over the sum of its squares.
    divisor = paddle.where(singular, a * a + b * b + c * c + d * d, determinant)
    divisor = paddle.where(divisor == 0, paddle.ones_like(divisor), divisor)
    inverses = paddle.where(singular, transposed, adjugate) / divisor
    return inverses.reshape(matrices.shape).astype(matrices.dtype)
