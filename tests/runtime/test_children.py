"""Functions called in processes of their own."""

import os
import signal
import threading

import pytest

from modules.runtime.children import ChildDiedError, call_apart, close_children
from modules.runtime.errors import UserError


def fail(kind):
    raise {'user': UserError('a.mp4: damaged'), 'system': OSError(28, 'full'), 'ours': KeyError(3)}[
        kind
    ]


def test_another_process_computes_and_stays():
    other = call_apart(os.getpid)
    assert other != os.getpid() and call_apart(os.getpid) == other
    close_children()
    assert call_apart(os.getpid) not in (other, os.getpid())


def test_errors_come_back():
    with pytest.raises(UserError, match=r'a\.mp4: damaged'):
        call_apart(fail, 'user')
    with pytest.raises(OSError, match='full') as error:
        call_apart(fail, 'system')
    assert error.value.errno == 28
    with pytest.raises(RuntimeError, match=r'(?s)Traceback.*KeyError: 3'):
        call_apart(fail, 'ours')
    assert call_apart(len, 'abc') == 3


@pytest.mark.parametrize(
    ('function', 'arguments', 'how'), [(os.abort, (), 'SIGABRT'), (os._exit, (3,), 'status 3')]
)
def test_its_end_is_noticed(function, arguments, how):
    with pytest.raises(ChildDiedError, match=how):
        call_apart(function, *arguments)
    assert call_apart(len, 'abc') == 3


def be_killed(marker, times):
    """Ends as a process that the system has chosen, being short of memory."""
    with open(marker, 'a') as file:
        file.write('x')
    if os.path.getsize(marker) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return 'done'


def test_one_that_is_killed_is_replaced_once(tmp_path):
    assert call_apart(be_killed, tmp_path / 'once', 1) == 'done'
    with pytest.raises(ChildDiedError, match='SIGKILL'):
        call_apart(be_killed, tmp_path / 'twice', 2)


def test_what_can_not_be_sent_harms_no_later_call():
    with pytest.raises(Exception, match='pickle'):
        call_apart(len, lambda: None)
    assert call_apart(len, 'abc') == 3


def test_what_is_printed_there_does_not_disturb():
    assert call_apart(print, 'words') is None
    assert call_apart(os.write, 1, b'more') == 4


def test_as_many_work_as_calls_at_a_time():
    pids = []
    meeting = threading.Barrier(2, timeout=20)

    def work():
        meeting.wait()
        call_apart(os.system, 'sleep 0.3')
        pids.append(call_apart(os.getpid))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 2 and call_apart(os.getpid) in pids


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_fork_has_its_own():
    other = call_apart(os.getpid)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b'%d' % call_apart(os.getpid))
        close_children()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert int(answer.read()) != other
    os.waitpid(child, 0)
    assert call_apart(os.getpid) == other
