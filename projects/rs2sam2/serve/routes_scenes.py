"""The routes for scenes."""

import shutil
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Depends, Form, HTTPException, UploadFile
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse

from rs2sam2.errors import DataError
from rs2sam2.geo.sources import TIFF, RasterSource
from rs2sam2.serve.jobs import Job
from rs2sam2.serve.paths import allowed_scene
from rs2sam2.serve.scenes import try_scene
from rs2sam2.serve.schemas import JobAnswer, Jobs, Scene, SceneOptions
from rs2sam2.serve.service import Service, Shared, each_once, problems
from rs2sam2.terminal import plain

_TYPES = {
    '.tif': 'image/tiff; application=geotiff',
    '.gpkg': 'application/geopackage+sqlite3',
    '.geojson': 'application/geo+json',
}
JobId = Annotated[str, PathParameter(pattern='^[0-9a-f]{32}$', description='Of the job.')]
router = APIRouter()


@router.post(
    '/scenes',
    status_code=202,
    summary='Segment a scene',
    response_model=JobAnswer,
    responses=problems(400, 408, 413, 422, 429, 503),
    dependencies=[Depends(each_once())],
)
async def add_scene(form: Annotated[Scene, Form(media_type='multipart/form-data')], service: Shared) -> dict:
    """Take a job: a scene's path below a folder that the server may read, or a GeoTIFF.

    The job is on disk before the answer is sent, and goes on after a restart.
    """
    return _answer(await to_thread.run_sync(_add, form, service), service)


@router.get('/scenes', summary='All jobs', response_model=Jobs, responses=problems())
async def list_scenes(service: Shared) -> dict:
    """The jobs that are kept, the newest first."""
    return {'jobs': [_answer(job, service) for job in service.jobs.all()]}


@router.get('/scenes/{job_id}', summary='A job', response_model=JobAnswer, responses=problems(404, 422))
async def get_scene(job_id: JobId, service: Shared) -> dict:
    """How far it is, or how it ended."""
    return _answer(_find(job_id, service), service)


@router.delete(
    '/scenes/{job_id}', summary='Cancel or remove a job', response_model=JobAnswer, responses=problems(404, 422)
)
async def delete_scene(job_id: JobId, service: Shared) -> dict:
    """A job that waits or runs is cancelled, before its next windows; one that is over goes with its files."""
    job = _find(job_id, service)
    await to_thread.run_sync(service.jobs.cancel, job)
    return _answer(job, service)


@router.get(
    '/scenes/{job_id}/files/{name}',
    summary='A result file',
    response_class=FileResponse,
    responses={
        200: {'content': {kind: {} for kind in _TYPES.values()}},
        206: {'description': 'The part that the header Range asks for.'},
        **problems(400, 404, 409, 416, 422),
    },
)
async def get_file(job_id: JobId, name: Literal['mask', 'polygons', 'probability'], service: Shared) -> FileResponse:
    """The mask (GeoTIFF: 1, 0, 255 no data), the polygons, or the probabilities."""
    job = _find(job_id, service)
    if name not in job.outputs:
        raise HTTPException(404, f'{name} was not asked for')
    path = service.jobs.store.results_of(job) / job.outputs[name]
    try:
        known = path.stat() if job.state == 'done' else None
    except FileNotFoundError:
        known = None
    if known is None:
        raise HTTPException(409, f'the job is {job.state}: it has no files')
    return FileResponse(path, media_type=_TYPES[path.suffix], filename=path.name, stat_result=known)


def _add(form: Scene, service: Service) -> Job:
    if (form.path is None) == (form.scene is None):
        raise DataError('give path, or upload scene')
    options = SceneOptions(**{name: getattr(form, name) for name in SceneOptions.model_fields})
    service.model.turned(options.tta)
    if not options.expression.strip():
        raise DataError('the expression is empty; say what to segment')
    if form.path is not None:
        source = allowed_scene(form.path, service.settings.roots)
        try_scene(source, alone=False)
        return service.jobs.add(form.path, options, None, source.name)
    assert form.scene is not None, 'one of the two is given'
    name = plain(form.scene.filename or '')[-200:] or 'scene.tif'
    return service.jobs.add(name, options, partial(_write_upload, form.scene, name))


def _write_upload(upload: UploadFile, name: str, path: Path) -> None:
    with path.open('wb') as file:
        shutil.copyfileobj(upload.file, file)
    try_scene(RasterSource(name, str(path), TIFF), alone=True)


def _find(job_id: str, service: Service) -> Job:
    job = service.jobs.find(job_id)
    if job is None:
        raise HTTPException(404, f'there is no job {job_id}')
    return job


def _answer(job: Job, service: Service) -> dict:
    files = {name: f'/scenes/{job.id}/files/{name}' for name in job.outputs} if job.state == 'done' else {}
    told = job.model_dump(exclude={'order', 'place', 'uploaded', 'attempts'})
    return told | {'progress': service.jobs.progress(job), 'files': files}
