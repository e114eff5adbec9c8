"""Blocks: the parts of a scene that are worked on apart, and the folder where finished ones lie."""

import json
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rs2sam2.files import replace_durably
from rs2sam2.geo.coarse import CoarseMap
from rs2sam2.geo.outputs import writing_to
from rs2sam2.geo.storage import DiskRaster
from rs2sam2.geo.windows import WindowGrid

_ABOUT = 'about.json'
_UNFINISHED = '.unfinished'


@dataclass(frozen=True)
class Block:
    """Some neighbouring windows of a scene; every window belongs to one block, so that none is run twice.

    Attributes:
        number: from 0 on, row by row.
        places: (row, column) of its windows in the grid, row by row.
        y: first row of the model's grid that they reach.
        x: first column.
        height: rows that they reach; those of neighbouring blocks overlap as windows do.
        width: columns.
    """

    number: int
    places: tuple[tuple[int, int], ...]
    y: int
    x: int
    height: int
    width: int


@dataclass(frozen=True)
class Finding:
    """What was seen in a block, or in all of them, for one question.

    Attributes:
        windows: that were run.
        score: the best of them; None: nothing is foreground in any of them.
        score_kind: what it is; None: no window was run.
    """

    windows: int = 0
    score: float | None = None
    score_kind: str | None = None

    def __add__(self, other: 'Finding') -> 'Finding':
        scores = [one.score for one in (self, other) if one.score is not None]
        return Finding(self.windows + other.windows, max(scores, default=None), self.score_kind or other.score_kind)


