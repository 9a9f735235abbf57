"""One job at a time, in the order in which they were asked for; computed by a process of its own.

So a crash while a broken file is read ends that process and not the page, a job that is cancelled
can be ended whatever it is at, and the page stays at once while both cores compute.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

Message = Mapping[str, Any]  # see tools/page/worker.py
WORKER = Path(__file__).with_name('worker.py')
_LOOK = 0.1  # seconds between looks at what may have been cancelled
_GRACE = 5  # seconds that a cancelled job has to end by itself


class RefusedError(Exception):
    """A job that is not taken; the text is the name of a sentence."""


class Job:
    """A reader's place in the line."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.cancelled = False


class JobQueue:
    """The line of jobs, and the process that computes them.

    Args:
        most_waiting: jobs in line, beside the one at work.
        cpu: use the CPU even if there is a GPU.
    """

    def __init__(self, most_waiting: int, cpu: bool = False) -> None:
        self._most_waiting = most_waiting
        self._line: list[Job] = []
        self._process = _WorkerProcess(cpu)

    def cancel(self, session: str) -> bool:
        """Ends the job of a reader, if there is one; any thread may ask."""
        found = [job for job in self._line if job.session == session]
        for job in found:
            job.cancelled = True
        return bool(found)

    def enter(self, session: str) -> Job:
        """A place at the end of the line; whoever has it leaves it, too.

        Raises:
            RefusedError: the line is full, or this reader is in it.
        """
        if any(job.session == session for job in self._line):
            raise RefusedError('busy_session')
        if len(self._line) > self._most_waiting:
            raise RefusedError('full')
        job = Job(session)
        self._line.append(job)
        return job

    def leave(self, job: Job) -> None:
        """The next one moves up."""
        self._line.remove(job)

    async def run(self, job: Job, order: Message) -> AsyncIterator[Message]:
        """What happens to a job, to its end.

        Yields:
            {'kind': 'waiting', 'before': N} while others wait before it, then what the worker says;
            the last one is of kind 'done', 'failed' or 'cancelled'.
        """
        told = None
        while (before := self._line.index(job)) and not job.cancelled:
            if before != told:
                told = before
                yield {'kind': 'waiting', 'before': before - 1}
            await asyncio.sleep(_LOOK)
        if job.cancelled:
            yield {'kind': 'cancelled'}
            return
        async with contextlib.aclosing(self._process.run(order, job)) as messages:
            async for message in messages:
                yield message

    async def close(self) -> None:
        """Cancels all, and ends the process."""
        for job in self._line:
            job.cancelled = True
        await self._process.end()


class _WorkerProcess:
    """The process of tools/page/worker.py; started when it is needed, and anew when it died."""

    def __init__(self, cpu: bool) -> None:
        self._cpu = cpu
        self._process: asyncio.subprocess.Process | None = None
        self._numbers = itertools.count()

    async def run(self, order: Mapping[str, Any], job: Job) -> AsyncGenerator[Message, None]:
        process = await self._started()
        number = next(self._numbers)
        ended = False
        try:
            await self._send(process, {**order, 'number': number})
            asked: float | None = None
            loop = asyncio.get_running_loop()
            answer = asyncio.ensure_future(self._answer(process))
            while not ended:
                await asyncio.wait([answer], timeout=_LOOK)
                if job.cancelled and asked is None:
                    asked = loop.time()
                    await self._send(process, {'cancel': number})
                    yield {'kind': 'cancelling'}
                if answer.done():
                    message = answer.result()
                    if message is None:
                        # By itself, if it has: asyncio may forget how a process ended that is
                        # killed when it is dead already.
                        with contextlib.suppress(asyncio.TimeoutError):
                            await asyncio.wait_for(process.wait(), _GRACE)
                        await self.end()
                        reason = _describe(process.returncode)
                        message = {'kind': 'failed', 'field': 'status', 'text': 'crashed'}
                        message = {**message, 'values': {'why': reason}}
                    if message.get('number', number) != number:  # of one that was given up
                        answer = asyncio.ensure_future(self._answer(process))
                        continue
                    ended = message['kind'] in ('done', 'failed', 'cancelled')
                    if not ended:
                        answer = asyncio.ensure_future(self._answer(process))
                    yield {'kind': 'cancelled'} if ended and job.cancelled else message
                elif asked is not None and loop.time() - asked > _GRACE:
                    await self.end()
                    ended = True
                    yield {'kind': 'cancelled'}
        finally:
            if not ended:  # nobody listens any more
                answer.cancel()
                await self.end()

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            arguments = [sys.executable, str(WORKER), *(['--cpu'] if self._cpu else [])]
            self._process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=os.name == 'posix',  # Ctrl-C is for the page, which ends it
                limit=2**20,
            )
        return self._process

    async def _send(self, process: asyncio.subprocess.Process, order: Mapping[str, Any]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it has died, which its answer tells
            process.stdin.write(json.dumps(order).encode() + b'\n')
            await process.stdin.drain()

    async def _answer(self, process: asyncio.subprocess.Process) -> dict[str, Any] | None:
        """The next message; None when there will be none."""
        assert process.stdout is not None
        try:
            line = await process.stdout.readline()
            message: dict[str, Any] = json.loads(line)
            return message
        except ValueError:  # no line, or half of one
            return None

    async def end(self) -> None:
        """Ends the process, in the middle of its work if need be."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _describe(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f'status {status}'
