"""The live tab in a real browser, whose camera plays a clip of a creature."""

import base64
import io
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modules.animation.inputs import BUNDLED, BUNDLED_CHECKPOINT, BUNDLED_CONFIG
from modules.animation.live import Live
from modules.checkpoints.models import StoredModels
from modules.config import load_config
from modules.inference.choice import build_engine
from modules.video import VideoReader, read_image
from modules.video.jpeg import decode_jpeg
from tests.support.page_server import chromium
from tests.support.places import ROOT
from tests.support.y4m import camera_frames, write_y4m

playwright = pytest.importorskip('playwright.sync_api', reason='Playwright is not installed')
CHROMIUM = chromium()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason='no Chromium (Debian: apt install chromium)'),
]
FLAGS = ('--headless=new', '--no-sandbox', '--use-fake-device-for-media-stream')
PATIENCE = 120_000  # milliseconds; the first session compiles
VIEW = 'document.querySelector("live-view")'


@pytest.fixture(scope='module')
def clip():
    return list(VideoReader(BUNDLED / 'driving.mp4'))


@pytest.fixture(scope='module')
def browser(clip, tmp_path_factory):
    path = tmp_path_factory.mktemp('camera') / 'creature.y4m'
    write_y4m(path, camera_frames(clip))
    flags = [*FLAGS, f'--use-file-for-fake-video-capture={path}']
    with playwright.sync_playwright() as found:
        browser = found.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, server):
    """Opens the live tab -> its page; all are closed at the end, and no script has failed."""
    contexts = []

    def open_tab(language='en', width=1200, camera=True):
        size = {'width': width, 'height': 900}
        context = browser.new_context(viewport=size, permissions=['camera'] if camera else [])
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on('pageerror', lambda error: page.problems.append(str(error)))
        page.goto(f'{server.address}/{language}/')
        page.get_by_role('tab', name={'en': 'Live', 'zh': '实时'}[language]).click()
        part(page, 'start').wait_for()
        page.wait_for_function(f'{VIEW}.picture')
        return page

    yield open_tab
    for context in contexts:
        assert not context.pages or context.pages[0].problems == []
        context.close()


def part(page, name):
    return page.locator(f'live-view [data-part="{name}"]')


def log(page):
    return page.evaluate(f'{VIEW}.log')


def wait_for_results(page, count):
    page.wait_for_function(f'{VIEW}.log.results >= {count}', timeout=PATIENCE)


def wait_for_state(page, state):
    page.wait_for_function(f'{VIEW}.dataset.state === "{state}"', timeout=PATIENCE)


def start(page):
    part(page, 'start').click()
    wait_for_results(page, 2)


def stop(page):
    part(page, 'start').click()
    wait_for_state(page, 'stopped')


def keep(page, name):
    """Keeps what is seen, where somebody wants to look at it."""
    folder = os.environ.get('PAGE_SCREENSHOTS')
    if folder:
        page.screenshot(path=Path(folder, f'{name}.png'), full_page=True)


def test_the_result_follows_the_camera(visit, clip, capsys):
    """At least 30 results; the last one is the picture in the pose of the last frame."""
    page = visit()
    page.evaluate(f"""() => {{  // keeps the first frame that is sent, and the last
        const view = {VIEW}, send = view.send;
        const text = (data) => btoa(String.fromCharCode(...data.subarray(5)));
        view.send = (message) => {{
          if (message[0] === 1) {{ view.first ??= text(message); view.last = text(message); }}
          send.call(view, message);
        }};
    }}""")
    start(page)
    before, begin = log(page), time.monotonic()
    wait_for_results(page, 60)
    after, spent = log(page), time.monotonic() - begin
    rate = (after['results'] - before['results']) / spent
    latency = part(page, 'latency').inner_text()
    keep(page, 'live')
    # All that the camera gives, for long enough that the server would still be at it, had it kept
    # what it could not do at once.
    page.evaluate(f'{VIEW}.pace = () => 0')
    time.sleep(8)
    stop(page)
    with capsys.disabled():
        print(f'\nlive in Chromium: {rate:.1f} results per second, latency {latency} ms')
    final = log(page)
    assert final['results'] >= 30 and part(page, 'rate').inner_text() == '–'
    assert final['shown'] == final['sent']

    shown = page.evaluate(f'{VIEW}.screen.toDataURL("image/png")').partition(',')[2]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown))).convert('RGB'))
    sent = [page.evaluate(f'{VIEW}.{name}') for name in ('first', 'last')]
    first, last = (decode_jpeg(base64.b64decode(text)) for text in sent)
    expected = results_after(first, [last, *clip])
    errors = [np.abs(shown.astype(int) - other).mean() for other in expected]
    assert errors[0] < 1.5  # the JPEG's
    # Of the clip's frames, the one that the camera has shown last is the one that is followed.
    small = np.asarray(Image.fromarray(last).resize(clip[0].shape[1::-1], Image.Resampling.BOX))
    distances = [np.abs(small.astype(int) - frame).mean() for frame in clip]
    assert np.argmin(errors[1:]) == np.argmin(distances)
    assert max(errors) > 3 * errors[0]  # else it would tell nothing


