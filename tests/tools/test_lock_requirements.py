"""requirements-cpu.lock is what `make lock` makes of the requirements, and pip takes it whole."""

import re

import pytest
from packaging.requirements import Requirement

from tests.support.places import ROOT
from tools import licences, lock_requirements
from tools.lock_requirements import LOCK, Package, lock_text

PYTHONS = ('3.10', '3.11', '3.12', '3.13')
ENTRY = re.compile(r'[^\s\\]+==[^\\\n]+(?: \\\n    --hash=sha256:[0-9a-f]{64})+')


def applying(requirements, python):
    """{name: version} of those that a Python takes."""
    place = {'python_version': python, 'sys_platform': 'linux', 'platform_machine': 'x86_64'}
    taken = (r for r in requirements if r.marker is None or r.marker.evaluate(place))
    return {r.name.lower().replace('_', '-'): str(r.specifier) for r in taken}


def entries():
    lines = LOCK.read_text(encoding='utf-8').splitlines()
    text = '\n'.join(line for line in lines if not line.startswith('#'))
    found = ENTRY.findall(text)
    assert '\n'.join(found) == text  # nothing else is in it, such as an address
    return [Requirement(entry.partition(' \\')[0]) for entry in found]


@pytest.mark.parametrize('python', PYTHONS)
def test_the_lock_has_what_the_requirements_ask_for(python):
    locked = applying(entries(), python)
    for name in ('requirements-common.txt', *lock_requirements.REQUIREMENTS):
        lines = (ROOT / name).read_text(encoding='utf-8').splitlines()
        asked = [Requirement(line) for line in lines if line and line[0] not in '#-']
        for package, version in applying(asked, python).items():
            assert locked.get(package) == version, f'{package}: run `make lock`'


def test_each_python_gets_one_version_of_a_package():
    for python in PYTHONS:
        place = {'python_version': python}
        names = [r.name for r in entries() if r.marker is None or r.marker.evaluate(place)]
        assert len(names) == len(set(names)) > 30


def test_a_release_that_not_all_pythons_take_has_a_marker():
    text = lock_text({
        '3.10': {Package('a', '1'): 'f' * 64, Package('b', '1'): 'e' * 64},
        '3.11': {Package('a', '1'): '0' * 64, Package('b', '2'): 'd' * 64},
    })  # fmt: skip
    assert text.split('\n', 2)[2] == (
        f'a==1 \\\n    --hash=sha256:{"0" * 64} \\\n    --hash=sha256:{"f" * 64}\n'
        f"b==1 ; python_version == '3.10' \\\n    --hash=sha256:{'e' * 64}\n"
        f"b==2 ; python_version == '3.11' \\\n    --hash=sha256:{'d' * 64}\n"
    )


@pytest.mark.parametrize(
    'metadata, licence',
    [
        ({'license_expression': 'MIT', 'license': 'x'}, 'MIT'),
        ({'license': 'BSD\n 3-Clause'}, 'BSD 3-Clause'),
        (
            {
                'license': 'The whole text. ' * 99,
                'classifier': ['License :: OSI Approved', 'License :: OSI Approved :: ISC'],
            },
            'ISC',
        ),
        ({}, 'unknown'),
    ],
)
def test_licences_by_the_packages_own_metadata(metadata, licence):
    assert licences.licence_of(metadata) == licence


def test_the_list_of_licences_names_every_package():
    listed = (ROOT / 'doc' / 'licences.md').read_text(encoding='utf-8')
    for requirement in entries():
        assert f'\n| {requirement.name} | ' in listed, 'run `make licences`'
