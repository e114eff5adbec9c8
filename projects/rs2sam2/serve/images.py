"""From an uploaded image to what the model is asked."""

import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from rs2sam2.datasets.images import image_size
from rs2sam2.errors import ConfigError, DataError, RefSegError
from rs2sam2.inference.images import REMEDY, load_image
from rs2sam2.inference.inferencer import RefSegInferencer
from rs2sam2.inference.points import point_prompts
from rs2sam2.serve.model import Ask
from rs2sam2.serve.schemas import Image
from rs2sam2.terminal import plain


def read_asks(
    file: BinaryIO, name: str, form: Image, inferencer: RefSegInferencer, max_pixels: int, scratch: Path
) -> list[Ask]:
    """Decode an image as `rs2sam2 segment` does; an ask for each expression.

    Args:
        file: what was uploaded.
        name: what the client calls it; messages and results name it so.
        form: what is asked.
        inferencer: the model.
        max_pixels: of an image.
        scratch: folder for the file while it is read.

    Raises:
        RefSegError: the image, or what is asked, cannot be used.
    """
    name = plain(name)[-200:] or 'image'
    with tempfile.NamedTemporaryFile(dir=scratch) as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        try:
            height, width = image_size(copy.name, REMEDY)
            if height * width > max_pixels:
                raise DataError(f'{name} has {height * width:,} pixels, more than {max_pixels:,}: send it as a scene')
            image = load_image(copy.name)._replace(name=name, source=None)
        except RefSegError as error:
            raise type(error)(str(error).replace(copy.name, name)) from error
    box = None if form.box is None else _numbers(form.box)
    points = [_numbers(one) for one in form.point] or None
    if box is not None or points is not None:
        if not inferencer.model.takes_points:
            raise ConfigError(
                "this model takes no clicks: its weights do not start from SAM2's, which have learned them"
            )
        point_prompts(box, points, (height, width), (1, 1))
    prepared = inferencer.prepare_image(image)
    return [Ask(inferencer, prepared, text, box, points, form.min_score) for text in form.expression]


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(',')]
