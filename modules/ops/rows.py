"""Rows of a matrix, which images are when all channels of a pixel lie together."""

import paddle.nn.functional as F
from paddle import Tensor


def take_rows(rows: Tensor, places: Tensor) -> Tensor:
    """The rows at these places, (n, C) and (m,), int32 or int64 -> (m, C).

    `paddle.gather` gives the same, on a single thread; a table of embeddings is read on all.
    """
    return F.embedding(places, rows)
