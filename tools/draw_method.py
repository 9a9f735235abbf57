"""Draws the figures of doc/method.md: what the bundled networks compute, step by step.

    python tools/draw_method.py --out doc/method

The picture and a frame of the clip of doc/demo go through the networks as `demo.py --relative`
sends them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from modules.animation.inputs import BUNDLED, BUNDLED_CONFIG
from modules.config import load_config
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.runtime.process import choose_device, prepare_process
from modules.video import VideoReader, read_image, write_picture
from modules.video.levels import to_bytes, to_float

GAP, TITLE = 6, 18  # pixels
INK = (40, 40, 40)
AXIS = 0.07  # length of a Jacobian's axes, of the frame's half width


class Steps(NamedTuple):
    """What the networks compute for one frame; tensors with a batch of one."""

    source: Any
    driving: Any
    initial: Any  # the clip's first frame
    kp_source: Any
    kp_driving: Any
    kp_norm: Any  # of the driving frame, carried over to the source
    heatmaps: Any  # (1, K, h, w), of the driving frame
    motion: Any  # DenseMotion
    differences: Any  # (1, K + 1, 1, h, w): the heatmaps that the dense motion network sees
    generated: Any


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        '--out', type=Path, required=True, metavar='FOLDER', help='made if it is not there'
    )
    parser.add_argument('--frame', type=int, default=12, help='frame of the clip, counted from 0')
    return parser.parse_args()


def compute(models: Any, frames: Sequence[np.ndarray]) -> Steps:
    """
    Args:
        frames: source, driving frame, first frame of the clip: (H, W, 3) uint8.
    """
    import paddle
    import paddle.nn.functional as F

    from modules.animation.normalization import Normalization, normalize_kp

    detector, generator = models.kp_detector, models.generator
    source, driving, initial = (
        paddle.to_tensor(to_float(frame)).transpose([2, 0, 1]).unsqueeze(0) for frame in frames
    )
    with paddle.no_grad():
        kp_source, kp_driving, kp_initial = map(detector, (source, driving, initial))
        kp_norm = normalize_kp(kp_source, kp_driving, kp_initial, Normalization(True, True))
        maps = detector.kp(detector.predictor(detector.down(driving)))  # (1, K, h, w)
        heatmaps = F.softmax(maps.flatten(2) / detector.temperature, axis=2).reshape(maps.shape)
        dense = generator.dense_motion_network
        reduced = dense.reduce(source)
        motion = dense(reduced, kp_norm, kp_source)
        differences = dense.heatmap_representations(reduced.shape[2:], kp_norm, kp_source)
        generated = generator(source, kp_norm, kp_source)
    found = kp_source, kp_driving, kp_norm
    return Steps(source, driving, initial, *found, heatmaps, motion, differences, generated)


# ---- pictures ----


def picture_of(tensor: Any, side: int) -> np.ndarray:
    """(1, C, h, w) in [0, 1] -> (side, side, 3) uint8; one channel becomes three."""
    image = to_bytes(tensor.numpy()[0].transpose(1, 2, 0).clip(0, 1))
    if image.shape[2] == 1:
        image = image.repeat(3, axis=2)
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def heat(values: np.ndarray, side: int) -> np.ndarray:
    """(h, w) in [-1, 1] -> (side, side, 3): red above 0, blue below, white at 0."""
    large = Image.fromarray(values.astype(np.float32)).resize(
        (side, side), Image.Resampling.NEAREST
    )
    scaled = np.asarray(large)[..., None]
    red, blue = np.array([200, 30, 40]), np.array([30, 70, 200])
    away = np.where(scaled > 0, red, blue)
    return np.rint(255 + (away - 255) * np.abs(scaled).clip(0, 1)).astype(np.uint8)


def with_keypoints(image: np.ndarray, kp: Any, colours: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Each keypoint with the ellipse and the axes that its Jacobian makes of a circle and its
    axes.
    """
    scale, side = 3, image.shape[0]  # drawn larger, and shrunk, so that lines are smooth
    large = Image.fromarray(image).resize((scale * side,) * 2, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(large)
    angles = np.linspace(0, 2 * np.pi, 49)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def pixels(points: np.ndarray) -> list[tuple[float, float]]:
        return [tuple(point) for point in (points + 1) / 2 * (scale * side - 1)]

    for value, jacobian, colour in zip(kp.value.numpy()[0], kp.jacobian.numpy()[0], colours):
        draw.line(pixels(value + AXIS / 2 * circle @ jacobian.T), fill=colour, width=scale)
        for axis in np.eye(2):
            draw.line(pixels(value + np.outer([0, AXIS], jacobian @ axis)), fill=colour, width=3)
        x, y = pixels(value[None])[0]
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), fill=colour, outline=(255, 255, 255), width=2)
    return np.asarray(large.resize((side, side), Image.Resampling.LANCZOS))


