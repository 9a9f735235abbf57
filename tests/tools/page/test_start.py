"""What tools/webui.py refuses before there is a page; needs none of its packages."""

import sys

import pytest

from modules.runtime.errors import UserError
from tests.support.places import ROOT
from tools import webui


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--checkpoint', 'nowhere.pth.tar'], 'nowhere.pth.tar: no such file or folder'),
        (['--checkpoint', 'vox', '--config', 'nowhere.yaml'], 'nowhere.yaml: no such config'),
        (['--config', str(ROOT / 'README.md')], 'README.md: line '),
    ],
)
def test_weights_that_are_not_there(arguments, said, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['webui.py', '--port', '0', *arguments])
    with pytest.raises(UserError) as refused:
        webui.main()
    assert said in str(refused.value)


def test_known_weights_are_not_downloaded_before_they_are_used(monkeypatch):
    monkeypatch.setattr(webui, 'find_weights', lambda name: pytest.fail(f'looked for {name}'))
    monkeypatch.setattr(sys, 'argv', ['webui.py', '--checkpoint', 'vox'])
    webui.check_weights(webui.parse_arguments())
