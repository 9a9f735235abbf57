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
    """What computes the networks of an animation. Keypoints are in float32.

    Attributes:
        batch: of how many frames a run is, at most.
    """

    name: str
    batch: int

    def detect(self, image: Tensor) -> Keypoints:
        """(B, C, H, W) in [0, 1], B at most `batch` -> keypoints."""

    def encode(self, image: Tensor, kp_source: Keypoints) -> Any:
        """What depends on the source alone, (1, C, H, W), for `decode`."""

    def decode(
        self, source: Any, kp_driving: Keypoints, kp_source: Keypoints, with_deformed: bool = False
    ) -> Generated:
        """The source, from `encode`, in each of B driving poses, B at most `batch`."""


class EagerEngine:
    """The networks themselves, operation by operation: the reference.

    Args:
        models: networks with trained weights; they are switched to eval mode.
        dtype: of the generator on GPUs: 'float32', 'bfloat16' or 'float16'.
        batch: of how many frames a run is, at most.
    """

    name = 'eager'

    def __init__(self, models: Models, dtype: str = 'float32', batch: int = 1):
        models.eval()
        self.models = models
        self.dtype = dtype
        self.batch = batch

    def detect(self, image: Tensor) -> Keypoints:
        """(B, C, H, W) in [0, 1] -> keypoints."""
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
        """The source in each driving pose."""
        with autocast(self.dtype):
            generated = self.models.generator.decode(source, kp_driving, kp_source, with_deformed)
        if self.dtype == 'float32':
            return generated
        return Generated(*(part if part is None else part.astype('float32') for part in generated))


def as_engine(models: Models | Engine) -> Engine:
    """An engine as it is; networks alone are computed eagerly."""
    return models if isinstance(models, Engine) else EagerEngine(models)
