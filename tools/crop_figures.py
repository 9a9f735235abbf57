"""Measures how well `--crop` finds what it is to find, and prints a Markdown table.

    python tools/crop_figures.py
    python tools/crop_figures.py --faces me.jpg clip.mp4

Objects: drawn creatures that no training has seen, at random places and of random sizes in drawn
scenes, found by the bundled networks' keypoints and the first frame of another creature in the same
pose. Faces: those of given pictures or clips, with their surroundings placed in drawn scenes at
random sizes, found by CenterFace. The truth is where the frame was drawn, or the face of the
picture was placed. A box is right from an intersection over union of 0.75.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

import numpy as np
from tqdm import tqdm

from modules.animation.boxes import Box, cut, overlap, square, whole
from modules.animation.faces import FindFaces, face_crop, load_face_detector
from modules.animation.finding import Finder
from modules.animation.inputs import BUNDLED_CHECKPOINT, BUNDLED_CONFIG
from modules.config import load_config
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.runtime.process import prepare_process
from modules.video import first_frame
from modules.video.levels import to_bytes
from tools.creature_drawing.creatures import random_stream
from tools.creature_drawing.placements import SHAPES, SIDES, placements
from tools.creature_drawing.scenes import Scene
from tools.creature_drawing.shapes import SUPERSAMPLING
from tools.markdown import table
from tools.provenance import provenance

CODE = ('modules/animation', 'tools/creature_drawing')  # that is measured
RIGHT = 0.75  # intersection over union
SURROUNDINGS = 2.5  # sides of a face's box that are placed with it


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--cases', type=int, default=200, help='placements of creatures')
    parser.add_argument(
        '--faces', nargs='+', type=Path, default=[], help='pictures or clips with faces'
    )
    parser.add_argument('--placements', type=int, default=30, help='placements of faces')
    parser.add_argument('--seed', type=int, default=0, help='seed: another one gives other places')
    parser.add_argument('--out', type=Path, help='also write the figures as JSON')
    options = parser.parse_args()
    for name, least in (('cases', 0), ('placements', 1), ('seed', 0)):
        if getattr(options, name) < least:
            parser.error(f'--{name} {getattr(options, name)}: give a number of at least {least}')
    if options.cases == 0 and not options.faces:
        parser.error('--cases 0 without --faces: nothing to measure')
    for path in options.faces:
        if not path.exists():
            parser.error(f'--faces {path}: no such file or directory; give pictures or clips')
    return options


def measure_objects(count: int, seed: int) -> Iterator[tuple[float, float]]:
    """The overlap with the truth, and the seconds, of each case."""
    import paddle

    from modules.animation.clip import keypoint_detection
    from modules.checkpoints.models import StoredModels
    from modules.eager import EagerEngine

    config = load_config(BUNDLED_CONFIG)
    models = StoredModels(config, str(BUNDLED_CHECKPOINT)).load()
    size = tuple(config['dataset_params']['frame_shape'][:2])
    paddle.set_device('cpu')
    finder = Finder(keypoint_detection(EagerEngine(models, batch=16)), size)
    for case in tqdm(placements(count, size[0], seed), 'objects', count, disable=None):
        wanted = finder.points(case.driving, whole(case.driving))
        start = time.perf_counter()
        found = finder.find(case.picture, wanted)
        seconds = time.perf_counter() - start
        yield (0.0 if found is None else overlap(found.box, case.box)), seconds


def place_face(picture: np.ndarray, face: Box, rng: np.random.Generator) -> tuple[np.ndarray, Box]:
    """A face with its surroundings somewhere in a drawn scene, and its box there."""
    height, width = SHAPES[rng.integers(len(SHAPES))]
    canvas = Scene.random(rng).canvas(max(height, width)).reduce(SUPERSAMPLING)
    scene = np.array(canvas)[:height, :width]
    inside = whole(picture)
    left, top, w, h = square(face, SURROUNDINGS)
    right, bottom = min(left + w, inside.w), min(top + h, inside.h)
    left, top = max(left, 0), max(top, 0)
    scale = min(height, width) * rng.uniform(*SIDES) / max(right - left, bottom - top)
    shape = max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale))
    part = to_bytes(cut(picture, Box(left, top, right - left, bottom - top), shape))
    y, x = (int(rng.integers(room - side + 1)) for room, side in zip((height, width), shape))
    scene[y : y + shape[0], x : x + shape[1]] = part
    moved = Box(
        (face.x - left) * scale + x, (face.y - top) * scale + y, face.w * scale, face.h * scale
    )
    return scene, moved


def measure_faces(
    paths: Sequence[Path], count: int, seed: int, faces: FindFaces
) -> Iterator[tuple[float, float]]:
    """Likewise for faces, the pictures one after the other."""
    known = []
    for path in paths:
        picture = first_frame(path)
        found = faces(picture)
        if not found:
            raise UserError(f'{path}: has no face that could be found; give another one')
        known.append((picture, found[0].box))
    for index in tqdm(range(count), 'faces', disable=None):
        picture, face = known[index % len(known)]
        scene, moved = place_face(picture, face, random_stream(seed, 'held_out', index))
        start = time.perf_counter()
        found = faces(scene)
        seconds = time.perf_counter() - start
        crop = face_crop(found[0].box) if found else None
        yield (0.0 if crop is None else overlap(crop, face_crop(moved))), seconds


def summary(measured: Sequence[tuple[float, float]]) -> dict[str, float]:
    overlaps, seconds = zip(*measured)
    return {
        'cases': len(measured),
        'right': sum(overlap >= RIGHT for overlap in overlaps) / len(overlaps),
        'median_overlap': statistics.median(overlaps),
        'least_overlap': min(overlaps),
        'median_seconds': statistics.median(seconds),
    }


def crop_rows(figures: dict[str, dict[str, float]]) -> list[tuple[str, ...]]:
    """A row of a table for each kind of thing."""
    return [
        (
            name,
            f'{of_name["cases"]}',
            f'{100 * of_name["right"]:.1f} %',
            f'{of_name["median_overlap"]:.2f}',
            f'{of_name["least_overlap"]:.2f}',
            f'{of_name["median_seconds"]:.2f} s',
        )
        for name, of_name in figures.items()
    ]


def main() -> None:
    options = parse_arguments()
    faces = load_face_detector() if options.faces else None
    prepare_process(cpu=True)
    figures: dict[str, dict[str, Any]] = {}
    if options.cases:
        figures['objects'] = summary(list(measure_objects(options.cases, options.seed)))
    if faces is not None:
        measured = measure_faces(options.faces, options.placements, options.seed, faces)
        figures['faces'] = summary(list(measured))
    header = ('', 'cases', f'overlap of at least {RIGHT}', 'median', 'least', 'time each')
    print(*table(header, crop_rows(figures)), sep='\n')
    if options.out is not None:
        with atomic_output(options.out) as path:
            made = {**provenance(CODE), 'crops': figures}
            path.write_text(json.dumps(made, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    run_command(main)
