"""A job's options: those of demo.py, from its command line or by their names; needs no Paddle."""

import argparse
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from modules.animation.inputs import choose_config
from modules.animation.options import (
    add_crop_options,
    add_device_options,
    add_input_options,
    add_motion_options,
    add_result_options,
    add_time_options,
    check_crop_options,
    check_motion_options,
    check_result_options,
)
from modules.runtime.commands import ArgumentParser
from modules.runtime.errors import UserError

# Of a flag, in any case; a spreadsheet makes TRUE of true.
FLAG_VALUES = {'yes': True, 'true': True, '1': True, 'no': False, 'false': False, '0': False}
# Options that name files.
INPUTS = ('source_image', 'driving_video', 'motion', 'checkpoint', 'config')
OUTPUTS = ('result_video', 'save_motion', 'show_crop')


class JobError(UserError):
    """A mistake of the user in a job.

    Attributes:
        option: the name of the option that it is about, such as 'source_image'; None where that is
            not known.
    """

    def __init__(self, message: str, option: str | None = None):
        super().__init__(message, option)
        self.option = option

    def __str__(self) -> str:
        return str(self.args[0])


class _RefusedError(Exception):
    """What argparse says, without what is for the command line alone."""


class _Parser(ArgumentParser):
    def error(self, message: str) -> Any:
        raise _RefusedError(message)


def demo_parser(kind: type[ArgumentParser] = ArgumentParser, **settings: Any) -> ArgumentParser:
    """All options of demo.py."""
    parser = kind(**settings)
    add_input_options(parser)
    add_crop_options(parser)
    add_time_options(parser)
    add_motion_options(parser)
    add_result_options(parser)
    add_device_options(parser)
    return parser


def check_options(options: argparse.Namespace) -> argparse.Namespace:
    """Fills in what was left out and checks what can be known before anything is read.

    Raises:
        UserError: options that don't go together, or a place that can't be written.
    """
    choose_config(options)
    check_crop_options(options)
    check_motion_options(options)
    check_result_options(options)
    return options


def option_actions() -> dict[str, argparse.Action]:
    """demo.py's options by their names, without the leading dashes."""
    return {action.dest: action for action in demo_parser(add_help=False)._actions}


def is_flag(action: argparse.Action) -> bool:
    """Whether an option has no value."""
    return action.nargs == 0


def job_options(values: Mapping[str, object]) -> argparse.Namespace:
    """The options of a job, checked by the parser of demo.py.

    Args:
        values: by the options' names, such as {'source_image': 'me.jpg', 'relative': True}. What
            is None or '' is left out, as is what is not named; then the default of demo.py is
            taken. Flags are bool, or 'yes' and 'no'; other values are text as on the command line,
            numbers, paths, or sequences such as (1280, 720) for `size`.

    Raises:
        JobError: an option or a value that there is not, or that doesn't go with the others.
    """
    actions = option_actions()
    arguments = []
    for name, value in values.items():
        action = actions.get(name)
        if value is None or value == '':
            continue
        if action is not None and is_flag(action):
            if _flag(name, value):
                arguments.append(f'--{name}')
        else:
            arguments.append(f'--{name}={_text(value)}')
    options = _parse(arguments)
    try:
        return check_options(options)
    except UserError as error:
        raise job_error(error, options) from error


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = demo_parser(_Parser, add_help=False, exit_on_error=False)
    try:
        return parser.parse_args(arguments)
    except argparse.ArgumentError as error:
        name = error.argument_name or ''
        raise JobError(f'{name}: {error.message}', name.lstrip('-') or None) from error
    except _RefusedError as error:  # no such option
        found = re.search(r'--(\S+?)(?=[;=]|$)', str(error))
        raise JobError(str(error), found[1] if found else None) from error


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    flag = FLAG_VALUES.get(str(value).strip().lower())
    if flag is None:
        raise JobError(f'--{name}: {value}: give yes or no', name)
    return flag


def _text(value: object) -> str:
    """A value as it is written on the command line; forms give whole numbers as 2.0."""
    if isinstance(value, float):
        return f'{Decimal(repr(value)):f}'.removesuffix('.0')
    if isinstance(value, list | tuple):
        return ','.join(map(_text, value))
    return str(value)


def job_error(error: UserError, options: argparse.Namespace) -> JobError:
    """The same mistake, with the option that it is about: messages begin with its name or value."""
    if isinstance(error, JobError):
        return error
    message = str(error)
    named = re.match(r'--(\w+)', message)
    if named and hasattr(options, named[1]):
        return JobError(message, named[1])
    for name in INPUTS + OUTPUTS:
        value = getattr(options, name)
        heads = [f'{value}: ', f'{value}/']
        if name in OUTPUTS and value is not None:
            heads.append(f'{value.parent}: ')
        if value is not None and message.startswith(tuple(heads)):
            return JobError(message, name)
    return JobError(message)
