"""What a reader has chosen, as an order to the worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tools.page.site import Site

FIELDS = ('picture', 'clip', 'model', 'options')  # beside which errors are said


class Choices(NamedTuple):
    """The values of the fields; whatever a request holds, for nobody has checked them yet."""

    picture: Any
    clip: Any
    model: Any
    crop: Any
    motion: Any
    paste_back: Any
    adapt_scale: Any
    best_frame: Any
    sound: Any
    size: Any


def check_choices(site: Site, choices: Choices) -> dict[str, str]:
    """The names of sentences by the fields that they belong to; {} where all can be tried."""
    wrong = {}
    for field in ('picture', 'clip'):
        path = getattr(choices, field)
        if path is None:
            wrong[field] = f'no_{field}'
        elif site.files.sent(path) is None:
            wrong[field] = 'gone'
    return wrong


def animate_order(site: Site, choices: Choices, folder: Path) -> dict[str, Any]:
    """Makes the result and the side-by-side clip in a folder."""
    name = f'{Path(choices.picture).stem[:30]}-{Path(choices.clip).stem[:30]}'
    return {
        **_order(site, choices, folder / f'{name}.mp4'),
        'kind': 'animate',
        'beside': str(folder / f'{name}-side-by-side.mp4'),
    }


def draw_order(site: Site, choices: Choices, folder: Path) -> dict[str, Any]:
    """Draws keypoints and masks into a picture in a folder."""
    return {
        **_order(site, choices, folder / 'unused.mp4'),
        'kind': 'draw',
        'drawing': str(folder / 'keypoints-and-masks.png'),
    }


def _order(site: Site, choices: Choices, result: Path) -> dict[str, Any]:
    model = site.model(choices.model)
    size = str(choices.size or '').strip().lower()[:40]
    upscale = size.removeprefix('x') if size.startswith('x') else ''
    relative = choices.motion != 'absolute'
    crop = choices.crop if choices.crop in ('auto', 'face', 'object', 'none') else 'auto'
    values = {
        'source_image': str(choices.picture),
        'driving_video': str(choices.clip),
        'result_video': str(result),
        'config': model.config,
        'checkpoint': model.checkpoint,
        'crop': crop,
        'relative': relative,
        'adapt_scale': relative and bool(choices.adapt_scale),
        'find_best_frame': relative and bool(choices.best_frame),
        'no_paste_back': not choices.paste_back,
        'no_audio': not choices.sound,
        'size': '' if upscale else size.replace('×', ','),
        'upscale': upscale,
        'engine': site.options.engine,
        'precision': site.options.precision,
        'batch': site.options.batch,
        'cpu': site.options.cpu,
    }
    return {'options': values, 'limits': site.limits._asdict()}
