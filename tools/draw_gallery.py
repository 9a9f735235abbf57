"""Draws what doc/gallery.md needs: its pictures and clips, and the strips of its results.

    python tools/draw_gallery.py inputs things
    python tools/draw_gallery.py strips doc/gallery

`inputs` writes drawn creatures in many situations, and a photograph that is in the public domain.
`strips` runs each command of doc/gallery.md that stands before one of its pictures, and draws that
picture: the source, and below frames of the clip the same frames of the result.
"""

import argparse
import itertools
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont

from modules.animation.boxes import Box
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.video import VideoReader, read_image, write_picture, write_video
from tools.creature_drawing.creatures import (
    Creature,
    HeldOutCase,
    held_out_cases,
    posed_layers,
    random_stream,
)
from tools.creature_drawing.motion import Motion
from tools.creature_drawing.phone_clips import write_phone_clip
from tools.creature_drawing.placements import draw_placed, moved
from tools.creature_drawing.shapes import canvas, paint

DOCUMENT = ROOT / 'doc' / 'gallery.md'
SIZE, FRAMES, FPS = 128, 24, 25  # of the clips
# Numbers of held-out cases: creatures and motions that the bundled networks have never seen.
TROT, LEAP = 0, 3
SCENE = (240, 320)  # (H, W)
TILE, GAP, SHOWN = 112, 4, 4  # pixels of a picture in a strip; how many frames it shows


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('what', choices=('inputs', 'strips'), help='what to draw')
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='made if it is not there')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='draw only these strips')
    return parser.parse_args()


# ---- inputs ----


def write_case(folder: Path, name: str, case: HeldOutCase) -> None:
    write_picture(folder / f'{name}.png', case.clip[0])
    write_video(folder / f'{name}.mp4', case.driving, FPS)


def creature_of(number: int) -> tuple[Creature, Motion]:
    """The animated creature of a held-out case, and its motion."""
    rng = random_stream(0, 'held_out', number)
    motion = Motion.random(rng)
    return Creature.random(rng), motion


def two_creatures() -> np.ndarray:
    """(H, W, 3): the creatures of two cases beside each other."""
    size, layers = max(SCENE), []
    for number, left in ((TROT, 0), (1, 160)):
        creature, motion = creature_of(number)
        scale, shift = 159 / (size - 1), np.array([left, 50]) / (size - 1)
        layers += [moved(layer, scale, shift) for layer in posed_layers(creature, motion, [0])]
    background = creature_of(TROT)[0].scene.canvas(size)
    return paint(layers, 1, background)[0, : SCENE[0], : SCENE[1]]


def cut_out() -> np.ndarray:
    """(size, size, 4): a creature without a background."""
    creature, motion = creature_of(TROT)
    layers = posed_layers(creature, motion, [0])
    shown = [paint(layers, 1, canvas(SIZE, (level,) * 3))[0].astype(int) for level in (0, 255)]
    alpha = 255 - (shown[1] - shown[0]).mean(axis=2)
    colours = shown[0] * 255 / np.maximum(alpha, 1)[..., None]
    return np.dstack([colours.clip(0, 255), alpha]).astype(np.uint8)


def write_inputs(folder: Path) -> None:
    cases = list(held_out_cases(LEAP + 1, SIZE, FRAMES))
    for name, number in (('trot', TROT), ('leap', LEAP)):
        write_case(folder, name, cases[number])
    creature, motion = creature_of(TROT)
    write_picture(
        folder / 'scene.png', draw_placed(creature, motion, 0, SCENE, Box(40, 60, 150, 150))
    )
    write_picture(folder / 'two.png', two_creatures())
    write_picture(folder / 'left.png', np.ascontiguousarray(cases[TROT].clip[0][:, ::-1]))
    Image.fromarray(cut_out()).save(folder / 'transparent.png')
    # NASA's portrait of Eileen Collins, in the public domain, which scikit-image brings along.
    write_picture(folder / 'astronaut.png', skimage.data.astronaut()[:256, 96:352])
    write_phone_clip(folder, 1, 2 * SIZE, FRAMES, seed=0)
    (folder / 'IMG_0002.mp4').rename(folder / 'phone.mp4')


# ---- strips ----


def list_strips(text: str) -> list[tuple[str, list[str]]]:
    """The name of each picture of the document, and the words of the command before it."""
    found = re.findall(
        r'```\n(python demo\.py [^`]+)```\s+!\[[^\]]*\]\(gallery/([\w-]+)\.jpg\)', text
    )
    return [(name, shlex.split(command)) for command, name in found]


def tile(picture: np.ndarray) -> Image.Image:
    """A picture of any shape on a white square."""
    scale = TILE / max(picture.shape[:2])
    height, width = (max(1, round(scale * side)) for side in picture.shape[:2])
    shown = Image.new('RGB', (TILE, TILE), (255, 255, 255))
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
    shown.paste(small, ((TILE - width) // 2, (TILE - height) // 2))
    return shown


def strip(
    source: np.ndarray, driving: Sequence[np.ndarray], result: Sequence[np.ndarray]
) -> np.ndarray:
    """Picture, and frames of clip and result one below the other -> (h, w, 3) uint8."""
    numbers = np.linspace(0, min(len(driving), len(result)) - 1, SHOWN).round().astype(int)
    side = TILE + GAP
    page = Image.new('RGB', (side * (SHOWN + 1) - GAP, 2 * side - GAP), (255, 255, 255))
    page.paste(tile(source), (0, 0))
    for column, number in enumerate(numbers, 1):
        page.paste(tile(driving[number]), (column * side, 0))
        page.paste(tile(result[number]), (column * side, side))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    draw.text((2, side + 2), 'picture and clip,\nbelow: the result', fill=(90, 90, 90), font=font)
    return np.asarray(page)


def frames_of(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as reader:
        return list(reader)


def draw_strip(words: Sequence[str], folder: Path) -> np.ndarray:
    """Runs a command of demo.py in the folder."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / 'demo.py'), *words[2:], '--cpu'],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ended.returncode:
        raise UserError(f'{shlex.join(words)}: {ended.stderr.strip()}')
    given = dict(itertools.pairwise(words))
    start = int(given.get('--start', '0f').rstrip('f'))
    driving = frames_of(folder / given['--driving_video'])[start:]
    source = read_image(folder / given['--source_image'])
    return strip(source, driving, frames_of(folder / given['--result_video']))


def draw_strips(out: Path, only: Sequence[str] | None) -> None:
    strips = list_strips(DOCUMENT.read_text(encoding='utf-8'))
    names = [name for name, _ in strips]
    if unknown := set(only or ()) - set(names):
        raise UserError(f'--only {min(unknown)}: give names of {", ".join(names)}')
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / 'things').mkdir()
        write_inputs(folder / 'things')
        for name, words in strips:
            if only and name not in only:
                continue
            picture = draw_strip(words, folder)
            with atomic_output(out / f'{name}.jpg') as path:
                write_picture(path, picture)
            print(f'written: {out / name}.jpg', flush=True)


def main() -> None:
    options = parse_arguments()
    if options.folder.exists() and not options.folder.is_dir():
        raise UserError(f'{options.folder}: is no folder; choose another name')
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.what == 'inputs':
        write_inputs(options.folder)
    else:
        draw_strips(options.folder, options.only)


if __name__ == '__main__':
    run_command(main)
