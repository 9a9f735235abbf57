"""The bar and the sentence that tell how far a job is."""

from __future__ import annotations

import html
import time
from typing import Any

from tools.page.texts import Texts


class StatusLine:
    """Writes them, as HTML, in a reader's language."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def sentence(
        self, name: str, share: float | None = None, wrong: bool = False, **values: Any
    ) -> str:
        """A sentence by its name; see `bar`."""
        return self.bar(self._texts(name, **values), share, wrong)

    def progress(self, done: int, total: int | None, clock: Clock) -> str:
        """So many frames of all, and the time that the others will take."""
        if total is None:
            return self.sentence('frames', None, done=done)
        parts = [self._texts('frames_of', done=done, total=total)]
        left = clock.left(done, total)
        if left is not None:
            parts.append(self._texts('left', time=self.duration(left)))
        return self.bar(' · '.join(parts), done / max(1, total))

    def duration(self, seconds: float) -> str:
        """Seconds, or minutes and seconds."""
        if seconds < 10:
            return self._texts('seconds', seconds=f'{max(seconds, 0.1):.1f}')
        minutes, rest = divmod(round(seconds), 60)
        if not minutes:
            return self._texts('seconds', seconds=rest)
        return self._texts('minutes', minutes=minutes, seconds=rest)

    def bar(self, sentence: str, share: float | None, wrong: bool = False) -> str:
        """A bar that is filled by a share, and runs without one; below it a sentence."""
        of = '' if share is None else f' aria-valuenow="{100 * share:.0f}"'
        said = html.escape(sentence)
        width = '' if share is None else f' style="width: {100 * share:.1f}%"'
        kinds = f'bar{" runs" if share is None else ""}'
        return (
            f'<div class="track" role="progressbar" aria-valuemin="0" aria-valuemax="100"{of}>'
            f'<div class="{kinds}"{width}></div></div>'
            f'<p class="sentence{" wrong" if wrong else ""}" role="status">{said}</p>'
        )


class Clock:
    """Guesses how long the rest takes: as the frames since the first one did."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def left(self, done: int, total: int) -> float | None:
        now = time.monotonic()
        if self._first is None or done < self._first[0]:
            self._first = (done, now)
        count, start = self._first
        if done - count < 2:
            return None
        return (now - start) / (done - count) * (total - done)
