"""What tells files and weights apart: SHA-256, in hexadecimal."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from paddle.nn import Layer


def file_hash(file: BinaryIO) -> str:
    """Of the bytes from the file's position on."""
    digest = hashlib.sha256()
    while chunk := file.read(2**22):
        digest.update(chunk)
    return digest.hexdigest()


def weights_hash(networks: Sequence['Layer']) -> str:
    """Of the weights, whatever file they came from."""
    digest = hashlib.sha256()
    for network in networks:
        for name, tensor in network.state_dict().items():
            digest.update(f'{name} {tensor.shape}\n'.encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
