"""What some tests need."""

import paddle
import pytest

needs_onednn = pytest.mark.skipif(
    not paddle.base.core.is_compiled_with_mkldnn(), reason='this Paddle has no oneDNN'
)
