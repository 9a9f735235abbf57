import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime import prepare_process  # noqa: E402

prepare_process()

# Compiled programs are shared by the tests, not with the user.
_CACHE = tempfile.mkdtemp()
os.environ['XDG_CACHE_HOME'] = _CACHE
atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
