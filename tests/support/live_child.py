"""The process of a live session with a fake engine, which takes its time: see fake_engine.py.

Its first wish may say `seconds`, of each frame.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from modules.animation.live import Live
from tests.support.fake_engine import SIZE, FakeEngine, plain
from tools.page import live_child


class SlowEngine(FakeEngine):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def detect(self, image):
        time.sleep(self.seconds)
        return super().detect(image)


class FakeSession(live_child.Session):
    def _open(self, settings):
        live = Live(SlowEngine(settings.get('seconds', 0.0)), plain(100), SIZE)
        self._tell(state='ready', width=SIZE[1], height=SIZE[0])
        return live


if __name__ == '__main__':
    live_child.main(FakeSession)
