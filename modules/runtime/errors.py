"""One-line errors of the user, and what the operating system says of its own."""

import errno
import os

# What the operating system says when the place for the output is at fault, not the program.
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


class UserError(Exception):
    """A mistake of the user, in one line that names the thing and its mend. Exit status 2."""


def output_error_text(error: OSError) -> str:
    """One of OUTPUT_ERRORS as a user's error: the place, and what helps."""
    where = f' ({error.filename})' if error.filename else ''
    mend = 'free space or choose another output'
    if error.errno == errno.EACCES:  # an input may be meant as well
        mend = 'change its permissions or choose another path'
    return f'{os.strerror(error.errno or 0)}{where}: {mend}'


def reason_of(error: OSError) -> str:
    """What the operating system says, to stand in the middle of a line."""
    return (error.strerror or os.strerror(error.errno or 0)).lower()
