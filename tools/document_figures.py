"""Says whether the documents show the figures of doc/figures/, and which of these are old.

    python tools/document_figures.py
    python tools/document_figures.py --print

Each JSON there was written by the command that it names, or holds what is left of such a run. A
figure is old once the code that it is of has changed since; it is then still the one that was
measured, on the machine and at the commit that stand beside it.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages(paddle=False)

from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.messages import note
from tools.crop_figures import crop_rows
from tools.motion_transfer import mean_rows
from tools.provenance import changed_since

FOLDER = ROOT / 'doc' / 'figures'
MEGABYTE = 1e6
Figures = Mapping[str, Any]
Shown = tuple[str, Sequence[str]]  # a document, and what it has to show


def _row(*cells: str) -> str:
    return f'| {" | ".join(cells)} |'


def _milliseconds(seconds: Mapping[str, float], kind: str = 'median') -> str:
    return f'{1000 * seconds[kind]:.0f} ms'


def _name(contender: str) -> str:
    """As documents write it: engines and options as code."""
    if contender == 'onednn-bf16':
        return '`onednn`, `--precision bf16`'
    return f'`{contender}`' if contender in ('eager', 'onednn') else contender


def _speed_rows(animation: Figures) -> list[str]:
    """A row for each that was measured; the reason stands in the place of what was not."""
    rows, measured = [], {k: v for k, v in animation.items() if not isinstance(v, str)}
    for name, of_name in measured.items():
        seconds, difference = of_name['frame_seconds'], of_name['largest_difference']
        ratios = of_name.get('frame_ratios', {}).get('official')
        if ratios is None and 'best' in seconds:
            theirs = measured['official']['frame_seconds']
            ratios = {kind: seconds[kind] / theirs[kind] for kind in ('median', 'best')}
        plain = name == 'official'
        rows.append(
            _row(
                _name(name),
                _milliseconds(seconds),
                f'{1 / seconds["median"]:.2f}',
                '1' if plain else f'{ratios["median"]:.2f} ({ratios["best"]:.2f})',
                f'{of_name["peak_bytes"]["median"] / MEGABYTE:.0f} MB',
                f'{difference:.1e}'.replace('e-0', 'e-') if difference else '0',
            )
        )
    return rows


def _demo_rows(demo: Figures) -> list[str]:
    rows = []
    for name, of_name in demo.items():
        if not isinstance(of_name, dict):  # the number of frames, or why one was not measured
            continue
        frame, beside = (
            of_name.get(key) for key in ('frame_milliseconds', 'percent_beside_networks')
        )
        ratios = of_name['ratios']
        rows.append(
            _row(
                _name(name),
                f'{of_name["seconds"]["median"]:.1f} s',
                '' if frame is None else f'{frame["median"]:.0f} ms',
                '' if beside is None else f'{beside["median"]:.1f} %',
                f'{of_name["peak_bytes"]["median"] / MEGABYTE:.0f} MB',
                f'{ratios["median"]:.2f}; {ratios["peak_bytes"]:.2f}',
            )
        )
    return rows


def _start_sentence(start: Figures, times: str) -> str:
    ours, theirs = start.get('ours', start.get('this project')), start['official']
    return (
        f'compiled before: {ours["first_frame_seconds"]["best"]:.1f} s, the official code '
        f'{theirs["first_frame_seconds"]["best"]:.1f} s (best of {times}); the imports '
        f'take {ours["import_seconds"]["best"]:.1f} s and {theirs["import_seconds"]["best"]:.1f} s'
    )


def _readme(animation: Figures, cpu: str) -> Shown:
    frames = [_milliseconds(animation[name]['frame_seconds']) for name in ('onednn', 'official')]
    return 'README.md', [_row(f'a frame of vox-256 on two CPU cores ({cpu})', *frames)]


def speed_avx2(made: Figures) -> list[Shown]:
    loading = made['loading']
    plain, augmented = loading['without augmentation'], loading["with the config's augmentation"]
    sentences = [
        _start_sentence(made['start'], 'three'),
        f'two workers gave {plain["cached"]["rate"]["median"]:.0f} samples a second from clips of '
        f'300 frames, {plain["ratio"]:.0f} times as many as by decoding whole clips; with the '
        f'augmentation of vox {augmented["cached"]["rate"]["median"]:.0f}, '
        f'{augmented["ratio"]:.0f} times',
    ]
    rows = _speed_rows(made['animation'])
    return [('doc/speed.md', [*rows, *sentences]), _readme(made['animation'], 'AVX2')]


def speed_avx512(made: Figures) -> list[Shown]:
    shown = [*_speed_rows(made['animation']), _start_sentence(made['start'], 'six')]
    shown += _demo_rows(made['demo'])
    return [('doc/speed.md', shown), _readme(made['animation'], 'AVX-512')]


def training(made: Figures) -> list[Shown]:
    ours, theirs = (made['training'][name] for name in ('this project', 'official'))
    ratios = made['training']['ratios']
    sentence = (
        f'A training step, batch of 2: {ours["seconds"]["median"]:.1f} s and '
        f'{ours["peak_bytes"]["median"] / MEGABYTE:.0f} MB at most; the official code '
        f'{theirs["seconds"]["median"]:.1f} s and {theirs["peak_bytes"]["median"] / MEGABYTE:.0f} '
        f'MB. That is {ratios["seconds"]:.2f} of its time and {ratios["peak_bytes"]:.2f} of its '
        'memory'
    )
    return [('doc/speed.md', [sentence])]


def scaling(made: Figures) -> list[Shown]:
    rows = []
    for name, of_name in made['scaling'].items():
        alone = of_name['processes'] == 1
        rows.append(
            _row(
                name,
                f'{of_name["samples_per_second"]["median"]:.1f}',
                '' if alone else f'{100 * of_name["waiting_share"]:.0f} %',
                f'{of_name["peak_bytes"]["median"] / MEGABYTE:.0f} MB',
            )
        )
    return [('doc/train.md', rows)]


def speed_amx(made: Figures) -> list[Shown]:
    rows = []
    for name, of_name in made['animation'].items():
        seconds = of_name['frame_seconds']
        rows.append(_row(_name(name), _milliseconds(seconds, 'best'), _milliseconds(seconds)))
    return [('doc/speed.md', rows)]


def live(made: Figures) -> list[Shown]:
    rows = [
        _row(
            name,
            f'{of_name["rate"]["median"]:.1f}',
            f'{of_name["engine_rate"]["median"]:.1f}',
            _milliseconds(of_name['latency_seconds']),
            _milliseconds(of_name['latency_95_seconds']),
            f'{of_name["peak_bytes"]["median"] / MEGABYTE:.0f} MB',
        )
        for name, of_name in made['live'].items()
    ]
    return [('doc/live.md', rows)]


def motion_transfer(made: Figures) -> list[Shown]:
    if 'cases' in made:
        return [('doc/train.md', [_row(*cells) for cells in mean_rows(made['cases'])])]
    rows = []  # of a run of which only means and their half widths were kept
    for task, of_task in made['means'].items():
        cells = [
            f'{mean:.{digits}f} ± {half:.{digits}f}'
            for (mean, half), digits in ((of_task['moving'], 3), (of_task['frame'], 4))
        ]
        rows.append(_row(task, *cells))
    return [('doc/train.md', rows)]


def crops(made: Figures) -> list[Shown]:
    return [('doc/animate.md', [_row(*cells) for cells in crop_rows(made['crops'])])]


# The JSON of each, by its name.
KINDS: dict[str, Callable[[Figures], list[Shown]]] = {
    'speed-avx2': speed_avx2,
    'speed-avx512': speed_avx512,
    'training-avx2': training,
    'training-avx512': training,
    'scaling-avx2': scaling,
    'speed-amx': speed_amx,
    'live': live,
    'motion-transfer': motion_transfer,
    'crops': crops,
}


def read(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f'{name}.json').read_text(encoding='utf-8'))


def missing(name: str, text_of: Callable[[str], str]) -> list[tuple[str, str]]:
    """What documents should show, and don't: (document, text).

    Args:
        text_of: what stands in a document.
    """
    return [
        (document, expected)
        for document, shown in KINDS[name](read(name))
        for expected in shown
        if ' '.join(expected.split()) not in ' '.join(text_of(document).split())
    ]


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--print', action='store_true', help='what documents should show')
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    absent = []
    for name in KINDS:
        made = read(name)
        print(f'{name}: {made["date"]}, commit {made["commit"]}, {made["machine"]["cpu"]}')
        if changed := changed_since(made):
            note(f'doc/figures/{name}.json is older than {", ".join(changed)}')
        absent += missing(name, lambda path: (ROOT / path).read_text(encoding='utf-8'))
        if options.print:
            print('\n'.join(line for _, shown in KINDS[name](made) for line in shown))
    if absent:
        document, expected = absent[0]
        raise UserError(
            f'{document}: does not show {expected!r} ({len(absent)} such places); --print has all'
        )
    print('documents show these figures')


if __name__ == '__main__':
    run_command(main)
