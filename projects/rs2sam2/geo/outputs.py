"""Files that appear whole under their names, or not at all."""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.files import place_of, require_utf8
from rs2sam2.geo.vector_formats import companions
from rs2sam2.locks import scratch_folder


class StagedFiles:
    """Context in which output files are written beside their places, to be renamed at its end.

    Leaving it with an error removes all that was written; files that were there before stay as they were.

    Args:
        outputs: the final paths, of regular files or new ones; their folders are made.

    Raises:
        ConfigError: an output is no regular file; a folder cannot be made or written to.
        DataError: on leaving, the disk is full.
    """

    def __init__(self, outputs: Iterable[Path]) -> None:
        self._outputs = list(outputs)
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

    def _make_room(self, output: Path) -> None:
        place = self._places[output] = place_of(output)
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
            for written, beside in zip(companions(self.staged(output)), companions(place), strict=True):
                if written.exists():
                    os.replace(written, beside)

    def _explain(self, error: OSError) -> ConfigError | DataError:
        return _explain(error, self._place)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """The system's errors as one line that names the folder.

    Raises:
        ConfigError: it cannot be written to.
        DataError: its disk is full.
    """
    try:
        yield
    except OSError as error:
        raise _explain(error, folder) from error


def check_places(outputs: Iterable[Path], inputs: Iterable[str]) -> None:
    """Raises ConfigError where an output is no regular file, one of the files that are read, or no UTF-8."""
    read = {Path(file).resolve() for file in inputs}
    for output in outputs:
        require_utf8(output, ConfigError)
        if place_of(output) in read:
            raise ConfigError(f'{output} is a file of the scene, which would be lost; name another output')


def require_space(folder: Path, size: int) -> None:
    """Raises DataError unless the disk of a folder has `size` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise DataError(
            f'{folder} has {_readable(free)} left and this scene needs about {_readable(size)} '
            'while it runs; free some or write elsewhere'
        )


def _explain(error: OSError, place: Path) -> ConfigError | DataError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(f'the disk of {place} is full; free some or write elsewhere')
    return ConfigError(f'{place} cannot be written to ({error.strerror or error}); choose another folder')


def _readable(size: float) -> str:
    for unit in ('B', 'KB', 'MB', 'GB'):
        if size < 1000:
            return f'{size:.0f} {unit}'
        size /= 1000
    return f'{size:.1f} TB'
