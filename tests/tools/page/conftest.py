"""A page that is served, and a real Chromium that looks at it."""

import pytest

from tests.support.page_server import PageServer, chromium


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """The page by its own command, with the bundled networks."""
    pytest.importorskip('gradio', reason='the page needs the packages of requirements-web.txt')
    with PageServer(tmp_path_factory.mktemp('page')) as server:
        yield server


@pytest.fixture(scope='module')
def browser():
    """Chromium with a camera of its own."""
    playwright = pytest.importorskip('playwright.sync_api', reason='Playwright is not installed')
    program = chromium()
    if program is None:
        pytest.skip('no Chromium (Debian: apt install chromium)')
    flags = ['--no-sandbox', '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream']
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, server):
    """Opens the page, as in `opened(width=390)`; nothing may be asked of other servers."""
    contexts, asked = [], []

    def open_page(width=1280, height=900, locale='en-US'):
        context = browser.new_context(viewport={'width': width, 'height': height}, locale=locale)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.on('request', lambda request: asked.append(request.url))
        page.goto(server.address)
        page.wait_for_selector('#run')
        return page

    yield open_page
    for context in contexts:
        context.close()
    inner = ('data:', 'blob:', server.address, server.address.replace('http', 'ws'))
    assert not [url for url in asked if not url.startswith(inner)]
