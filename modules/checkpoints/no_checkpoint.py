"""Names what users take for a checkpoint, and says where the checkpoint is."""

import re
from collections.abc import Iterable

from modules.checkpoints.safe_pickle import shorten

HEAD = 1024  # bytes of a file that tell
_LFS = b'version https://git-lfs.github.com/spec/'
_PACKED = {
    b'\x1f\x8b': 'gzip',
    b'BZh': 'bzip2',
    b'\xfd7zXZ': 'xz',
    b'\x28\xb5\x2f\xfd': 'zstd',
    b'7z\xbc\xaf\x27\x1c': '7-Zip',
    b'Rar!': 'RAR',
}
_WEIGHTS = re.compile(r'\.(pth|pt|pth\.tar|tar|ckpt|bin|npz|pdparams|safetensors)$', re.IGNORECASE)


def describe(head: bytes) -> str:
    """What a file is that starts so and is no checkpoint, and its mend."""
    if head.startswith(_LFS):
        return (
            'is a Git LFS pointer, not the weights themselves; get these by `git lfs pull` in its '
            'repository, or download the file from its page'
        )
    text = head.lstrip(b'\xef\xbb\xbf \t\r\n')
    if text.startswith(b'<'):
        title = re.search(rb'<title>\s*([^<]+?)\s*</title>', text, re.IGNORECASE)
        name = f' ({shorten(title[1].decode("utf-8", "replace"))})' if title else ''
        return (
            f'is a web page{name}, not the weights; open the link in a browser and download the '
            'file itself'
        )
    for magic, packer in _PACKED.items():
        if head.startswith(magic):
            return f'is packed by {packer}; unpack it and give what is inside'
    if head[257:262] == b'ustar':
        inside = head[:100].split(b'\0')[0].decode('utf-8', 'replace')
        return f'is a tar archive around {shorten(inside)}; unpack it and give what is inside'
    if text and all(32 <= byte < 127 or byte in b'\t\r\n' for byte in text):
        start = shorten(' '.join(text[:60].decode().split()))
        mend = 'get the file again; a config goes with --config'
        return f'is no checkpoint but a text ({start}); {mend}'
    return 'is no checkpoint: not a .pth.tar, .npz, .pdparams or .safetensors file'


def describe_archive(names: Iterable[str]) -> str | None:
    """The same of a zip archive with these members; None if none of them looks like weights."""
    found = [name for name in names if _WEIGHTS.search(name) and not name.startswith('__MACOSX')]
    if not found:
        return None
    return f'is a zip archive around {shorten(found[0])}; unpack it and give what is inside'
