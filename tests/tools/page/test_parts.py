"""What the page is made of, without a browser."""

import asyncio
import os
import signal
import string
import time
import urllib.request

import pytest

from tests.support.page_server import PageServer
from tools.page import jobs
from tools.page.files import Files, open_files, safe_name
from tools.page.texts import LANGUAGES, SENTENCES, Texts, preferred, told_note


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path, keep_seconds=100, most_bytes=10**6)


def sent(files, name='a.png', content=b'x'):
    path = files.new_upload(name)
    path.write_bytes(content)
    return path


def test_both_languages_fill_in_the_same():
    for name, sentences in SENTENCES.items():
        assert len(sentences) == len(LANGUAGES) and all(sentences), name
        named = [{part[1] for part in string.Formatter().parse(text)} for text in sentences]
        assert named[0] - {None} == named[1] - {None}, name


@pytest.mark.parametrize(
    'header, language',
    [
        ('zh-CN,zh;q=0.9,en;q=0.8', 'zh'),
        ('en-GB,en;q=0.9,zh;q=0.8', 'en'),
        ('en;q=0.5, zh-TW;q=0.7', 'zh'),
        ('de, fr;q=0.9', 'en'),
        ('zh;q=0, en;q=0.1', 'en'),
        ('zh;q=x', 'en'),
        ('', 'en'),
        (',;=,' * 5000, 'en'),
    ],
)
def test_language_of_the_browser(header, language):
    assert preferred(header) == language


def test_notes_are_told_in_the_readers_language():
    line = 'cropped to 1,2,30,30: its object, found with a certainty of 0.76 in a.png'
    assert told_note(Texts('zh'), line) == '裁剪为 1,2,30,30：a.png。'
    assert told_note(Texts('en'), 'best frame: 3') == 'Best frame: 3'


@pytest.mark.parametrize(
    'name, safe',
    [
        ('me.jpg', 'me.jpg'),
        ('../../etc/passwd', 'passwd'),
        ('..\\x.PNG', 'x.png'),
        ('.htaccess', 'htaccess'),
        ('画 一.png', '画_一.png'),
        ('a;b|c.png', 'a_b_c.png'),
        ('', 'file'),
        ('..', 'file'),
    ],
)
def test_names_of_files(name, safe):
    assert safe_name(name) == safe


def test_long_names_of_files_are_cut():
    assert len(os.fsencode(safe_name('画' * 5000 + '.png'))) < 100


def test_only_what_was_sent_is_taken(files):
    path = sent(files)
    assert files.sent(str(path)) == path
    link = path.with_name('link.png')
    link.symlink_to('/etc/passwd')
    wrong = ('/etc/passwd', str(path.parent), str(files.folder), str(link), f'{path}/../x', None, 5)
    for other in (*wrong, f'{path}\0', str(files.folder / 'in' / '..' / 'spool' / 'x')):
        assert files.sent(other) is None


def test_a_reader_holds_one_file_in_a_place(files):
    first, second, other = sent(files), sent(files), sent(files)
    files.hold('me', 'picture', first)
    files.hold('you', 'picture', other)
    files.hold('me', 'picture', second)
    assert not first.exists() and second.exists()
    files.leave('me')
    assert not second.exists() and other.exists()


def test_files_go_when_their_time_is_over_unless_they_are_at_work(files):
    old, busy = sent(files), sent(files)
    with files.at_work(busy):
        files.sweep(time.time() + 101)
        assert not old.exists() and busy.exists()
    files.sweep(time.time() + 101)
    assert not busy.exists()


def test_there_is_room_for_so_much(files):
    sent(files, content=bytes(900_000))
    assert files.has_room(50_000) and not files.has_room(200_000)


def test_paths_are_left_out_of_messages(files):
    path = sent(files)
    assert files.without_paths(f'{path}: damaged, in {path}') == 'a.png: damaged, in a.png'


def test_what_a_killed_page_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.gettempdir', lambda: str(tmp_path))
    left = tmp_path / 'first-order-model-page-left'
    left.mkdir()
    (left / 'a').touch()
    os.utime(left, (0, 0))
    with open_files(100, 10**6) as files:
        os.utime(files.folder, (0, 0))
        assert not left.exists()
        with open_files(100, 10**6) as second:
            assert files.folder.exists() and second.folder != files.folder
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize('times', [1, 2])
def test_ended_by_a_signal_it_leaves_nothing(tmp_path, number, times, interruptible):
    pytest.importorskip('gradio', reason='the page needs the packages of requirements-web.txt')
    with PageServer(tmp_path) as server:
        assert server.files()
        # Somebody has the page open.
        with urllib.request.urlopen(f'{server.address}/en/gradio_api/heartbeat/reader'):
            for _ in range(times - 1):
                server.process.send_signal(number)
                time.sleep(0.05)
            assert server.end(number) == 128 + number
        assert not list(server.temporary.iterdir())
        assert 'Traceback' not in server.told()


def test_wrong_options_are_one_line(tmp_path):
    pytest.importorskip('gradio', reason='the page needs the packages of requirements-web.txt')
    error = r'error: --host 203\.0\.113\.1 --port 0: .*; try another'
    with pytest.raises(AssertionError, match=error):
        PageServer(tmp_path, '--host', '203.0.113.1').__enter__()


def test_how_the_process_of_jobs_broke_down_is_told(tmp_path, monkeypatch):
    """Its answers end a moment before itself; killed in between, another reason would be told."""
    worker = tmp_path / 'worker.py'
    worker.write_text(
        'import os, time\n'
        'input()\n'
        'os.close(1)\n'
        'time.sleep(0.3)\n'
        'os._exit(7)\n'
    )  # fmt: skip
    monkeypatch.setattr(jobs, 'WORKER', worker)

    async def told():
        queue = jobs.JobQueue(most_waiting=1, cpu=True)
        job = queue.enter('reader')
        messages = [message async for message in queue.run(job, {})]
        queue.leave(job)
        await queue.close()
        return messages[-1]

    message = asyncio.run(told())
    assert message['text'] == 'crashed' and message['values'] == {'why': 'status 7'}
