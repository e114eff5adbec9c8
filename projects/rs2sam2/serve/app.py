"""The service as an ASGI application."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from anyio import to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from rs2sam2.errors import OutputError, RefSegError
from rs2sam2.inference.inferencer import RefSegInferencer
from rs2sam2.serve import routes_facts, routes_images, routes_scenes
from rs2sam2.serve.front import FrontDoor
from rs2sam2.serve.guard import Application
from rs2sam2.serve.jobs import JobStore
from rs2sam2.serve.metrics import Counted, Metrics
from rs2sam2.serve.model import SharedModel
from rs2sam2.serve.paths import ForbiddenPathError
from rs2sam2.serve.runner import FullError, JobRunner
from rs2sam2.serve.scenes import run_scene
from rs2sam2.serve.service import BusyError, LateError, Service
from rs2sam2.serve.settings import ServeSettings
from rs2sam2.terminal import plain, shortened

_STATUSES = {ForbiddenPathError: 403, BusyError: 429, FullError: 429, OutputError: 503, LateError: 504}
_FULL_SECONDS = 30
_DESCRIPTION = (
    'Segments what a referring expression means in aerial images and scenes. Every refusal is JSON with one line, '
    '`{"error": "..."}`.'
)


def build_app(inferencer: RefSegInferencer, settings: ServeSettings, scratch: Path) -> Application:
    """Lay the service out.

    Args:
        inferencer: the model.
        settings: its limits; the folder of its jobs exists and is held by this process.
        scratch: folder for files that are gone when it ends.

    Raises:
        OutputError: a job in the folder cannot be read.
    """
    metrics = Metrics()
    model = SharedModel(inferencer, settings.batch_size, metrics)
    store = JobStore(settings.jobs)
    work = partial(run_scene, store, settings, model)
    jobs = JobRunner(store, work, metrics, settings.max_jobs, settings.keep_days)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs.start()
        yield
        await to_thread.run_sync(jobs.end, settings.grace)
        model.close()

    app = FastAPI(
        title='rs2sam2',
        version=version('rs2sam2'),
        description=_DESCRIPTION,
        # Its pages for the document load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if settings.token else [],
    )
    app.state.service = Service(settings, model, jobs, metrics, scratch)
    for routes in (routes_images, routes_scenes, routes_facts):
        app.include_router(routes.router)
    app.exception_handler(RefSegError)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(Exception)(_own_error)
    return Counted(FrontDoor(app, settings), metrics)


def _refused(request: Request, error: RefSegError) -> JSONResponse:
    status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 422)
    seconds = getattr(error, 'seconds', _FULL_SECONDS)
    return _problem(status, str(error), {'Retry-After': str(seconds)} if status == 429 else None)


def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """What does not fit the document: which field, and why."""
    told = []
    for one in error.errors():
        if one['type'] == 'none_required':  # of a field that may be left out
            continue
        field, *inner = one['loc'][1:] or ['']  # after whether it is of the body or the address
        place = '.'.join(map(str, (field, *(part for part in inner if isinstance(part, int)))))
        text = 'it is a text; send a file' if 'UploadFile' in one['msg'] else one['msg']
        told.append(f'{place}: {text}' if place else text)
    return _problem(422, '; '.join(dict.fromkeys(told)))


def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    if error.status_code == 405:  # starlette names the methods of the first route of an address only
        return _problem(405, 'Method Not Allowed', {'Allow': ', '.join(_methods(request))})
    return _problem(error.status_code, str(error.detail), error.headers)


def _methods(request: Request) -> list[str]:
    """Methods of an address, as the document has them."""
    paths = request.app.openapi()['paths']
    fitting = [path for path in paths if re.fullmatch(re.sub(r'{\w+}', '[^/]+', path), request.url.path)]
    return sorted(method.upper() for path in fitting for method in paths[path])


def _own_error(request: Request, error: Exception) -> JSONResponse:
    return _problem(500, f'{type(error).__name__}: an error of the server, told in its log')


def _problem(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({'error': shortened(plain(text))}, status, headers)
