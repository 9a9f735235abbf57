"""Where the project is; places that refuse: of somebody else, and without room."""

import contextlib
import os
import resource
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the project
NOBODY = 65534


@contextlib.contextmanager
def foreign_folder():
    """A folder in which, in the block, this process may look, but neither write nor read the files.

    It holds a.png and a.mp4, and the same in a folder `closed`, which may not even be entered.
    """
    folder = Path(tempfile.mkdtemp())
    closed = folder / 'closed'
    closed.mkdir()
    for path in (folder / 'a.png', folder / 'a.mp4', closed / 'a.png', closed / 'a.mp4'):
        path.touch(mode=0)
    closed.chmod(0)
    folder.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:  # whom permissions don't bind
            os.seteuid(NOBODY)
        yield folder
    finally:
        if user == 0:
            os.seteuid(0)
        folder.chmod(0o755)
        closed.chmod(0o755)
        shutil.rmtree(folder)


@contextlib.contextmanager
def full_disk(limit):
    """No file may grow beyond `limit` bytes in the block: the calls fail that do on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
