"""Fixtures of the tests of scenes."""

from helpers.disks import small_disk

__all__ = ['small_disk']
