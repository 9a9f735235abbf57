"""One-line errors of the user, and what the operating system says of its own."""

import errno
import os

# What the operating system says when the place for the output is at fault, not the program.
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


class UserError(Exception):
    """A mistake of the user, in one line that names the thing and its mend. Exit status 2."""


def reason_of(error: OSError) -> str:
    """What the operating system says, to stand in the middle of a line."""
    return (error.strerror or os.strerror(error.errno or 0)).lower()
