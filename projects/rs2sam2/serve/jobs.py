"""Scenes' jobs on disk: each a folder with its state, its upload and its results. A job outlives the server."""

import os
import shutil
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, ValidationError

from rs2sam2.errors import OutputError
from rs2sam2.serve.schemas import SceneFound, SceneOptions, State

STATE = 'job.json'
UPLOAD = 'scene.tif'
RESULTS = 'results'
MASK, PROBABILITY = 'mask.tif', 'probability.tif'
_NEW = '.new-'
OVER = ('done', 'failed', 'cancelled')


class Job(BaseModel):
    """A scene's job as it stands in its state file.

    Attributes:
        id: name of its folder.
        order: when it was made, in nanoseconds: what is older runs first.
        state: 'queued', 'running', or how it ended.
        scene: the path or name under which the scene was given.
        place: the file that the path stood for when the job was made: a server with other roots takes no other.
        uploaded: whether the scene lies in the job's folder.
        options: how it is segmented.
        attempts: how often it was begun.
        created: ISO 8601, UTC.
        started: ISO 8601, UTC, of the latest attempt.
        ended: ISO 8601, UTC.
        error: why it failed.
        result: what is said of the result.
    """

    id: str
    order: int
    state: State = 'queued'
    scene: str
    place: str | None = None
    uploaded: bool
    options: SceneOptions
    attempts: int = 0
    created: str
    started: str | None = None
    ended: str | None = None
    error: str | None = None
    result: SceneFound | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in OVER

    @property
    def outputs(self) -> dict[str, str]:
        """Names of its result files, by what they are."""
        names = {'mask': MASK, 'polygons': f'objects.{self.options.polygons}'}
        return names | ({'probability': PROBABILITY} if self.options.probability else {})


class JobStore:
    """The folder of all jobs.

    A job is there from when its folder has its name, with upload and state in it; each state takes the place of the
    one before at once. So a server that is killed leaves whole jobs.

    Args:
        folder: of the jobs; it exists and is held by this process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self) -> list[Job]:
        """All jobs, the oldest first; what a killed server had not finished accepting is removed."""
        for leftover in self.folder.glob(f'{_NEW}*'):
            shutil.rmtree(leftover, ignore_errors=True)
        jobs = [self._read(path) for path in self.folder.glob(f'*/{STATE}')]
        return sorted(jobs, key=lambda job: job.order)

    def add(
        self, scene: str, options: SceneOptions, write_upload: Callable[[Path], None] | None, place: str | None = None
    ) -> Job:
        """Make a job.

        Args:
            scene: path or name.
            options: how it is segmented.
            write_upload: writes the scene to a file; None for one that is named by its path.
            place: the file that this path stands for.

        Raises:
            OutputError: the disk is full, or cannot be written.
        """
        job = Job(
            id=uuid.uuid4().hex,
            order=time.time_ns(),
            scene=scene,
            place=place,
            uploaded=write_upload is not None,
            options=options,
            created=now(),
        )
        new = self.folder / f'{_NEW}{job.id}'
        try:
            new.mkdir()
            if write_upload is not None:
                write_upload(new / UPLOAD)
                _sync(new / UPLOAD)
            _write(new / STATE, job)
            _sync(new)
            os.rename(new, self.folder / job.id)
            _sync(self.folder)
        except OSError as error:
            raise OutputError(f'the job cannot be kept ({error.strerror or error})') from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return job

    def save(self, job: Job) -> None:
        """Write a job's state in the place of the one before."""
        folder = self.folder_of(job)
        _write(folder / STATE, job)
        _sync(folder)

    def remove(self, job: Job) -> None:
        """Remove a job with all its files."""
        gone = self.folder / f'{_NEW}{job.id}'
        os.rename(self.folder_of(job), gone)
        shutil.rmtree(gone, ignore_errors=True)

    def clear(self, job: Job) -> None:
        """Remove what a job that is over needs no more: its upload, and results if it has none to give."""
        if not job.over:
            return
        folder = self.folder_of(job)
        (folder / UPLOAD).unlink(missing_ok=True)
        if job.state != 'done':
            shutil.rmtree(folder / RESULTS, ignore_errors=True)

    def folder_of(self, job: Job) -> Path:
        """Where a job's files are."""
        return self.folder / job.id

    def results_of(self, job: Job) -> Path:
        """Where a job's result files are."""
        return self.folder / job.id / RESULTS

    @staticmethod
    def _read(path: Path) -> Job:
        try:
            return Job.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            text = str(error).splitlines()[0]
            raise OutputError(f'{path} cannot be read ({text}): remove the folder {path.parent}') from error


def now() -> str:
    """This second, ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def _write(path: Path, job: Job) -> None:
    part = path.with_name(f'.{path.name}.part')
    with open(part, 'w', encoding='utf-8') as file:
        file.write(job.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _sync(path: Path) -> None:
    """Have a file or a folder on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
