"""Two hosts on one machine: network namespaces with a cable between them; root may make them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.places import ROOT

NETWORK = '10.231.77'


def lack():
    """Why there can't be two hosts here; '' if there can."""
    if not sys.platform.startswith('linux') or os.geteuid() != 0:
        return 'only root on Linux may make network namespaces'
    if shutil.which('ip') is None:
        return 'the command ip (iproute2) is not installed'
    try:
        with Hosts() as hosts:
            ip('netns', 'exec', hosts.names[0], 'true')
    except subprocess.CalledProcessError as error:
        return f'network namespaces are not allowed here: {error.stderr.strip()}'
    return ''


class Hosts:
    """Two hosts; host i has the address NETWORK.(i + 1)."""

    def __init__(self):
        number = os.getpid()
        self.names = [f'fomm-{number}-{i}' for i in range(2)]
        self._cables = [f'fm{number}{end}' for end in 'ab']

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self):
        first, second = self._cables
        for name in self.names:
            ip('netns', 'add', name)
        ip('link', 'add', first, 'type', 'veth', 'peer', 'name', second)
        for i, (name, cable) in enumerate(zip(self.names, self._cables)):
            ip('link', 'set', cable, 'netns', name)
            ip('-n', name, 'addr', 'add', f'{NETWORK}.{i + 1}/24', 'dev', cable)
            ip('-n', name, 'link', 'set', 'lo', 'up')
            ip('-n', name, 'link', 'set', cable, 'up')

    def __exit__(self, *exception):
        for name in self.names:
            subprocess.run(['ip', 'netns', 'del', name], check=False, capture_output=True)

    def start(self, folder, *command):
        """Starts the command on both, a process each; logs go into the folder."""
        master = f'{NETWORK}.1:{free_port()}'
        processes = []
        for i, name in enumerate(self.names):
            there = ['ip', 'netns', 'exec', name, sys.executable, '-m', 'paddle.distributed.launch']
            both = ['--nnodes', '2', '--master', master, '--nproc_per_node', '1']
            own = ['--rank', i, '--host', f'{NETWORK}.{i + 1}', '--log_dir', f'{folder}/host{i}']
            process = subprocess.Popen(
                list(map(str, [*there, *both, *own, *command])),
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, 'OMP_NUM_THREADS': '1'},
            )
            processes.append(process)
        return processes

    def run(self, folder, *command):
        """Runs the command on both -> what the first host's process has printed."""
        processes = self.start(folder, *command)
        try:
            statuses = [process.wait(timeout=300) for process in processes]
        finally:
            kill(processes)
        log = (Path(folder) / 'host0' / 'workerlog.0').read_text(errors='replace')
        assert statuses == [0, 0], log[-3000:]
        return log


def kill(processes):
    """SIGKILL to launchers and all that they have started."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port():
    with socket.socket() as found:
        found.bind(('', 0))
        return found.getsockname()[1]


def ip(*words):
    subprocess.run(['ip', *words], check=True, capture_output=True, text=True)
