"""How much memory there is."""

from pathlib import Path


def available_memory() -> int | None:
    """Bytes that can be had without swapping, where the system tells."""
    try:
        lines = Path('/proc/meminfo').read_text(encoding='ascii').splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith('MemAvailable:'))
    return next((int(kilobytes) * 1024 for kilobytes in found), None)
