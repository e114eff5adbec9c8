"""A hash that is the same in every process and on every machine (Python's own `hash` of a string is not)."""

import hashlib


def stable_hash(*parts: object) -> int:
    """Hash the texts of `parts` to an integer in [0, 2**64)."""
    text = '\x1f'.join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=8).digest(), 'little')


def stable_fraction(*parts: object) -> float:
    """Hash the texts of `parts` to a number in [0, 1)."""
    return (stable_hash(*parts) >> 11) / 2**53
