"""The page as a reader meets it, in a real browser.

$PAGE_PICTURES names a folder for pictures of it; the README's is `page.png` of them.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modules.video import VideoReader, write_video
from tests.support.places import ROOT
from tests.support.processes import wait_until

PICTURE, CLIP = (ROOT / 'doc/demo' / name for name in ('source.png', 'driving.mp4'))
FRAMES = 32  # of the clip
PATIENCE = 180
# Where things are on the page.
PLACES = """() => ['#run', '#cancel', '#status', '#result', '#examples', '#foot'].map(name => {
    const box = document.querySelector(name).getBoundingClientRect();
    return [name, box.x, box.y + scrollY, box.width, name == '#foot' ? 0 : box.height];
})"""


def show(page, name):
    """Keeps a picture of the page, where pictures are wanted."""
    folder = os.environ.get('PAGE_PICTURES')
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f'{folder}/{name}.png', full_page=True, animations='disabled')


def status(page):
    return page.inner_text('#status .sentence')


def choose(page, picture=PICTURE, clip=CLIP):
    for field, path in (('picture', picture), ('clip', clip)):
        if path is not None:
            page.set_input_files(f'#{field} input[type=file]', str(path))
            page.wait_for_selector(
                f'#{field} [aria-label="{"Remove Image" if field == "picture" else "Clear"}"]'
            )


def run(page):
    """To its end, which may come before anybody sees that it has begun."""
    page.evaluate('document.querySelector("#status .sentence").dataset.old = 1')
    page.click('#run')
    page.wait_for_selector('#status .sentence:not([data-old])')
    page.wait_for_selector('#run:not([disabled])')


def metadata(page, player):
    """Duration, width, height and frames of a clip, read by the browser that plays it."""
    return page.evaluate(
        """async name => {
            const video = document.querySelector(`${name} video`);
            video.loop = false; video.currentTime = 0; video.playbackRate = 0.5;
            const ended = new Promise(done => video.addEventListener('ended', done));
            const start = video.getVideoPlaybackQuality();
            let frames = 0;
            const count = () => { frames += 1; video.requestVideoFrameCallback(count); };
            video.requestVideoFrameCallback(count);
            await video.play(); await ended;
            return [video.duration, video.videoWidth, video.videoHeight, frames];
        }""",
        player,
    )


def download(page, button, tmp_path):
    with page.expect_download() as waiting:
        page.click(button)
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_upload_run_play_download(opened, tmp_path):
    page = opened()
    show(page, 'empty')
    choose(page)
    before = page.evaluate(PLACES)
    page.click('#run')
    page.wait_for_selector('#cancel:not([disabled])')
    during = page.evaluate(PLACES)
    page.wait_for_selector('#save-result:not([disabled])')
    assert status(page).startswith(f'Done: {FRAMES} frames in ')
    assert during == before
    assert page.evaluate(PLACES)[:4] == before[:4]
    show(page, 'page')

    with VideoReader(CLIP) as reader:
        seconds = float(reader.frame_count / reader.fps)
    duration, width, height, frames = metadata(page, '#result')
    assert (width, height) == (128, 128)
    assert duration == pytest.approx(seconds, abs=0.06)
    assert FRAMES / 2 < frames <= FRAMES + 2  # a busy browser leaves out some
    path = download(page, '#save-result', tmp_path)
    assert path.name == 'source-driving.mp4'
    with VideoReader(path) as result:
        assert (result.frame_count, result.size) == (FRAMES, (128, 128))

    page.get_by_role('tab', name='Side by side').click()
    page.wait_for_selector('#beside video')
    show(page, 'side-by-side')
    path = download(page, '#save-beside', tmp_path)
    with VideoReader(path) as beside, VideoReader(tmp_path / 'source-driving.mp4') as result:
        assert (beside.frame_count, beside.size) == (FRAMES, (128, 384))
        last, alone = list(beside)[-1], list(result)[-1]
    assert np.abs(last[:, 256:].astype(int) - alone).mean() < 3

    page.get_by_role('tab', name='Keypoints').click()
    page.click('#draw')
    page.wait_for_selector('#drawing img')
    assert page.evaluate('document.querySelector("#drawing img").naturalWidth') == 6 * 128
    assert status(page).startswith('Drawn')
    show(page, 'keypoints')


def test_examples_run_at_once(opened):
    page = opened()
    for number in (1, 2, 3):
        page.click(f'#example-{number}')
        page.wait_for_selector('#cancel:not([disabled])')
        page.wait_for_selector('#save-result:not([disabled])')
        assert status(page).startswith('Done')
        assert not page.inner_text('#picture-error')


def test_cancel_midway(opened, server, tmp_path):
    long = tmp_path / 'long.mp4'
    with VideoReader(CLIP) as reader:
        frames = list(reader)
    write_video(long, (frames + frames[::-1]) * 20, 25)
    page = opened()
    choose(page, clip=long)
    page.click('#run')
    page.wait_for_function('document.querySelector("#status").innerText.startsWith("Frame ")')
    show(page, 'running')
    page.click('#cancel')
    page.wait_for_selector('#run:not([disabled])')
    assert status(page) == 'Cancelled; nothing was kept.'
    wait_until(lambda: not server.files('out'), PATIENCE)
    assert not page.query_selector('#result video')
    choose_again = page.evaluate(PLACES)
    assert choose_again[0][0] == '#run'
    run_short(page)


def run_short(page):
    """The page goes on."""
    page.click('#example-1')
    page.wait_for_selector('#save-result:not([disabled])')


def test_errors_stand_beside_their_fields(opened, tmp_path):
    broken, empty = tmp_path / 'broken.png', tmp_path / 'empty.mp4'
    broken.write_bytes(PICTURE.read_bytes()[:900])
    empty.write_bytes(b'\0\0\0\x20ftypisom' + bytes(500))
    page = opened()
    page.click('#run')
    page.wait_for_selector('#picture-error p')
    assert page.inner_text('#picture-error') == 'Choose a picture, or take one.'
    assert page.inner_text('#clip-error') == 'Choose a clip, or record one.'

    choose(page, broken)
    page.wait_for_function('!document.querySelector("#picture-error").innerText')
    run(page)
    show(page, 'error')
    assert page.inner_text('#picture-error') == 'This picture is damaged; choose another file.'
    assert not page.inner_text('#clip-error')

    page.click('#picture [aria-label="Remove Image"]')
    page.click('#clip [aria-label="Clear"]')
    choose(page, PICTURE, empty)
    run(page)
    assert 'not a video' in page.inner_text('#clip-error')
    assert not page.inner_text('#picture-error')


def test_options_are_checked(opened):
    page = opened()
    choose(page)
    page.click('#options button')
    page.fill('#size input, #size textarea', '12')
    run(page)
    assert page.inner_text('#options-error').startswith('12: give width and height in pixels')
    page.fill('#size input, #size textarea', '64,64')
    run(page)
    assert metadata(page, '#result')[1:3] == [64, 64]


def test_clip_without_frames(opened, tmp_path):
    import av

    path = tmp_path / 'sound.mp4'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('aac', rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), 'float32'), 'fltp', 'mono')
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    page = opened()
    choose(page, clip=path)
    run(page)
    sentence = 'This clip has no frames; choose one with moving pictures.'
    assert page.inner_text('#clip-error') == sentence


def test_chinese_and_the_switch(opened):
    page = opened(locale='zh-CN')
    assert page.url.endswith('/zh/')
    assert page.inner_text('#run') == '生成动画'
    assert page.evaluate('document.documentElement.lang') == 'zh-CN'
    page.click('#run')
    page.wait_for_selector('#picture-error p')
    assert page.inner_text('#picture-error') == '请选择或拍摄一张图片。'
    page.click('#options button')
    page.wait_for_timeout(400)
    show(page, 'chinese')
    page.click('#head .switch')
    page.wait_for_url('**/en/')
    page.wait_for_selector('#run')
    assert page.inner_text('#run') == 'Animate'
    page.goto(page.url.removesuffix('en/'))  # remembered
    assert page.url.endswith('/en/')


def test_a_phone(opened):
    page = opened(width=390, height=844)
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    for name in ('#picture', '#clip', '#run', '#cancel', '#result', '#save-result', '#example-3'):
        box = page.query_selector(name).bounding_box()
        assert box['x'] >= 0 and box['x'] + box['width'] <= 390, name
    tabs = page.query_selector_all('#results [role=tab]')
    assert len(tabs) == 3
    run_short(page)
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    show(page, 'phone')


def test_a_picture_by_camera_and_no_path_in_what_is_told(opened, server):
    page = opened()
    told = []

    def keep(response):
        told.append(response.url)
        if re.search(r'/(upload|join|config)(\?|$)', response.url):
            told.append(response.text())

    page.on('response', keep)
    page.click('#picture [aria-label="Capture from camera"]')
    page.click('#picture button:has-text("Access Webcam"), #picture [aria-label*="ccess" i]')
    # A click before the camera's first frame takes nothing.
    page.wait_for_function("document.querySelector('#picture video')?.readyState >= 2")
    page.click('#picture [aria-label="capture photo"]')
    page.wait_for_selector('#picture [aria-label="Remove Image"]')
    choose(page, None)
    run_and_fail_or_not(page)
    text = ''.join(told) + page.content()
    for path in (str(server.temporary), str(ROOT), str(Path.home())):
        assert path not in text


def run_and_fail_or_not(page):
    """No creature is to be found in what Chromium's camera shows; the page says so, or animates."""
    run(page)
    assert status(page)


def test_too_large_is_refused(opened, tmp_path):
    path = tmp_path / 'large.png'
    Image.new('L', (8000, 8000)).save(path)
    page = opened()
    choose(page, path)
    run(page)
    assert '8000 x 8000' in page.inner_text('#picture-error')
