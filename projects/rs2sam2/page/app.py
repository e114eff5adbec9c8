"""The page itself, in gradio."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

# Read when gradio is imported: nothing of a visitor's work leaves this machine.
os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
os.environ['GRADIO_RUN_HISTORY'] = 'False'

from rs2sam2.errors import ConfigError, RefSegError

try:
    import gradio as gr
    import rasterio  # noqa: F401 (the session traces polygons with it)
except ImportError as error:
    raise ConfigError(f'the page needs {error.name}, not installed here: pip install "rs2sam2[demo]"') from error

from rs2sam2.inference import RS2SAM2Inferencer
from rs2sam2.inference.images import IMAGE_SUFFIXES, InputImage
from rs2sam2.page.session import BESIDE_TARGET, BOX_CORNER, ON_TARGET, Session, open_picture
from rs2sam2.synthetic.scene import draw_scene
from rs2sam2.text.grammar import describe_objects

CSS = """
.gradio-container { max-width: 1240px !important; margin: 0 auto !important; }
#title h1 { margin: 0; font-size: 1.5rem; }
#title p { margin: .2rem 0 0; color: var(--body-text-color-subdued); }
#facts dl { display: flex; flex-wrap: wrap; gap: .8rem 2.2rem; margin: 0; }
#facts dt { font-size: .75rem; color: var(--body-text-color-subdued); }
#facts dd { margin: 0; font-variant-numeric: tabular-nums; }
footer { display: none !important; }
"""
NO_POINTS = "This model takes no clicks: its weights do not start from SAM2's, which have learned them."
HINT = 'Open an image or draw a scene, say what to segment, and press Segment.'


def _told(action: Callable) -> Callable:
    """Show a `RefSegError` as gradio's notice, in its one line."""

    @wraps(action)
    def run(*args: Any) -> Any:
        try:
            return action(*args)
        except RefSegError as error:
            raise gr.Error(str(error), title='', print_exception=False) from error

    return run


class Page:
    """Builds the page for a model.

    Args:
        inferencer: the model.
        folder: where files for download are put.
    """

    def __init__(self, inferencer: RS2SAM2Inferencer, folder: Path) -> None:
        self.inferencer = inferencer
        self.folder = folder
        self.turning = inferencer.with_tta('all')
        self.refinable = inferencer.model.takes_points

    def build(self) -> gr.Blocks:
        """Lay the page out and connect it."""
        source = self.inferencer.source
        device = next(self.inferencer.model.parameters()).device
        with gr.Blocks(title='RS2-SAM2', analytics_enabled=False) as blocks:
            session = gr.State(Session())
            gr.Markdown(
                f'# RS2-SAM2\nSegment what a referring expression means. Model: `{source.config_path.name}`, '
                f'weights `{source.weights.name}`, on {device}.',
                elem_id='title',
            )
            with gr.Row(equal_height=False):
                with gr.Column(scale=2, min_width=300):
                    upload = gr.File(
                        label='Image or GeoTIFF', file_types=list(IMAGE_SUFFIXES), height=150, elem_id='upload'
                    )
                    draw = gr.Button('Draw a scene', size='sm')
                    expression = gr.Textbox(
                        label='Expression', placeholder='the gray ship on the left', lines=2, max_lines=4
                    )
                    submit = gr.Button('Segment', variant='primary')
                    with gr.Accordion('Refine by clicks in the picture', open=self.refinable):
                        meaning = gr.Radio(
                            [ON_TARGET, BESIDE_TARGET, BOX_CORNER], value=ON_TARGET, label='A click is',
                            info='Click, then press Segment again.',
                            visible=self.refinable,
                        )  # fmt: skip
                        clear = gr.Button('Clear clicks', size='sm', visible=self.refinable)
                        gr.Markdown(NO_POINTS, visible=not self.refinable)
                    min_score = gr.Slider(0, 1, 0, step=0.01, label='Empty below score')
                    turned = gr.Checkbox(
                        label='Average over turned copies', info='Image and words turn together; 8 forwards.',
                        elem_id='turned',
                    )  # fmt: skip
                with gr.Column(scale=5, min_width=420):
                    picture = gr.Image(
                        label='Picture', interactive=False, format='png', height=560, elem_id='picture',
                        buttons=['fullscreen'],
                    )  # fmt: skip
                    opacity = gr.Slider(0, 1, 0.45, step=0.05, label='Opacity of the mask')
                    facts = gr.HTML(f'<p>{HINT}</p>', elem_id='facts')
                    with gr.Row():
                        png = gr.DownloadButton('Mask (PNG)', interactive=False, elem_id='png')
                        geojson = gr.DownloadButton('Polygons (GeoJSON)', interactive=False, elem_id='geojson')
            shown = [session, picture, facts, png, geojson]
            upload.upload(_told(self.open), [upload, opacity], shown, api_visibility='private')
            draw.click(_told(self.draw), [opacity], [*shown, expression], api_visibility='private')
            for event in (submit.click, expression.submit):
                event(
                    _told(self.segment), [session, expression, min_score, turned, opacity], shown,
                    api_visibility='private', show_progress_on=[picture],
                )  # fmt: skip
            opacity.input(
                lambda session, value: session.picture(value) if session.image else None, [session, opacity], picture,
                show_progress='hidden', trigger_mode='always_last', api_visibility='private',
            )  # fmt: skip
            if self.refinable:
                picture.select(_told(self.click), [session, meaning, opacity], shown, api_visibility='private')
                clear.click(_told(self.clear), [session, opacity], shown, api_visibility='private')
        return blocks

    def open(self, path: str, opacity: float) -> tuple:
        """Open an uploaded file."""
        return self._shown(open_picture(path), opacity)

    def draw(self, opacity: float) -> tuple:
        """Draw a new scene and name one of its objects."""
        rng = np.random.default_rng()
        described = []
        while not described:
            scene = draw_scene(rng)
            described = describe_objects(scene.objects, scene.image.shape[:2], rng, per_object=1)
        session = Session(InputImage(scene.image, 'a drawn scene'))
        return *self._shown(session, opacity), described[rng.integers(len(described))].text

    def segment(self, session: Session, expression: str, min_score: float, turned: bool, opacity: float) -> tuple:
        """Segment the open picture."""
        if session.image is None:
            raise ConfigError('open an image first, or draw a scene')
        return self._shown(session.segment(self.turning if turned else self.inferencer, expression, min_score), opacity)

    def click(self, session: Session, meaning: str, opacity: float, event: gr.SelectData) -> tuple:
        """Take a click in the picture; the mask waits for the next Segment."""
        return self._shown(session.click(*event.index, meaning), opacity)

    def clear(self, session: Session, opacity: float) -> tuple:
        """Forget the clicks."""
        return self._shown(replace(session, points=(), corners=()), opacity)

    def _shown(self, session: Session, opacity: float) -> tuple:
        """Session, picture, facts and the two downloads."""
        picture = None if session.image is None else session.picture(opacity)
        if session.result is None:
            no = gr.update(value=None, interactive=False)
            return session, picture, f'<p>{HINT}</p>', no, no
        facts = ''.join(
            f'<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>' for name, value in session.facts()
        )
        files = session.save(Path(tempfile.mkdtemp(dir=self.folder)))
        downloads = [gr.update(value=file, interactive=True) for file in files]
        return session, picture, f'<dl>{facts}</dl>', *downloads
