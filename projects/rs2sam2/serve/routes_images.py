"""The route for images."""

import time
from functools import partial
from typing import Annotated

from anyio import CapacityLimiter, fail_after, to_thread
from fastapi import APIRouter, Depends, Form, Response
from fastapi.responses import JSONResponse

from rs2sam2.errors import DataError
from rs2sam2.serve import answers
from rs2sam2.serve.images import read_asks
from rs2sam2.serve.schemas import Image, Segmentation
from rs2sam2.serve.service import LateError, Shared, each_once, problems

GEOJSON = 'application/geo+json'
_OTHER_FORMS = {
    'image/png': {'schema': {'type': 'string', 'format': 'binary'}},
    GEOJSON: {'schema': {'type': 'object'}},
}
# Decoded images are large: no more than these at a time, beside those that wait for the model as small views.
_decoding = CapacityLimiter(2)
router = APIRouter()


@router.post(
    '/segment',
    summary='Segment an image',
    response_model=Segmentation,
    responses={200: {'content': _OTHER_FORMS}, **problems(400, 408, 413, 422, 429, 504)},
    dependencies=[Depends(each_once('expression', 'point'))],
)
async def segment(form: Annotated[Image, Form(media_type='multipart/form-data')], service: Shared) -> Response:
    """One image, one or more expressions; requests that come together are one batch.

    The masks are those of `rs2sam2 segment`, pixel by pixel, whoever else asks at the time.
    """
    settings, count = service.settings, len(form.expression)
    if form.format == 'png' and count > 1:
        raise DataError(f'format=png is for a single expression, not for {count}')
    inferencer = service.model.turned(form.tta)
    read = partial(
        read_asks, form.image.file, form.image.filename or '', form, inferencer, settings.max_pixels, service.scratch
    )
    with service.room(count):
        begin = time.monotonic()
        try:
            with fail_after(settings.time_limit):
                asks = await to_thread.run_sync(read, limiter=_decoding)
                outcomes = await service.model.segment(asks)
        except TimeoutError:
            text = f'no answer within {settings.time_limit:g} s: send fewer expressions, or try later'
            raise LateError(text) from None
        service.recent.append((time.monotonic() - begin) / service.model.waiting)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return await to_thread.run_sync(_answer, form.format, outcomes, inferencer.trained_on, limiter=_decoding)


def _answer(form: str, results: list, trained_on: str | None) -> Response:
    if form == 'png':
        body, headers = answers.png(results[0])
        return Response(body, media_type='image/png', headers=headers)
    if form == 'geojson':
        return JSONResponse(answers.geojson(results), media_type=GEOJSON)
    return JSONResponse(answers.segmentation(results, trained_on))
