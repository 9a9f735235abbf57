"""What a check finds. Needs no Paddle."""

import math
from typing import Any, NamedTuple

OK, FAIL, NOT_RUN = 'ok', 'FAIL', 'not run'

Value = float | int | bool | str


class NotRunError(Exception):
    """The check has no meaning on this machine; the message says why."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    value: Value
    bar: float | None = None  # the largest value accepted; None: a fact, or yes or no
    ok: bool = True


class Findings:
    """Collects what a check finds; it fails if one finding does."""

    def __init__(self) -> None:
        self.rows: list[Finding] = []

    def fact(self, what: str, value: Value) -> None:
        """A figure that is neither right nor wrong."""
        self.rows.append(Finding(what, value))

    def at_most(self, what: str, value: float, bar: float) -> None:
        """A figure that must not exceed its bar; NaN does."""
        self.rows.append(Finding(what, float(value), bar, bool(value <= bar)))

    def holds(self, what: str, ok: bool, instead: Value = False) -> None:
        """A sentence that must be true.

        Args:
            instead: what there is where it is not.
        """
        self.rows.append(Finding(what, True if ok else instead, None, bool(ok)))

    @property
    def failed(self) -> list[Finding]:
        return [row for row in self.rows if not row.ok]

    @property
    def worst(self) -> Finding | None:
        """Of the figures that have a bar, the one nearest to it or farthest beyond."""
        measured = [row for row in self.rows if row.bar is not None]
        return max(measured, key=_share_of_bar, default=None)


class Outcome(NamedTuple):
    """A check that is over."""

    name: str
    status: str  # OK, FAIL or NOT_RUN
    line: str  # what was found, or why it failed or did not run
    device: str = ''  # 'cpu', 'gpu:0'; '' if the check ended before it said
    seconds: float = 0.0
    rows: tuple[Finding, ...] = ()
    log: str = ''  # what it printed, where it failed

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), 'rows': [_finite(row._asdict()) for row in self.rows]}


def outcome_of(name: str, findings: Findings) -> Outcome:
    """The outcome of a check that ran to its end."""
    rows = tuple(findings.rows)
    if findings.failed:
        more = len(findings.failed) - 1
        line = show(findings.failed[0]) + (f' (and {more} more)' if more else '')
        return Outcome(name, FAIL, line, rows=rows)
    worst = findings.worst
    if worst is not None:
        return Outcome(name, OK, f'worst: {show(worst)}', rows=rows)
    return Outcome(name, OK, '; '.join(show(row) for row in rows[:3]), rows=rows)


def show(row: Finding) -> str:
    """A finding in a few words."""
    if row.bar is not None:
        verdict = f'bar {number(row.bar)}' if row.ok else f'more than {number(row.bar)}'
        return f'{row.what}: {number(row.value)}, {verdict}'
    if not row.ok:
        return f'not so: {row.what}' + (f' ({row.value})' if row.value is not False else '')
    return row.what if row.value is True else f'{row.what}: {number(row.value)}'


def number(value: Value) -> str:
    """Three digits of a float; anything else as it is."""
    return f'{value:.3g}' if isinstance(value, float) else str(value)


def _share_of_bar(row: Finding) -> float:
    value = float(row.value)
    if math.isnan(value):
        return math.inf
    return value / row.bar if row.bar else (math.inf if value else 0.0)


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity: these are written as text."""
    unfit = (k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v))
    return {**row, **{key: str(row[key]) for key in unfit}}
