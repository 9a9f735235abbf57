"""The page that tells what was found. Needs no Paddle."""

from collections.abc import Mapping
from typing import Any

from tools.gpu_checking.findings import FAIL, NOT_RUN, OK, Finding, number, show
from tools.markdown import table

Report = Mapping[str, Any]

_SEND = (
    'This page and the JSON beside it hold no names, no addresses and no folders of yours. To tell '
    'the project what your GPU does, send both with what you wished to do.'
)


def verdict(report: Report) -> str:
    """How many checks passed, failed and did not run."""
    found = [check['status'] for check in report['checks']]
    parts = [f'{found.count(status)} {status}' for status in (OK, FAIL, NOT_RUN)]
    unfinished = '' if report['complete'] else '; stopped before the end'
    return ', '.join(parts) + unfinished


def page(report: Report) -> str:
    """A report as one page of Markdown."""
    checks = report['checks']
    columns = ('name', 'status', 'line', 'device', 'proves')
    rows = [[_cell(check[column]) for column in columns] for check in checks]
    lines = [
        '# What tools/gpu_check.py found',
        '',
        f'{report["date"]}, {report["seconds"]:.0f} s: {verdict(report)}.',
        '',
        *_machine(report),
        '',
        *table(['check', 'result', 'found', 'on', 'proves that'], rows),
        '',
        '## Figures',
        '',
        *table(['check', 'figure', 'value', 'at most'], _figures(checks)),
        *(line for check in checks if check['status'] == FAIL for line in _failure(check)),
        '',
        _SEND,
    ]
    return '\n'.join(lines) + '\n'


def _machine(report: Report) -> list[str]:
    machine = dict(report['machine'])
    machine['memory'] = f'{machine.pop("memory_bytes") / 1e9:.0f} GB'
    return list(table(['machine', ''], [[_cell(k), _cell(v)] for k, v in machine.items()]))


def _figures(checks: list[dict[str, Any]]) -> list[list[str]]:
    """Everything that is a number or a fact; of sentences that must hold those that do not."""
    rows = []
    for check in checks:
        for row in (Finding(**values) for values in check['rows']):
            if row.value is True:
                continue
            bar = '' if row.bar is None else number(row.bar)
            value = _cell(number(row.value)) + ('' if row.ok else f' **{FAIL}**')
            rows.append([check['name'], _cell(row.what), value, bar])
    return rows


def _failure(check: dict[str, Any]) -> list[str]:
    failed = [Finding(**row) for row in check['rows'] if not row['ok']]
    said = [f'- {_cell(show(row))}' for row in failed] or [f'- {_cell(check["line"])}']
    log = ['', '```', check['log'].replace('```', "'''").rstrip(), '```'] if check['log'] else []
    return ['', f'## {FAIL}: {check["name"]}', '', *said, *log]


def _cell(value: Any) -> str:
    """Text that a table can hold."""
    return ' '.join(str(value).split()).replace('|', '\\|')
