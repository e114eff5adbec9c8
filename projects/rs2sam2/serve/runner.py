"""Runs the jobs, one after the other, in a thread."""

import threading
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial

from rs2sam2.errors import RefSegError
from rs2sam2.serve.jobs import Job, JobStore, now
from rs2sam2.serve.metrics import Metrics
from rs2sam2.serve.schemas import SceneFound, SceneOptions, State

MOST_ATTEMPTS = 10
Work = Callable[[Job, Callable[[float], None], Callable[[], None]], SceneFound]


class JobStoppedError(Exception):
    """The job that runs is to end: it was cancelled, or the server ends."""


class FullError(RefSegError):
    """No more jobs are taken at the moment."""


class JobRunner:
    """All jobs of a server.

    Args:
        store: their folder.
        work: does one: gets the job, what to tell the finished share, and what to ask whether to go on.
        metrics: where ended jobs are counted.
        most: jobs that may wait.
        keep_days: after these, ended jobs are removed.
    """

    def __init__(self, store: JobStore, work: Work, metrics: Metrics, most: int, keep_days: float) -> None:
        self.store, self._work, self._metrics, self._most = store, work, metrics, most
        self._keep = timedelta(days=keep_days)
        self._changed = threading.Condition()
        self._jobs = {job.id: job for job in store.load()}
        self._progress: dict[str, float] = {}
        self._cancelled: set[str] = set()
        self._coming = 0  # jobs that are being written to disk
        self._ending = self._now_ending = False
        for job in self._jobs.values():
            store.clear(job)
            if job.state == 'running':  # the server that ran it was killed
                self._again(job)
        self._thread = threading.Thread(target=self._run, name='scenes', daemon=True)

    def start(self) -> None:
        """Begin to run what waits."""
        self._thread.start()

    def end(self, grace: float) -> None:
        """Let the job that runs finish within `grace` seconds, else put it back: the next server goes on with it."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(grace)
        with self._changed:
            self._now_ending = True
        self._thread.join()

    def add(self, scene: str, options: SceneOptions, write_upload: Callable | None, place: str | None = None) -> Job:
        """Take a job; the arguments are `JobStore.add`'s.

        Raises:
            FullError: too many wait.
            OutputError: it cannot be written to disk.
        """
        with self._changed:
            if (waiting := self.waiting + self._coming) >= self._most:
                raise FullError(f'{waiting} scenes wait already: try again later')
            self._coming += 1
        try:
            job = self.store.add(scene, options, write_upload, place)
            with self._changed:
                self._jobs[job.id] = job
                self._changed.notify_all()
        finally:
            with self._changed:
                self._coming -= 1
        return job

    def cancel(self, job: Job) -> None:
        """End a job that waits or runs; one that is over is removed with its results."""
        with self._changed:
            if job.over:
                self._forget(job)
            elif job.state == 'running':
                self._cancelled.add(job.id)
            else:
                self._close(job, 'cancelled')

    def find(self, job_id: str) -> Job | None:
        """A job by its id."""
        return self._jobs.get(job_id)

    def all(self) -> list[Job]:
        """All jobs, the newest first."""
        with self._changed:
            return sorted(self._jobs.values(), key=lambda job: -job.order)

    def progress(self, job: Job) -> float:
        """Finished share of a job's windows."""
        return 1.0 if job.state == 'done' else self._progress.get(job.id, 0.0)

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        with self._changed:
            return sum(job.state == 'queued' for job in self._jobs.values())

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job.result = self._work(job, partial(self._report, job), partial(self._check, job))
                state: State = 'cancelled' if job.id in self._cancelled else 'done'
            except JobStoppedError:
                state = 'cancelled' if job.id in self._cancelled else 'queued'
            except RefSegError as error:
                state, job.error = 'failed', str(error)
            except Exception as error:
                traceback.print_exc()
                state, job.error = 'failed', f'{type(error).__name__}: an error of the server, told in its log'
            with self._changed:
                if state == 'queued':
                    job.attempts -= 1  # it did not fail
                    self._set(job, 'queued')
                else:
                    self._close(job, state)

    def _next(self) -> Job | None:
        """The oldest job that waits, marked as running; None where the server ends."""
        with self._changed:
            while not self._ending:
                self._remove_old()
                queued = [job for job in self._jobs.values() if job.state == 'queued']
                self._metrics.queued_jobs.set(len(queued))
                if queued:
                    job = min(queued, key=lambda job: job.order)
                    job.attempts += 1
                    job.started = now()
                    self._set(job, 'running')
                    return job
                self._changed.wait(timeout=3600)
        return None

    def _report(self, job: Job, share: float) -> None:
        self._progress[job.id] = share

    def _check(self, job: Job) -> None:
        if self._now_ending or job.id in self._cancelled:
            raise JobStoppedError

    def _again(self, job: Job) -> None:
        """Queue a job of a server that was killed; one that took its server with it again and again is given up."""
        if job.attempts < MOST_ATTEMPTS:
            self._set(job, 'queued')
        else:
            job.error = f'the server ended {job.attempts} times while this scene ran'
            self._close(job, 'failed')

    def _close(self, job: Job, state: State) -> None:
        job.ended = now()
        if state != 'done':
            job.result = None
        self._set(job, state)
        self._cancelled.discard(job.id)
        self._progress.pop(job.id, None)
        self._metrics.jobs.labels(state).inc()

    def _set(self, job: Job, state: State) -> None:
        coming = job.model_copy(update=dict(state=state))
        try:
            self.store.save(coming)
            self.store.clear(coming)
        except OSError:  # a full disk: this server knows the state all the same, the next one runs the job again
            traceback.print_exc()
        job.state = state  # clients see a state when the disk holds what it says

    def _forget(self, job: Job) -> None:
        del self._jobs[job.id]
        self.store.remove(job)

    def _remove_old(self) -> None:
        oldest = datetime.now(timezone.utc) - self._keep
        for job in list(self._jobs.values()):
            if job.over and job.ended is not None and datetime.fromisoformat(job.ended) < oldest:
                self._forget(job)
