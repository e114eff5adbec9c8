"""What a run over scenes shows while it works: one line, whoever does the work."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Board:
    """One bar over the blocks of all scenes: windows done, their rate, time left, failures.

    Args:
        shown: whether it is, on stderr.
        share: is called with the finished share of the windows.
    """

    def __init__(self, shown: bool, share: Callable[[float], object] | None = None) -> None:
        columns = ('{task.description}', BarColumn(), '{task.fields[facts]}', TimeRemainingColumn())
        shaped = [TextColumn(one) if isinstance(one, str) else one for one in columns]
        self._bar = Progress(*shaped, console=Console(stderr=True), disable=not shown)
        self._share = share
        self._task = self._bar.add_task('opening scenes', total=None, facts='')
        self._windows = self._blocks = self._failed = self._total = self._total_blocks = self._half = 0
        self._begun = time.perf_counter()

    def begin(self, windows: int, blocks: int) -> None:
        """The scenes are known: so much is to be done."""
        self._total, self._total_blocks = windows, blocks
        self._begun = time.perf_counter()
        self._show('segmenting')

    def window(self, count: int) -> None:
        """Windows of the block that this very process is at."""
        self._half += count
        self._count(count)

    def block(self, windows: int) -> None:
        """A block of so many windows ended, here or elsewhere."""
        self._blocks += 1
        rest, self._half = windows - self._half, 0
        self._count(rest)

    def write(self) -> None:
        """Outputs are written."""
        self._show('writing' if self._blocks == self._total_blocks else 'segmenting')

    def fail(self, windows: int = 0, blocks: int = 0) -> None:
        """One more scene failed, and so many windows and blocks are not begun."""
        self._failed += 1
        self._total -= windows
        self._total_blocks -= blocks
        self._show(None)

    def say(self, line: str) -> None:
        """A line above the bar, where it is shown."""
        if not self._bar.disable:
            self._bar.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def __enter__(self) -> 'Board':
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _count(self, windows: int) -> None:
        self._windows += windows
        self._show(None)
        if self._share is not None and windows and self._total:
            self._share(self._windows / self._total)

    def _show(self, description: str | None) -> None:
        rate = self._windows / max(time.perf_counter() - self._begun, 1e-9)
        facts = f'{self._blocks:,}/{self._total_blocks:,} blocks  {rate:.1f} windows/s'
        facts += f'  {self._failed:,} failed' if self._failed else ''
        total = self._total or 1
        self._bar.update(self._task, completed=self._windows, total=total, description=description, facts=facts)
