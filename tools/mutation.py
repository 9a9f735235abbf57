"""Changes the sources in small ways, one at a time, and counts which changes the tests notice.

    python tools/mutation.py --sample 400 --seed 1 --out mutation.md

`make mutation` does so, with mutmut 3.8.1: in each of the modules that `[tool.mutmut]` of
pyproject.toml names it turns a < into <=, a number into the next, an argument into None, and runs
the tests there named that call the function; they have to fail. A mutant that differs in words
alone, such as a message's, is left out: the tests look at what a message names, not at how it is
put. The table says what became of a random sample; below it stand the mutants that survived.
"""

import argparse
import ast
import datetime
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages(paddle=False)

from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output, check_output
from tools.markdown import table

WORK = ROOT / 'mutants'  # mutmut's own folder
_PART = '__mutmut_'
# Exit statuses of pytest, as mutmut notes them, and of its own clock.
_SURVIVED, _NO_TESTS, _TIMEOUTS = 0, (5, 33), (36, 24, 152, 255, -24)


def main() -> None:
    options = parse_arguments()
    check_output(options.out)
    try:
        import mutmut  # noqa: F401 (is it there?)
    except ImportError as error:
        raise UserError('mutmut is missing: python -m pip install mutmut==3.8.1') from error
    mutants = {path: list(mutants_of(path)) for path in mutated_files()}
    names = [name for found in mutants.values() for name in found]
    chosen = sample(names, options.sample, options.seed)
    print(f'{len(chosen)} of {len(names)} mutants', flush=True)
    # A thread each: what a fork has of its parent's threads stands still for ever.
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-m', 'mutmut', 'run', '--max-children', str(options.processes)]
    done = subprocess.run([*command, *chosen], cwd=ROOT, env=environment, check=False)
    if done.returncode:
        raise UserError(f'mutmut ended with status {done.returncode}, see above')
    results = {path: results_of(path, chosen) for path in mutants}
    lines = report(mutants, results, options)
    with atomic_output(options.out) as path:
        path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    print(f'written: {options.out}')
    share = killed_share(Counter(s for found in results.values() for s in found.values()))
    if share < options.least:
        raise UserError(f'the tests notice {share:.1f} % of the mutants, not {options.least} %')


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--sample', type=int, metavar='N', help='try N mutants (default: all)')
    parser.add_argument('--seed', type=int, default=1, help='seed of the sample')
    parser.add_argument('--processes', type=int, default=1, help='processes side by side')
    parser.add_argument('--least', type=float, default=85, metavar='N', help='percent to be killed')
    parser.add_argument('--out', type=Path, default=Path('mutation.md'), help='table to write')
    return parser.parse_args()


def mutated_files() -> Sequence[Path]:
    """The files that pyproject.toml names for mutmut, relative to the project."""
    from mutmut.configuration import config

    os.chdir(ROOT)  # where mutmut looks for its settings
    return [Path(name) for name in config().only_mutate]


def mutants_of(path: Path) -> Iterator[str]:
    """Names of a file's mutants, but of those that differ in words alone."""
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.format_utils import get_mutant_name

    mutated = mutate_file_contents(str(path), (ROOT / path).read_text(encoding='utf-8'))
    words = words_alone(mutated.code)
    for name in mutated.mutant_names:
        if name not in words:
            yield get_mutant_name(path, name)


def words_alone(code: str) -> set[str]:
    """The mutants in mutmut's text of a module that change nothing but words of a sentence."""
    bodies = {
        node.name: _without_words(node)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _PART in node.name
    }
    return {
        name
        for name, body in bodies.items()
        if not name.endswith('orig') and body == bodies.get(f'{name.split(_PART)[0]}{_PART}orig')
    }


class _Blank(ast.NodeTransformer):
    """Puts one word for every string of several."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        is_sentence = isinstance(node.value, str) and ' ' in node.value.strip()
        return ast.Constant('words') if is_sentence else node


def _without_words(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    parts = (function.args, *function.body)
    return '\n'.join(ast.dump(_Blank().visit(part)) for part in parts)


def sample(names: Sequence[str], number: int | None, seed: int) -> Sequence[str]:
    """So many of the names, drawn at random; all if there are no more."""
    if number is None or number >= len(names):
        return names
    return sorted(random.Random(seed).sample(sorted(names), number))


def results_of(path: Path, chosen: Sequence[str]) -> dict[str, str]:
    """{mutant: 'killed', 'survived', 'too slow' or 'no test'} of a file's chosen ones."""
    told = json.loads((WORK / f'{path}.meta').read_text(encoding='utf-8'))
    codes = told['exit_code_by_key']
    return {name: _status(codes[name]) for name in chosen if name in codes}


def _status(code: int | None) -> str:
    if code is None:
        raise UserError('mutmut was interrupted; start it again')
    if code in _NO_TESTS:
        return 'no test'
    if code in _TIMEOUTS:
        return 'too slow'
    return 'survived' if code == _SURVIVED else 'killed'


def killed_share(counts: Mapping[str, int]) -> float:
    """Percent of the mutants that were killed; one that never ends is noticed, too."""
    total = sum(counts.values())
    return 100 * (counts.get('killed', 0) + counts.get('too slow', 0)) / total if total else 100


def report(
    mutants: Mapping[Path, Sequence[str]],
    results: Mapping[Path, Mapping[str, str]],
    options: argparse.Namespace,
) -> Iterator[str]:
    """The table, and the mutants that survived."""
    rows, total = [], Counter[str]()
    for path, found in results.items():
        counts = Counter(found.values())
        total += counts
        rows.append(_row(f'`{path.as_posix()}`', len(mutants[path]), counts))
    rows.append(_row('all', sum(map(len, mutants.values())), total))
    yield from table(('module', 'mutants', 'tried', 'killed', 'survived', 'killed, %'), rows)
    day = datetime.date.today()
    yield f'\n{day.day} {day:%B %Y}, seed {options.seed}.'
    for found in results.values():
        for name, status in found.items():
            if status in ('survived', 'no test'):
                yield f'\n## {name}: {status}\n\n```diff\n{_difference(name)}\n```'


def _row(name: str, all_: int, counts: Mapping[str, int]) -> Sequence[str]:
    killed = counts.get('killed', 0) + counts.get('too slow', 0)
    tried = sum(counts.values())
    return (
        name,
        str(all_),
        str(tried),
        str(killed),
        str(tried - killed),
        f'{killed_share(counts):.0f}',
    )


def _difference(name: str) -> str:
    command = [sys.executable, '-m', 'mutmut', 'show', name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return '\n'.join(line for line in done.stdout.splitlines() if not line.startswith('# '))


if __name__ == '__main__':
    run_command(main)
