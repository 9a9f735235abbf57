"""Pictures of what the networks do, laid out as the official visualiser does."""

from collections.abc import Callable

import numpy as np
from paddle import Tensor
from skimage.draw import disk

from modules.generator import Generated
from modules.runtime.errors import UserError
from modules.util import Keypoints

# The corners of Matplotlib's gist_rainbow: position, red, green, blue.
_GIST_RAINBOW = np.array(
    [
        [0.000, 1, 0, 0.16],
        [0.030, 1, 0, 0],
        [0.215, 1, 1, 0],
        [0.400, 0, 1, 0],
        [0.586, 0, 1, 1],
        [0.770, 0, 0, 1],
        [0.954, 1, 0, 1],
        [1.000, 1, 0, 0.75],
    ]
)


def to_images(tensor: Tensor) -> np.ndarray:
    """(B, C, H, W) -> (B, H, W, 3) float; one channel becomes three equal ones."""
    images = tensor.astype('float32').numpy().transpose(0, 2, 3, 1)
    return np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images


def resize_nearest(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(B, h, w, C) -> (B, *size, C), as F.interpolate(mode='nearest') does."""
    rows = np.arange(size[0]) * images.shape[1] // size[0]
    columns = np.arange(size[1]) * images.shape[2] // size[1]
    return images[:, rows][:, :, columns]


class Visualizer:
    """Draws a grid: a row per sample, a column per stage.

    Args:
        kp_size: radius of a keypoint's dot in pixels.
        draw_border: a white line along the left and the right edge of every picture.
        colormap: of the keypoints; 'gist_rainbow', or any of Matplotlib's where that is installed.
    """

    def __init__(
        self, kp_size: float = 5, draw_border: bool = False, colormap: str = 'gist_rainbow'
    ):
        self.kp_size = kp_size
        self.draw_border = draw_border
        self._matplotlib_map = None if colormap == 'gist_rainbow' else _matplotlib_map(colormap)

    def color(self, share: float) -> np.ndarray:
        """The colour at `share` in [0, 1] of the colour map: (3,) in [0, 1]."""
        if self._matplotlib_map is not None:
            return np.array(self._matplotlib_map(share))[:3]
        position, *channels = _GIST_RAINBOW.T
        return np.array([np.interp(share, position, channel) for channel in channels])

    def draw_keypoints(self, images: np.ndarray, kp_value: Tensor) -> np.ndarray:
        """Dots on (B, H, W, 3) images at keypoints (B, K, 2)."""
        images = images.copy()
        height, width = images.shape[1:3]
        points = np.array([width, height]) * (kp_value.numpy() + 1) / 2
        for image, image_points in zip(images, points):
            for k, (x, y) in enumerate(image_points):
                rows, columns = disk((y, x), self.kp_size, shape=(height, width))
                image[rows, columns] = self.color(k / len(image_points))
        return images

    def column(self, images: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) -> (B * H, W, 3)."""
        if self.draw_border:
            images = images.copy()
            images[:, :, [0, -1]] = 1
        return images.reshape([-1, *images.shape[2:]])

    def visualize(
        self,
        source: Tensor,
        driving: Tensor,
        generated: Generated,
        kp_source: Keypoints,
        kp_driving: Keypoints,
        kp_norm: Keypoints | None = None,
        transformed_frame: Tensor | None = None,
        transformed_kp: Keypoints | None = None,
    ) -> np.ndarray:
        """One picture of a batch.

        Columns: source and driving frame with their keypoints (between them, in training, the
        transformed frame with its own), the deformed source, the prediction (and with `kp_norm`
        before it once more with these keypoints), the occlusion map, then, with
        `generated.sparse_deformed`, for every motion what it does to the source and its mask, and
        at last all masks in the keypoints' colours.

        Returns:
            (B * H, columns * W, 3) uint8.
        """
        source_images, prediction = to_images(source), to_images(generated.prediction)
        size = source_images.shape[1:3]
        columns = [self.draw_keypoints(source_images, kp_source.value)]
        if transformed_frame is not None and transformed_kp is not None:
            columns.append(self.draw_keypoints(to_images(transformed_frame), transformed_kp.value))
        columns.append(self.draw_keypoints(to_images(driving), kp_driving.value))
        if generated.deformed is not None:
            columns.append(to_images(generated.deformed))
        if kp_norm is not None:
            columns.append(self.draw_keypoints(prediction, kp_norm.value))
        columns.append(prediction)
        if generated.occlusion_map is not None:
            columns.append(resize_nearest(to_images(generated.occlusion_map), size))
        if generated.sparse_deformed is not None:
            columns += self._motions(generated.sparse_deformed, generated.mask, size)
        picture = np.concatenate([self.column(images) for images in columns], axis=1)
        return (255 * picture.clip(0, 1)).astype('uint8')

    def _motions(
        self, sparse_deformed: Tensor, masks: Tensor, size: tuple[int, int]
    ) -> list[np.ndarray]:
        """Every motion's image and mask, the background's first, and the sum of the masks."""
        columns: list[np.ndarray] = []
        drawn = self._masks(masks, size)
        for k, mask in enumerate(drawn):
            columns += [resize_nearest(to_images(sparse_deformed[:, k]), size), mask]
        return [*columns, sum(drawn[1:], np.zeros(1))]

    def draw_masks(self, masks: Tensor, size: tuple[int, int]) -> np.ndarray:
        """Masks (B, K + 1, h, w) of the keypoints in their colours, in one: (B, *size, 3) float.

        What moves with the background, the first mask, is black.
        """
        return sum(self._masks(masks, size)[1:], np.zeros(1))

    def _masks(self, masks: Tensor, size: tuple[int, int]) -> list[np.ndarray]:
        """Every mask, the background's white, the keypoints' in their colours: (B, *size, 3)."""
        num_motions = masks.shape[1]
        images = [resize_nearest(to_images(masks[:, k : k + 1]), size) for k in range(num_motions)]
        colors = [self.color(k / (num_motions - 1)) for k in range(num_motions - 1)]
        return [images[0], *(image * color for image, color in zip(images[1:], colors))]


def _matplotlib_map(name: str) -> Callable[[float], tuple[float, ...]]:
    try:
        import matplotlib
    except ImportError as error:
        raise UserError(
            f'visualizer_params.colormap: {name} needs Matplotlib (pip install matplotlib); '
            'gist_rainbow does not'
        ) from error
    try:
        return matplotlib.colormaps[name]
    except KeyError as error:
        raise UserError(f'visualizer_params.colormap: {name} is not in Matplotlib') from error
