"""Which of this machine's network interfaces has an address."""

import socket
import struct

try:
    import fcntl
except ImportError:  # not Linux, where several machines that train on CPUs are not served
    fcntl = None  # type: ignore[assignment]

_SIOCGIFADDR = 0x8915  # Linux's number of the question for an interface's address
_NAME_LENGTH = 16  # of a name in that question, its end included


def interface_of(address: str) -> str | None:
    """The name of the interface with this IPv4 address; None where none is found."""
    if fcntl is None:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            question = struct.pack('256s', name.encode()[: _NAME_LENGTH - 1])
            try:
                answer = fcntl.ioctl(asker, _SIOCGIFADDR, question)
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