def cut_blocks(grid: WindowGrid, side: int, shape: tuple[int, int]) -> list[Block]:
    """Blocks of about `side` pixels, cut on the grid of windows.

    Args:
        grid: all windows of the scene.
        side: in pixels of the model's grid.
        shape: (rows, columns) of the model's grid.
    """
    groups = []
    for axis in (grid.rows, grid.columns):
        step = axis.starts[1] - axis.starts[0] if len(axis.starts) > 1 else axis.size
        count = -(-len(axis.starts) // max(1, round(side / step)))
        groups.append(np.array_split(np.arange(len(axis.starts)), count))
    blocks: list[Block] = []
    for rows in groups[0]:
        for columns in groups[1]:
            places = tuple((int(row), int(column)) for row in rows for column in columns)
            y, x = grid.start(places[0])
            bottom, right = (start + side for start, side in zip(grid.start(places[-1]), grid.size, strict=True))
            height, width = min(bottom, shape[0]) - y, min(right, shape[1]) - x
            blocks.append(Block(len(blocks), places, y, x, height, width))
    return blocks


class BlockFolder:
    """Sums of tapered log-odds by block, one file each, which is whole or not there.

    Where blocks overlap, a pixel's log-odds are the sum over its blocks, in their order: whoever computed them, and
    when, the sum is the same to the last bit.

    Args:
        path: of the folder; it is there.
        blocks: of the scene.
        questions: how many were asked.
    """

    def __init__(self, path: Path, blocks: Sequence[Block], questions: int) -> None:
        self.path, self._blocks, self._questions = path, blocks, questions

    @contextmanager
    def sums(self, block: Block) -> Iterator[DiskRaster]:
        """The block's sums to add to, zero at first: those of the questions below each other. `finish` follows."""
        path = self._unfinished(self._sums(block.number))
        with writing_to(self.path):
            try:
                with DiskRaster(path, self._questions * block.height, block.width, np.float32) as raster:
                    yield raster
                replace_durably(path, self._sums(block.number))
            finally:
                path.unlink(missing_ok=True)

    def finish(self, block: Block, findings: Sequence[Finding]) -> None:
        """What was seen, one a question; from then on the block is finished."""
        self._write(self._finding(block.number), json.dumps([asdict(one) for one in findings]).encode())

    def findings(self) -> list[Finding]:
        """What was seen in all blocks, one a question."""
        total = [Finding()] * self._questions
        for block in self._blocks:
            found = json.loads(self._finding(block.number).read_bytes())
            total = [one + Finding(**other) for one, other in zip(total, found, strict=True)]
        return total

    def log_odds(self, question: int) -> 'BlendedLogOdds':
        """The whole scene's log-odds, when no block is missing."""
        return BlendedLogOdds(self, self._blocks, question)

    def open_sums(self, block: Block) -> DiskRaster:
        """The sums of a finished block, to be closed."""
        path = self._sums(block.number)
        return DiskRaster(path, self._questions * block.height, block.width, np.float32, new=False)

    def whole(self, question: int) -> tuple[CoarseMap, Finding] | None:
        """What the whole scene said, or None where nobody asked yet."""
        try:
            return self._read_whole(question)
        except FileNotFoundError:
            return None

    def _read_whole(self, question: int) -> tuple[CoarseMap, Finding]:
        with np.load(self._whole(question), allow_pickle=False) as known:
            return CoarseMap(known['log_odds']), Finding(**json.loads(str(known['finding'])))

    def keep_whole(self, question: int, log_odds: np.ndarray, finding: Finding) -> tuple[CoarseMap, Finding]:
        """Keeps what the whole scene said, unless another process was first, and gives what all go by."""
        path = self._whole(question)
        temporary = self._unfinished(path)
        with writing_to(self.path):
            try:
                with open(temporary, 'wb') as file:
                    np.savez(file, log_odds=log_odds, finding=np.array(json.dumps(asdict(finding))))
                    file.flush()
                    os.fsync(file.fileno())
                with suppress(FileExistsError):
                    os.link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        return self._read_whole(question)

    def _write(self, path: Path, content: bytes) -> None:
        temporary = self._unfinished(path)
        with writing_to(self.path):
            try:
                temporary.write_bytes(content)
                replace_durably(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def _sums(self, number: int) -> Path:
        return self.path / f'{number:05d}.sums'

    def _finding(self, number: int) -> Path:
        return _finding(self.path, number)

    def _whole(self, question: int) -> Path:
        return self.path / f'whole{question}.npz'

    def _unfinished(self, path: Path) -> Path:
        # Two processes may be at one block, where one was thought dead.
        return path.with_name(f'{path.name}.{socket.gethostname()}.{os.getpid()}{_UNFINISHED}')


class BlendedLogOdds:
    """Log-odds of a whole scene on the model's grid, read from its finished blocks."""

    def __init__(self, folder: BlockFolder, blocks: Sequence[Block], question: int) -> None:
        self._folder, self._blocks, self._question = folder, blocks, question

    def read(self, y: int, x: int, height: int, width: int) -> np.ndarray:
        """The window whose first pixel is (y, x), (height, width) float32."""
        total = np.zeros((height, width), np.float32)
        for block in self._blocks:
            top, left = max(y, block.y), max(x, block.x)
            rows = min(y + height, block.y + block.height) - top
            columns = min(x + width, block.x + block.width) - left
            if rows > 0 and columns > 0:
                with self._folder.open_sums(block) as sums:
                    first = self._question * block.height + top - block.y
                    part = sums.read(first, left - block.x, rows, columns)
                total[top - y : top - y + rows, left - x : left - x + columns] += part
        return total


def begin_folder(path: Path, about: dict) -> bool:
    """Make a folder for the blocks of a run, or take the one that a stopped run of the same left.

    What another run left there, with another model or other options, is removed, and so is what was half-written.

    Args:
        path: of the folder.
        about: everything that decides the numbers.

    Returns:
        Whether there was one of the same.
    """
    text = json.dumps(about, indent=1, default=str)
    with writing_to(path.parent):
        path.mkdir(parents=True, exist_ok=True)
        known = path / _ABOUT
        same = known.is_file() and known.read_text('utf-8') == text
        for old in path.iterdir():
            if old.name.endswith(_UNFINISHED) or not (same or old.name == '.lock'):
                old.unlink()
        if not same:
            known.write_text(text, 'utf-8')
    return same


def missing_blocks(path: Path, count: int) -> list[int]:
    """Numbers of the blocks that are not finished in a folder, of `count`."""
    return [number for number in range(count) if not _finding(path, number).exists()]


def any_finished(path: Path) -> bool:
    """Whether there is a finished block in a folder."""
    return any(path.glob('[0-9]*.json'))


def remove_folder(path: Path) -> None:
    """Remove a folder of blocks."""
    shutil.rmtree(path, ignore_errors=True)


def _finding(path: Path, number: int) -> Path:
    return path / f'{number:05d}.json'
