"""Files that appear whole under their names, or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from rs2sam2.errors import ConfigError, DataError


class StagedFiles:
    """Context in which output files are written beside their places, to be renamed at its end.

    Leaving it with an error removes all that was written; files that were there before stay as they were.

    Args:
        outputs: the final paths; their folders are made.

    Raises:
        ConfigError: a folder cannot be made or written to.
        DataError: on leaving, the disk is full.
    """

    def __init__(self, outputs: Iterable[Path]) -> None:
        self._outputs = list(outputs)
        self._folders: dict[Path, Path] = {}
        self._place = self._outputs[0].parent

    def __enter__(self) -> 'StagedFiles':
        try:
            for output in self._outputs:
                self._place = output.parent
                if output.is_dir():
                    raise ConfigError(f'{output} is a folder; name a file to write')
                output.parent.mkdir(parents=True, exist_ok=True)
                if output.parent not in self._folders:
                    folder = tempfile.mkdtemp(prefix='.rs2sam2-', suffix='.partial', dir=output.parent)
                    self._folders[output.parent] = Path(folder)
        except OSError as error:
            self._remove()
            raise self._explain(error) from error
        except ConfigError:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        except OSError as failure:
            raise self._explain(failure) from failure
        finally:
            self._remove()
        if isinstance(error, OSError):
            raise self._explain(error) from error

    def staged(self, output: Path) -> Path:
        """Where to write the file that will be `output`."""
        return self._folders[output.parent] / output.name

    @property
    def scratch(self) -> Path:
        """Folder for files that are removed at the end."""
        return next(iter(self._folders.values()))

    def require_space(self, size: int) -> None:
        """Raises DataError unless the disk of the scratch folder has `size` bytes left."""
        free = shutil.disk_usage(self.scratch).free
        if free < size:
            raise DataError(
                f'{self.scratch.parent} has {_readable(free)} left and this scene needs about {_readable(size)} '
                'while it runs; free some or write elsewhere'
            )

    def _publish(self) -> None:
        for output in self._outputs:
            with open(self.staged(output), 'rb') as file:
                os.fsync(file.fileno())
        for output in self._outputs:
            os.replace(self.staged(output), output)

    def _remove(self) -> None:
        for folder in self._folders.values():
            shutil.rmtree(folder, ignore_errors=True)

    def _explain(self, error: OSError) -> ConfigError | DataError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DataError(f'the disk of {self._place} is full; free some or write elsewhere')
        return ConfigError(f'{self._place} cannot be written to ({error.strerror or error}); choose another folder')


def _readable(size: int) -> str:
    for unit in ('B', 'KB', 'MB', 'GB'):
        if size < 1000:
            return f'{size:.0f} {unit}'
        size /= 1000
    return f'{size:.1f} TB'
