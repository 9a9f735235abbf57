"""What has become of the clips: report.json, report.md, and a contact sheet to look at."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from modules.data.clips import decode_apart
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.video import write_picture
from tools.dataset_preparing import jobs
from tools.dataset_preparing.outcome import Part, Prepared, Settings
from tools.dataset_preparing.splitting import TEST, TRAIN
from tools.markdown import table

TILE, LABEL = 128, 30  # pixels of a picture's side, and of the room for two lines below it
COLUMNS, ROWS = 8, 12  # of a sheet
COLOURS = {TRAIN: (225, 225, 225), TEST: (255, 200, 90)}
GROUND = (32, 32, 36)
SHEET = 'contact-sheet'


def write_report(prepared: Prepared, settings: Settings, out: Path, workers: int) -> list[Path]:
    """Writes report.json, report.md and contact-sheet.png (and -2, -3, ...) into a folder.

    Returns:
        The sheets.
    """
    sheets = _write_sheets(prepared.parts, out, workers)
    content = {
        'settings': settings.to_json(),
        'cropped': prepared.crop,
        'split_by': prepared.level,
        'summary': {part: _summary(prepared, part) for part in (TRAIN, TEST)},
        'clips': [part.to_json(prepared.surveys[part.source.name]) for part in prepared.parts],
        'left_out': [each._asdict() for each in prepared.left_out],
        'notes': prepared.notes,
    }
    with atomic_output(out / 'report.json') as path:
        path.write_text(json.dumps(content, indent=1), encoding='utf-8')
    page = '\n'.join(_page(content, out, sheets)) + '\n'
    with atomic_output(out / 'report.md') as path:
        # Names of files need not be UTF-8.
        path.write_text(page, encoding='utf-8', errors='backslashreplace')
    return sheets


def _summary(prepared: Prepared, name: str) -> dict[str, Any]:
    parts = [part for part in prepared.parts if part.part == name]
    seconds = [p.track.frame_count / prepared.surveys[p.source.name].fps for p in parts]
    return {
        'clips': len(parts),
        'ids': len({part.source.person for part in parts}),
        'sources': len({part.source.name for part in parts}),
        'frames': sum(part.track.frame_count for part in parts),
        'seconds': round(float(sum(seconds)), 2),
    }


def _page(content: Mapping[str, Any], out: Path, sheets: Sequence[Path]) -> list[str]:
    size = content['settings']['size']
    lines = [f'# {out.resolve().name}', '']
    header = ('', 'clips', 'persons', 'from your clips', 'frames', 'seconds')
    rows = [
        (name, *(str(part[key]) for key in ('clips', 'ids', 'sources', 'frames', 'seconds')))
        for name, part in content['summary'].items()
    ]
    lines += table(header, rows)
    lines += [
        '',
        f'{size} x {size} pixels; cropped: {content["cropped"]}; split by {content["split_by"]}.',
        f'To train: `python train.py --data {out}`. What should not be trained on can be deleted '
        f'from `{TRAIN}/` and `{TEST}/`.',
        '',
        *(f'![{sheet.stem}]({sheet.name})' for sheet in sheets),
        '',
        '## Left out',
        '',
    ]
    left_out = [
        (_cell(each['source']), each['what'], str(each['tracks'] or 'all'), _cell(each['why']))
        for each in content['left_out']
    ]
    lines += table(('clip', 'what', 'parts', 'why'), left_out) if left_out else ['Nothing.']
    lines += ['', '## Clips', '']
    clips = [
        (
            _cell(each['file']),
            _cell(each['source']),
            '{:.2f} to {:.2f} s'.format(*each['seconds']),
            ', '.join(f'{value:.0f}' for value in each['box']),
        )
        for each in content['clips']
    ]
    lines += table(('file', 'of', 'when', 'where (x, y, w, h)'), clips)
    if content['notes']:
        lines += ['', '## Notes', '', *(f'- {_cell(note)}' for note in content['notes'])]
    return lines


def _cell(text: str) -> str:
    return text.replace('|', '\\|').replace('\n', ' ')


def _write_sheets(parts: Sequence[Part], out: Path, workers: int) -> list[Path]:
    with ThreadPoolExecutor(workers) as pool:
        tiles = list(pool.map(lambda part: _tile(part, out), parts))
    sheets, a_sheet = [], COLUMNS * ROWS
    for number, first in enumerate(range(0, len(tiles), a_sheet), 1):
        path = out / (f'{SHEET}.png' if number == 1 else f'{SHEET}-{number}.png')
        with atomic_output(path) as place:
            write_picture(place, _sheet(tiles[first : first + a_sheet]))
        sheets.append(path)
    for old in out.glob(f'{SHEET}-*.png'):  # of a run with more clips
        if old not in sheets:
            old.unlink()
    return sheets


def _sheet(tiles: Sequence[Image.Image]) -> np.ndarray:
    columns = min(COLUMNS, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new('RGB', (columns * TILE, rows * (TILE + LABEL)), GROUND)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        sheet.paste(tile, (column * TILE, row * (TILE + LABEL)))
    return np.asarray(sheet)


def _tile(part: Part, out: Path) -> Image.Image:
    """A clip's middle frame, with its name and length below."""
    tile = Image.new('RGB', (TILE, TILE + LABEL), GROUND)
    brush = ImageDraw.Draw(tile)
    try:
        picture = Image.fromarray(
            decode_apart(part.source.path, jobs.middle_frame, out / part.file)
        )
        picture.thumbnail((TILE - 4, TILE - 4), Image.Resampling.BOX)
        tile.paste(picture, ((TILE - picture.width) // 2, 2))
    except UserError:
        brush.text((6, TILE // 2), 'cannot be read', fill=COLOURS[TEST])
    font = ImageFont.load_default(10)
    name, _, when = Path(part.file).stem.rpartition('@')
    for line, text in enumerate((name, f'{part.part}  {when}')):
        while len(text) > 4 and brush.textlength(text, font) > TILE - 6:
            text = '\u2026' + text[2:]  # the end tells more
        brush.text((3, TILE + 13 * line), text, fill=COLOURS[part.part], font=font)
    return tile