def results_after(first, frames):
    """The bundled picture after each of these frames, the first one being neutral."""
    config = load_config(BUNDLED_CONFIG)
    height, width = config['dataset_params']['frame_shape'][:2]
    models = StoredModels(config, BUNDLED_CHECKPOINT)
    engine = build_engine(models, config['model_params'], (height, width))
    live = Live(engine, read_image(BUNDLED / 'source.png'), (height, width))
    made = []
    for frame in [first, *frames]:
        live.show(frame)
        made.append(next(live.results()).picture.astype(int))
    return made[1:]


def test_a_recording_is_downloaded(visit, tmp_path):
    page = visit()
    start(page)
    part(page, 'record').click()
    wait_for_state(page, 'recording')
    keep(page, 'live_recording')
    wait_for_results(page, log(page)['results'] + 10)
    part(page, 'start').click()  # which ends the recording, too
    wait_for_state(page, 'recorded')
    with page.expect_download() as download:
        part(page, 'download').click()
    assert download.value.suggested_filename == 'live.mp4'
    path = tmp_path / 'live.mp4'
    download.value.save_as(path)
    frames = list(VideoReader(path))
    assert len(frames) >= 10 and frames[0].shape == (128, 128, 3)
    assert max(np.abs(frame.astype(int) - frames[0]).mean() for frame in frames) > 1  # it moves


def test_nothing_jumps(visit):
    """What is seen stays at its place, whatever happens."""
    page = visit(width=390)

    def places():
        parts = page.evaluate(f"""[...{VIEW}.querySelectorAll('*')].map((each) => {{
            const {{x, y, width, height}} = each.getBoundingClientRect();
            return [each.dataset.part || each.className, x, y, width, height].join(' ');
        }})""")
        return [line for line in parts if line.split()[0] not in ('state', 'wrong', 'video')]

    assert page.evaluate('document.documentElement.scrollWidth') == 390
    before = places()
    start(page)
    part(page, 'mirror').click()
    part(page, 'record').click()
    wait_for_state(page, 'recording')
    wait_for_results(page, log(page)['results'] + 5)
    keep(page, 'live_narrow')
    assert places() == before
    part(page, 'record').click()
    wait_for_state(page, 'recorded')
    assert places() == before
    stop(page)
    assert places() == before
    assert page.evaluate('document.documentElement.scrollWidth') == 390


def test_chinese(visit):
    page = visit('zh', width=390)
    assert part(page, 'start').inner_text() == '开始'
    start(page)
    assert part(page, 'state').inner_text() == '实时运行中。'
    assert part(page, 'start').inner_text() == '停止'
    keep(page, 'live_chinese')
    stop(page)


def test_another_picture_calibration_and_mirror(visit, tmp_path):
    page = visit()
    start(page)
    broken = tmp_path / 'broken.png'
    broken.write_bytes(b'none')
    part(page, 'file').set_input_files(broken)
    wait_for_state(page, 'picture_wrong')
    assert part(page, 'state').inner_text().startswith('This picture cannot be read: ')
    assert str(tmp_path) not in part(page, 'state').inner_text()
    keep(page, 'live_broken_picture')
    first = page.locator('live-view [data-picture]').first
    assert first.get_attribute('aria-checked') == 'true'  # the last one that was good
    plain = tmp_path / 'plain.png'
    Image.new('RGB', (300, 200), (250, 20, 30)).save(plain)
    part(page, 'file').set_input_files(plain)
    colour = f'[...{VIEW}.screen.getContext("2d").getImageData(5, 5, 1, 1).data]'
    page.wait_for_function(f'(([r, g, b]) => r > 200 && g < 60 && b < 60)({colour})')
    part(page, 'calibrate').click()
    part(page, 'mirror').click()
    assert part(page, 'mirror').get_attribute('aria-pressed') == 'true'
    wait_for_results(page, log(page)['results'] + 5)
    stop(page)


def test_the_second_reader_gets_a_sentence_and_the_place_once_it_is_free(visit):
    first, second = visit(), visit()
    start(first)
    part(second, 'start').click()
    wait_for_state(second, 'busy')
    assert 'one at a time' in part(second, 'state').inner_text()
    keep(second, 'live_busy')
    first.close()  # the tab alone, without a word
    start(second)
    stop(second)
    deadline = time.monotonic() + 20
    while children():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children():
    """Processes of live sessions on this machine."""
    found = subprocess.run(['ps', '-eo', 'args'], capture_output=True, text=True, check=True)
    return found.stdout.count(str(ROOT / 'tools' / 'page' / 'live_child.py'))


def test_without_leave_to_use_the_camera(visit):
    page = visit(camera=False)
    part(page, 'start').click()
    wait_for_state(page, 'denied')
    assert 'allow it' in part(page, 'state').inner_text()
    assert part(page, 'start').inner_text() == 'Start'
