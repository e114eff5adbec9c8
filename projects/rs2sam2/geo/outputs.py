"""Files that appear whole under their names, or not at all."""

import errno
import os
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.files import place_of
from rs2sam2.locks import scratch_folder


class StagedFiles:
    """Context in which output files are written beside their places, to be renamed at its end.

    Leaving it with an error removes all that was written; files that were there before stay as they were.

    Args:
        outputs: the final paths, of regular files or new ones; their folders are made.
        inputs: files that must not be among them.

    Raises:
        ConfigError: an output is an input, or no regular file; a folder cannot be made or written to.
        DataError: on leaving, the disk is full.
    """

    def __init__(self, outputs: Iterable[Path], inputs: Iterable[str] = ()) -> None:
        self._outputs = list(outputs)
        self._inputs = {Path(file).resolve() for file in inputs}
        self._places: dict[Path, Path] = {}
        self._folders: dict[Path, Path] = {}
        self._stack = ExitStack()
        self._place = self._outputs[0].parent

    def __enter__(self) -> 'StagedFiles':
        with self._stack:
            try:
                for output in self._outputs:
                    self._make_room(output)
            except OSError as error:
                raise self._explain(error) from error
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                try:
                    self._publish()
                except OSError as failure:
                    raise self._explain(failure) from failure
        if isinstance(error, OSError):
            raise self._explain(error) from error

    def staged(self, output: Path) -> Path:
        """Where to write the file that will be `output`."""
        return self._folders[self._places[output].parent] / output.name

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

    def _make_room(self, output: Path) -> None:
        place = self._places[output] = place_of(output)
        if place in self._inputs:
            raise ConfigError(f'{output} is a file of the scene, which would be lost; name another output')
        self._place = folder = place.parent
        folder.mkdir(parents=True, exist_ok=True)
        if folder not in self._folders:
            self._folders[folder] = self._stack.enter_context(scratch_folder(folder, '.rs2sam2-', '.partial'))

    def _publish(self) -> None:
        for output in self._outputs:
            with open(self.staged(output), 'rb') as file:
                os.fsync(file.fileno())
        for output, place in self._places.items():
            os.replace(self.staged(output), place)

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
