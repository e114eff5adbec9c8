"""The routes that say how the service is."""

from importlib.metadata import version

from fastapi import APIRouter, Response

from rs2sam2.client import API
from rs2sam2.inference.scene_defaults import scene_defaults
from rs2sam2.serve.metrics import CONTENT_TYPE
from rs2sam2.serve.schemas import Health, Model
from rs2sam2.serve.service import Shared, problems

router = APIRouter()


@router.get('/health', summary='Whether the service answers', response_model=Health, responses=problems())
async def health() -> dict:
    """Answered without a token."""
    return {'status': 'ok', 'version': version('rs2sam2'), 'api': API}


@router.get('/model', summary='The model', response_model=Model, responses=problems())
async def model(service: Shared) -> dict:
    """What it is, and what it learned from."""
    inferencer = service.model.inferencer
    source, defaults = inferencer.source, scene_defaults(inferencer)
    return {
        'name': inferencer.model_name,
        'weights': source.weights.name,
        'device': inferencer.device_name,
        'precision': inferencer.precision,
        'trained_on': inferencer.trained_on,
        'takes_points': inferencer.model.takes_points,
        'window': defaults.window,
        'gsd': defaults.gsd,
        'roots': [str(root.resolve()) for root in service.settings.roots],
    }


@router.get(
    '/metrics',
    summary='Counts for Prometheus',
    response_class=Response,
    responses={200: {'content': {'text/plain': {}}}, **problems()},
)
async def metrics(service: Shared) -> Response:
    """In Prometheus' text format."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)