def grid_of(deformation: np.ndarray, side: int) -> np.ndarray:
    """Where the points of a regular grid are taken from in the source: (h, w, 2) -> a picture."""
    scale, step = 3, max(1, deformation.shape[0] // 21)
    large = Image.new('RGB', (scale * side,) * 2, (255, 255, 255))
    draw = ImageDraw.Draw(large)
    points = (deformation[::step, ::step] + 1) / 2 * (scale * side - 1)
    for line in (*points, *points.transpose(1, 0, 2)):
        draw.line([tuple(point) for point in line], fill=(60, 90, 170), width=scale)
    return np.asarray(large.resize((side, side), Image.Resampling.LANCZOS))


def sheet(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> np.ndarray:
    """Pictures of one size with their titles, in rows."""
    side = rows[0][0][1].shape[0]
    width = max(map(len, rows)) * (side + GAP) + GAP
    height = len(rows) * (side + GAP + TITLE) + GAP
    page = Image.new('RGB', (width, height), (255, 255, 255))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=12)
    for i, row in enumerate(rows):
        for j, (title, image) in enumerate(row):
            left, top = GAP + j * (side + GAP), GAP + i * (side + GAP + TITLE)
            draw.text((left, top), title, fill=INK, font=font)
            page.paste(Image.fromarray(image), (left, top + TITLE))
            edge = left - 1, top + TITLE - 1, left + side, top + TITLE + side
            draw.rectangle(edge, outline=(200, 200, 200))
    return np.asarray(page)


# ---- figures ----


def keypoints_figure(steps: Steps, colours: Sequence[tuple[int, ...]]) -> np.ndarray:
    side = 256
    shown = (
        ('source', steps.source, steps.kp_source),
        ('driving frame', steps.driving, steps.kp_driving),
        ("prediction, and the source's keypoints moved", steps.generated.prediction, steps.kp_norm),
    )
    return sheet(
        [
            [
                (title, with_keypoints(picture_of(image, side), kp, colours))
                for title, image, kp in shown
            ]
        ]
    )


def heatmaps_figure(steps: Steps) -> np.ndarray:
    side, maps = 116, steps.heatmaps.numpy()[0]
    tiles = [(f'keypoint {k}', heat(one / one.max(), side)) for k, one in enumerate(maps)]
    half = (len(tiles) + 1) // 2
    return sheet([tiles[:half], tiles[half:]])


def motions_figure(steps: Steps) -> np.ndarray:
    """For each motion: the heatmap, the source that it deforms, and its mask."""
    side, motion = 84, steps.motion
    titles = ['still', *(f'{k}' for k in range(motion.mask.shape[1] - 1))]
    rows = (
        [heat(one[0], side) for one in steps.differences.numpy()[0]],
        [picture_of(motion.sparse_deformed[:, k], side) for k in range(len(titles))],
        [heat(one, side) for one in motion.mask.numpy()[0]],
    )
    return sheet(
        [list(zip(titles if i == 0 else [''] * len(titles), row)) for i, row in enumerate(rows)]
    )


def painting_figure(steps: Steps) -> np.ndarray:
    side = 190
    generated = steps.generated
    seen = generated.occlusion_map
    least = float(seen.min())
    stretched = (seen - least) / (1 - least)
    return sheet(
        [
            [
                ('dense motion', grid_of(steps.motion.deformation.numpy()[0], side)),
                ('deformed source', picture_of(generated.deformed, side)),
                (
                    f'occlusion map, {least:.2f} to 1',
                    picture_of(stretched, side),
                ),
                ('prediction', picture_of(generated.prediction, side)),
            ]
        ]
    )


def equivariance_figure(
    models: Any, steps: Steps, colours: Sequence[tuple[int, ...]]
) -> np.ndarray:
    """A frame, the frame seen through a random map T, and keypoints found and mapped back."""
    import paddle

    from modules.transform import Transform
    from modules.util import Keypoints

    side = 256
    transform = Transform.random(np.random.default_rng(5), 1, 0.07, 0.007, 5)
    with paddle.no_grad():
        seen = transform.transform_frame(steps.driving, True)
        found = models.kp_detector(seen)
        jacobian = transform.jacobian(found.value) @ found.jacobian
        back = Keypoints(transform.warp_coordinates(found.value), jacobian)
    shown = (
        ('driving frame: keypoints found', steps.driving, steps.kp_driving),
        ('seen through T: keypoints found', seen, found),
        ('driving frame: those, mapped by T', steps.driving, back),
    )
    return sheet(
        [
            [
                (title, with_keypoints(picture_of(image, side), kp, colours))
                for title, image, kp in shown
            ]
        ]
    )


def main() -> None:
    options = parse_arguments()
    prepare_process(cpu=True)
    choose_device(cpu=True)
    from modules.checkpoints.models import StoredModels
    from modules.visualizer import Visualizer

    models = StoredModels(load_config(BUNDLED_CONFIG)).load()
    models.eval()
    with VideoReader(BUNDLED / 'driving.mp4') as reader:
        clip = list(reader)
    if not 0 <= options.frame < len(clip):
        raise UserError(f'--frame {options.frame}: give a number from 0 to {len(clip) - 1}')
    steps = compute(models, (read_image(BUNDLED / 'source.png'), clip[options.frame], clip[0]))
    count = steps.kp_source.value.shape[1]
    visualizer = Visualizer()
    colours = [tuple(int(255 * c) for c in visualizer.color(k / count)) for k in range(count)]
    figures = {
        'keypoints.jpg': keypoints_figure(steps, colours),
        'heatmaps.png': heatmaps_figure(steps),
        'motions.jpg': motions_figure(steps),
        'painting.jpg': painting_figure(steps),
        'equivariance.jpg': equivariance_figure(models, steps, colours),
    }
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f'{options.out}: is no folder; choose another name')
    options.out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        with atomic_output(options.out / name) as path:
            write_picture(path, figure)
    print(f'written: {", ".join(str(options.out / name) for name in figures)}')


if __name__ == '__main__':
    run_command(main)
