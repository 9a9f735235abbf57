"""Training by two machines, which network namespaces stand in for."""

import re
import subprocess
import sys

import numpy as np
import pytest

from modules.runtime.interfaces import interface_of
from tests.support.hosts import Hosts, kill, lack
from tests.support.joint_results import assert_as_one_process
from tests.support.places import ROOT
from tests.support.processes import wait_until
from tests.support.training_runs import write_clips, write_config

JOINT_STEPS = ROOT / 'tests' / 'support' / 'joint_steps.py'
LAST = '00000006-00000000-checkpoint.safetensors'


@pytest.fixture(scope='module')
def hosts():
    reason = lack()
    if reason:
        pytest.skip(reason)
    with Hosts() as made:
        yield made


@pytest.mark.slow
def test_two_hosts_equal_one_process_on_the_joint_batch(hosts, tmp_path):
    """20 steps in float64."""
    one, two = tmp_path / 'one.npz', tmp_path / 'two.npz'
    subprocess.run([sys.executable, JOINT_STEPS, one], check=True, capture_output=True)
    hosts.run(tmp_path, JOINT_STEPS, two)
    alone, together = np.load(one), np.load(two)
    assert_as_one_process(alone, together)
    assert together['calls'].min() > 0  # they have spoken


@pytest.mark.slow
def test_killed_and_resumed(hosts, tmp_path):
    """The last checkpoint has the bytes of a run that ran through."""
    data = write_clips(tmp_path / 'data')
    config = write_config(tmp_path / 'c.yaml', data, num_epochs=6, batch_size=4, num_repeats=2)
    train = (ROOT / 'train.py', '--cpu', '--config', config, '--save_dir')
    log = hosts.run(tmp_path / 'logs', *train, tmp_path / 'whole')
    assert re.search(r'finished: 6 epochs', log), log[-2000:]

    killed = tmp_path / 'killed'
    processes = hosts.start(tmp_path / 'logs-killed', *train, killed)
    try:
        wait_until(lambda: len(list(killed.glob('0*-checkpoint.safetensors'))) > 0, patience=120)
    finally:
        kill(processes)
    assert not (killed / LAST).exists()
    hosts.run(tmp_path / 'logs-resumed', *train, killed, '--resume')
    assert (killed / LAST).read_bytes() == (tmp_path / 'whole' / LAST).read_bytes()


def test_interfaces_are_found_by_their_address():
    if not sys.platform.startswith('linux'):
        pytest.skip('asked for on Linux alone')
    assert interface_of('127.0.0.1') == 'lo'
    assert interface_of('203.0.113.77') is None
