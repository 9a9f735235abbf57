"""What a checkpoint tells of its run, of which nothing is trusted."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modules.runtime.errors import UserError

Check = Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (int, float, bool, str)


def _mapping_of(check: Check) -> Check:
    return lambda value: type(value) is dict and all(map(check, value.values()))


def _list_of(check: Check) -> Check:
    return lambda value: type(value) is list and all(map(check, value))


def _section(needed: Mapping[str, Check], others: Mapping[str, Check]) -> Check:
    """All that is needed, and of the others whatever is there; nothing else."""
    known = {**needed, **others}
    return lambda value: (
        type(value) is dict
        and set(needed) <= set(value) <= set(known)
        and all(known[key](item) for key, item in value.items())
    )


_STANDING = _section(
    {'compared': _list_of(_is_plain), 'figures': _mapping_of(_is_number)},
    {'epoch': _is_count, 'stale': _is_count},
)
_PARTS: Mapping[str, Check] = {
    'progress': _section(
        {'epoch': _is_count, 'batch': _is_count, 'loss_sums': _mapping_of(_is_number)},
        {
            'skipped': _is_count,
            'epoch_steps': _is_count,
            'validation': lambda value: value is None or _STANDING(value),
        },
    ),
    'trainer': _section(
        {
            'step_count': _is_count,
            'seed': _is_count,
            'schedules': _mapping_of(_mapping_of(_is_plain)),
        },
        {'scaler': _mapping_of(_is_number), 'averaged_updates': _is_count},
    ),
    'changes': _list_of(lambda value: type(value) is str),
}


def check_held_state(path: Path, meta: Mapping[str, Any]) -> None:
    """Raises UserError where what the checkpoint at `path` tells of its run can't be so; what it
    does not tell at all is no matter.
    """
    for name, check in _PARTS.items():
        if name in meta and not check(meta[name]):
            raise UserError(
                f'{path}: its training state is damaged ({name}); resume another checkpoint'
            )
