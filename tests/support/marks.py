"""What some tests need."""

import paddle
import pytest

from modules.runtime.process import has_instructions

needs_onednn = pytest.mark.skipif(
    not paddle.base.core.is_compiled_with_mkldnn(), reason='this Paddle has no oneDNN'
)
# Where oneDNN computes in bfloat16, be it by emulation; elsewhere it ends the process.
needs_bfloat16 = pytest.mark.skipif(
    not (paddle.base.core.is_compiled_with_mkldnn() and has_instructions('avx512bw')),
    reason='oneDNN has no bfloat16 for this CPU',
)
