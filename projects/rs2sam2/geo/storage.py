"""Rasters on disk as plain rows of numbers: any window is read or written, and memory holds only that window."""

import os
from pathlib import Path

import numpy as np


class DiskRaster:
    """A two-dimensional array in a sparse file, zero where it was never written.

    No memory map: a full disk must raise an error here, where a map would end the process with SIGBUS, and mapped
    pages would count as the process's memory.

    Args:
        path: of the file.
        height: rows.
        width: columns.
        dtype: of the numbers.
        new: make it; else it is there, and only read.

    Raises:
        OSError: the file cannot be made or opened; in any later call, the disk is full or fails.
    """

    def __init__(self, path: Path, height: int, width: int, dtype: np.typing.DTypeLike, new: bool = True) -> None:
        self.path, self.height, self.width, self.dtype = path, height, width, np.dtype(dtype)
        self._file = open(path, 'x+b' if new else 'rb', buffering=0)  # noqa: SIM115, closed by close()
        if new:
            try:
                self._file.truncate(height * width * self.dtype.itemsize)
            except OSError:
                self._file.close()
                raise

    def read(self, y: int, x: int, height: int, width: int) -> np.ndarray:
        """The window whose first pixel is (y, x), as a new array (height, width)."""
        window = np.empty((height, width), self.dtype)
        for row, offset in zip(window.view(np.uint8), self._offsets(y, x, height), strict=True):
            if os.preadv(self._file.fileno(), [row], offset) != row.nbytes:
                raise OSError(f'{self.path} ended early')
        return window

    def write(self, y: int, x: int, window: np.ndarray) -> None:
        """Replaces the window whose first pixel is (y, x)."""
        window = np.ascontiguousarray(window, self.dtype)
        for row, offset in zip(window.view(np.uint8), self._offsets(y, x, len(window)), strict=True):
            while len(row):  # a disk that fills up takes a part first and raises on the rest
                written = os.pwrite(self._file.fileno(), row, offset)
                row, offset = row[written:], offset + written

    def add(self, y: int, x: int, window: np.ndarray) -> None:
        """Adds to the window whose first pixel is (y, x); `window` is overwritten."""
        window += self.read(y, x, *window.shape)
        self.write(y, x, window)

    def __enter__(self) -> 'DiskRaster':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; it stays on disk."""
        self._file.close()

    def _offsets(self, y: int, x: int, rows: int) -> range:
        step = self.width * self.dtype.itemsize
        first = y * step + x * self.dtype.itemsize
        return range(first, first + rows * step, step)
