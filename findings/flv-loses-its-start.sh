#!/bin/sh
# ffmpeg -ss 0 before an flv loses the first seconds of its sound.
#
# Expected: a jump to second 0 is a jump to the start: the same packets as without it.
# Happens: an flv with B-frames has no index, and the place that the demuxer finds for "just before the
# start" lies after the first keyframes. All sound up to there is missing, the status is 0, nothing is
# said.
# Seen with: the ffmpeg of imageio-ffmpeg 0.6.0 (7.0.2); -c copy and re-encoding alike.
# Way out: no -ss where nothing is to be left out; else copy the packets oneself, with PyAV.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check imageio-ffmpeg==0.6.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import subprocess

import imageio_ffmpeg


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-y', '-v', 'error', *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


ffmpeg(
    *('-f', 'lavfi', '-i', 'testsrc=s=64x64:r=25:d=3', '-f', 'lavfi', '-i', 'sine=r=44100:d=3'),
    *('-c:v', 'libx264', '-g', '12', '-bf', '3', '-c:a', 'aac', 'a.flv'),
)
found = {}
for name, jump in (('without', []), ('with -ss 0', ['-ss', '0'])):
    listed = ffmpeg(*jump, '-i', 'a.flv', '-map', '0:a', '-c', 'copy', '-f', 'framecrc', '-')
    packets = [line.split(',') for line in listed.splitlines() if not line.startswith('#')]
    found[name] = len(packets)
    print(f'{name:11}{len(packets)} packets of sound, the first at {int(packets[0][2]) / 1000} s')
assert found['with -ss 0'] < 0.8 * found['without'], 'this has changed'
END
