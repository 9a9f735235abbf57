"""What C libraries print on stderr of their own accord, kept from the terminal."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator

# The process has one stderr: a second thread would take the first one's file for it.
_turn = threading.Lock()


@contextlib.contextmanager
def without_chatter(shown_on_failure: bool) -> Iterator[None]:
    """Nothing that is printed on stderr in the block gets there.

    Args:
        shown_on_failure: but where the block raises something it does, and comes late.
    """
    with _turn, tempfile.TemporaryFile() if shown_on_failure else open(os.devnull, 'wb') as chatter:
        try:
            stderr = os.dup(2)
        except OSError:  # there is none, as under pythonw
            yield
            return
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(stderr, 2)
            if shown_on_failure:
                chatter.seek(0)
                os.write(2, chatter.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
