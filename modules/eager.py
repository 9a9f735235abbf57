"""The networks as an engine: what computes an animation, operation by operation, the reference.

Compiled engines (modules/inference/) answer to the same methods.
"""

from typing import Any, Protocol, runtime_checkable

from paddle import Tensor

from modules.build import Models
from modules.generator import EncodedSource, Generated
from modules.ops.precision import autocast
from modules.util import Keypoints


@runtime_checkable
class Engine(Protocol):
    """What computes the networks of an animation, for batches of one. Keypoints are in float32."""

    name: str

    def detect(self, image: Tensor) -> Keypoints:
        """(1, C, H, W) in [0, 1] -> keypoints."""

    def encode(self, image: Tensor, kp_source: Keypoints) -> Any:
        """What depends on the source alone, for `decode`."""

    def decode(
        self, source: Any, kp_driving: Keypoints, kp_source: Keypoints, with_deformed: bool = False
    ) -> Generated:
        """The source, from `encode`, in the driving pose."""


class EagerEngine:
    """The networks themselves, operation by operation: the reference.

    Args:
        models: networks with trained weights; they are switched to eval mode.
        dtype: of the generator on GPUs: 'float32', 'bfloat16' or 'float16'.
    """

    name = 'eager'

    def __init__(self, models: Models, dtype: str = 'float32'):
        models.eval()
        self.models = models
        self.dtype = dtype

    def detect(self, image: Tensor) -> Keypoints:
        """(1, C, H, W) in [0, 1] -> keypoints."""
        return self.models.kp_detector(image)

    def encode(self, image: Tensor, kp_source: Keypoints) -> EncodedSource:
        """What depends on the source alone, for `decode`."""
        with autocast(self.dtype):
            return self.models.generator.encode(image)

    def decode(
        self,
        source: EncodedSource,
        kp_driving: Keypoints,
        kp_source: Keypoints,
        with_deformed: bool = False,
    ) -> Generated:
        """The source in the driving pose."""
        with autocast(self.dtype):
            generated = self.models.generator.decode(source, kp_driving, kp_source, with_deformed)
        if self.dtype == 'float32':
            return generated
        return Generated(*(part if part is None else part.astype('float32') for part in generated))


def as_engine(models: Models | Engine) -> Engine:
    """An engine as it is; networks alone are computed eagerly."""
    return models if isinstance(models, Engine) else EagerEngine(models)
