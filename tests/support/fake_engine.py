"""An engine that tells by its results what it was given."""

import threading

import numpy as np
import paddle

from modules.generator import Generated
from modules.util import Keypoints

SIZE = 8, 8
CORNERS = np.array([[0, 0], [0.25, 0], [0, 0.25]], 'float32')


def plain(level, size=(12, 16)):
    """A frame of one level."""
    return np.full((*size, 3), level, 'uint8')


class FakeEngine:
    """Of a frame's mean level on the left, L, it makes keypoints at L / 255, of a pose and a source
    a picture of the level at which the pose is.

    Attributes:
        go: cleared, a frame's keypoints wait for it.
        waiting: set while they do.
        detected: the levels that were looked at, one after another.
    """

    name, batch = 'fake', 1

    def __init__(self):
        self.go, self.waiting = threading.Event(), threading.Event()
        self.go.set()
        self.detected, self.encoded = [], 0

    def detect(self, image):
        level = float(image[:, :, :, : image.shape[3] // 2].mean())
        self.detected.append(round(level * 255))
        self.waiting.set()
        assert self.go.wait(10)
        self.waiting.clear()
        return Keypoints(
            paddle.to_tensor(CORNERS[None] + np.float32(level)),
            paddle.eye(2).expand([1, 3, 2, 2]),
        )

    def encode(self, image, kp_source):
        self.encoded += 1
        return image

    def decode(self, source, kp_driving, kp_source, with_deformed=False):
        level = kp_driving.value[0, 0, 0].clip(0, 1)
        prediction = paddle.ones([1, 3, *SIZE]) * level
        return Generated(prediction, None, None, None, None)
