import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime import prepare_process  # noqa: E402

prepare_process()
