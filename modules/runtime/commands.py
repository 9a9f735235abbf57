"""What every command shares: one-line errors with exit status 2, and messages nobody need read.

Nothing here imports Paddle, so that a mistake in the arguments is reported at once.
"""

import argparse
import difflib
import errno
import io
import itertools
import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TextIO

from modules.runtime.errors import OUTPUT_ERRORS, UserError, output_error_text
from modules.runtime.messages import printable, warn
from modules.runtime.signals import end_by_interrupt

# What it says when nobody reads our messages any more: a closed pipe, a closed terminal.
_READER_LEFT = (errno.EPIPE, errno.EIO)
_OPTION = re.compile(r'--?[A-Za-z][\w-]*')
_ROOT = Path(__file__).resolve().parents[2]
_TELLS_DEFAULT = ('default', 'left out')


class HelpFormatter(argparse.HelpFormatter):
    """argparse's, which says the default of each option whose text doesn't.

    What a value is stands beside its option: N, FILE, or what the option says itself.
    """

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        takes_value = bool(action.option_strings) and action.nargs != 0
        if not text or not takes_value or any(word in text for word in _TELLS_DEFAULT):
            return text
        values = action.default if isinstance(action.default, list | tuple) else [action.default]
        if values == [None] or not values:
            return text
        return f'{text} (default: {" ".join(map(_default_text, values))})'

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        for kind, name in ((int, 'N'), (Path, 'FILE')):
            if action.type is kind:
                return name
        return super()._get_default_metavar_for_optional(action)


def _default_text(value: object) -> str:
    """Paths of this project as they are from its folder; escaped for argparse."""
    if isinstance(value, Path) and value.is_relative_to(_ROOT):
        value = value.relative_to(_ROOT).as_posix()
    text = f'{value:g}' if isinstance(value, float) else str(value)
    return text.replace('%', '%%')


class ArgumentParser(argparse.ArgumentParser):
    """argparse with its errors in one line; the usage is a `--help` away.

    Options are not abbreviated: what is short for one today would be short for two tomorrow.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        ours = {'allow_abbrev': False, 'formatter_class': HelpFormatter}
        super().__init__(*arguments, **{**ours, **settings})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        arguments = sys.argv[1:] if args is None else list(args)
        known = self._all_options()
        for argument in itertools.takewhile(lambda argument: argument != '--', arguments):
            name = argument.partition('=')[0]
            attached = name[:2] in known and name[:2] != '--'  # -n3
            if _OPTION.fullmatch(name) and name not in known and not attached:
                self._refuse(name, known)
        return super().parse_known_args(arguments, namespace)

    def _all_options(self) -> list[str]:
        """Names of options, of commands within this one, too."""
        parsers: list[argparse.ArgumentParser] = [self]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
        return [name for parser in parsers for name in parser._option_string_actions]

    def _refuse(self, name: str, known: list[str]) -> NoReturn:
        """Says which option may be meant; before argparse says what else is missing."""
        near = difflib.get_close_matches(name, known, 1, cutoff=0.7)
        starts = [option for option in known if option.startswith(name)]
        meant = starts or near
        self.error(f'no option {name}' + (f'; did you mean {" or ".join(meant)}?' if meant else ''))

    def error(self, message: str) -> NoReturn:
        if message.startswith('unrecognized arguments'):  # demo.py me.jpg clip.mp4
            message += '; give each value behind the name of its option'
        raise UserError(f'{message} (see --help)')


def run_command(main: Callable[[], None]) -> NoReturn:
    """Runs a script's `main` and exits: 0 on success, 2 with one line on stderr for a user's error.

    A full disk counts as one; anything else unforeseen keeps its traceback, for it is our defect.
    Warnings are shown in one line, too. The work goes on if nobody reads what is printed, as in
    `python demo.py | true`, or can read it (`2>&-`).
    """
    end_by_interrupt()
    show_warnings_in_lines()
    _open_closed_streams()
    for name in ('stdout', 'stderr'):
        setattr(sys, name, _shielded(getattr(sys, name)))
    sys.exit(_exit_status(main))


def show_warnings_in_lines() -> None:
    """Python's warnings are told as our own are."""
    warnings.showwarning = lambda message, *_: warn(' '.join(str(message).split()))


def _exit_status(main: Callable[[], None]) -> int:
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        message = str(error)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    except OSError as error:
        # No part of this program makes a name of such a length: it is one that was given.
        if error.errno not in (*OUTPUT_ERRORS, errno.ENAMETOOLONG):
            raise
        message = output_error_text(error)
    else:
        return 0
    print('error: ' + printable(re.sub(r' *\n *', ' ', message.strip(' \n'))), file=sys.stderr)
    return 2


def _open_closed_streams() -> None:
    """Puts the null device where standard streams are closed (`2>&-`), lest a file get there."""
    number = 0
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    for name in ('stdout', 'stderr'):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, 'w'))  # noqa: SIM115 (for the rest of the process)


def _shielded(stream: TextIO) -> TextIO:
    """The same stream, to which writing goes on when its reader leaves, as in `| head -1`."""
    # Lines come at once on a terminal, on stderr, and under `python -u`, where nothing is buffered.
    at_once = bool(stream.line_buffering) or not hasattr(stream.buffer, 'raw')
    raw = io.BufferedWriter(_Shield(stream))
    # Names of files need not be UTF-8, and a terminal need not know all characters.
    return io.TextIOWrapper(raw, stream.encoding, 'backslashreplace', line_buffering=at_once)


class _Shield(io.RawIOBase):
    """Where a stream's bytes go: nowhere, once its reader has left or its disk was full."""

    def __init__(self, stream: TextIO):
        self._stream = stream  # kept, for it would take its file with it
        self._raw = getattr(stream.buffer, 'raw', stream.buffer)
        self._ended = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: Any) -> int | None:
        try:
            return len(data) if self._ended else self._raw.write(data)
        except OSError as error:
            self._ended = True
            if error.errno not in _READER_LEFT:
                raise
            return len(data)
