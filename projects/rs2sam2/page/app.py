"""The page itself, in gradio."""

import os
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path

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

from rs2sam2.inference import RefSegInferencer
from rs2sam2.inference.images import IMAGE_SUFFIXES, InputImage
from rs2sam2.page.session import BESIDE_TARGET, BOX_CORNER, ON_TARGET, Session, open_picture
from rs2sam2.synthetic.scene import draw_scene
from rs2sam2.terminal import plain
from rs2sam2.text.grammar import ReferringExpression, describe_objects

CSS = """
.gradio-container { width: 100% !important; max-width: 1240px !important; margin: 0 auto !important; }
html { scrollbar-gutter: stable; }
#title h1 { margin: 0; font-size: 1.5rem; }
#title p { margin: .2rem 0 0; color: var(--body-text-color-subdued); }
#work > .column { flex-basis: 0 !important; }
#upload { min-height: 150px; }
#facts { min-height: 3.4rem; }
#facts dl { display: flex; flex-wrap: wrap; gap: .8rem 2.2rem; margin: 0; }
#facts dt { font-size: .75rem; color: var(--body-text-color-subdued); }
#facts dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
#facts .error { color: var(--error-text-color, #b91c1c); margin: 0; overflow-wrap: anywhere; }
footer { display: none !important; }
"""
NO_POINTS = "This model takes no clicks: its weights do not start from SAM2's, which have learned them."
NO_PROGRESS = gr.Progress()
HINTS = {
    'nothing': 'Open an image or draw a scene.',
    'image': 'Say what to segment and press Enter, or Segment.',
    'clicks': 'Press Segment: the clicks are not in the mask yet.',
}
KEPT = 16
"""Results whose files are kept for download, and visitors whose pictures are kept in memory."""
KEPT_SECONDS = 7200
"""After this time an upload that nobody looks at any more is removed."""


class Page:
    """Builds the page for a model.

    Args:
        inferencer: the model.
        folder: where files for download are put.
    """

    def __init__(self, inferencer: RefSegInferencer, folder: Path) -> None:
        self.inferencer = inferencer
        self.folder = folder
        self.turning = inferencer.with_tta('all')
        self.refinable = inferencer.model.takes_points
        self._folders: deque[Path] = deque()

    def _learned_from(self) -> str:
        learned = self.inferencer.trained_on
        return (
            '' if learned is None else f' It learned from {escape(plain(learned))}; on other pictures it finds little.'
        )

    def build(self) -> gr.Blocks:
        """Lay the page out and connect it."""
        source = self.inferencer.source
        device = self.inferencer.device_name
        with gr.Blocks(
            title='RS2-SAM2', analytics_enabled=False, delete_cache=(KEPT_SECONDS // 10, KEPT_SECONDS)
        ) as blocks:
            session = gr.State(Session())
            gr.Markdown(
                f'# RS2-SAM2\nSegment what a referring expression means. Model: `{self.inferencer.model_name}`, '
                f'weights `{source.weights.name}`, on {device}.{self._learned_from()}',
                elem_id='title',
            )
            with gr.Row(equal_height=False, elem_id='work'):
                with gr.Column(scale=2, min_width=300):
                    upload = gr.File(
                        label='Image or GeoTIFF', file_types=list(IMAGE_SUFFIXES), height=150, elem_id='upload'
                    )
                    draw = gr.Button('Draw a scene', size='sm')
                    expression = gr.Textbox(
                        label='Expression',
                        placeholder='the gray ship on the left',
                        lines=1,
                        max_lines=4,
                        elem_id='expression',
                    )  # fmt: skip
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
                    with gr.Accordion('Clean the polygons', open=False, elem_id='cleaning'):
                        min_area = gr.Textbox(
                            label='Leave out smaller ones', placeholder='20 (pixels) or 50m2',
                            info='The mask keeps them.', lines=1, max_lines=1,
                        )  # fmt: skip
                        simplify = gr.Textbox(
                            label='Simplify outlines by', placeholder='1.5 (pixels) or 2m', lines=1, max_lines=1
                        )
                with gr.Column(scale=5, min_width=420):
                    picture = gr.Image(
                        label='Picture', interactive=False, format='png', height=560, elem_id='picture',
                        buttons=['fullscreen'],
                    )  # fmt: skip
                    opacity = gr.Slider(0, 1, 0.45, step=0.05, label='Opacity of the mask')
                    facts = gr.HTML(f'<p>{HINTS["nothing"]}</p>', elem_id='facts')
                    with gr.Row():
                        png = gr.DownloadButton('Mask (PNG)', interactive=False, elem_id='png')
                        geojson = gr.DownloadButton('Polygons (GeoJSON)', interactive=False, elem_id='geojson')
            shown = [session, picture, facts, png, geojson]
            quiet = dict(api_visibility='private')
            upload.upload(self.open, [session, upload, opacity], shown, **quiet)
            upload.clear(self.close, [opacity], shown, **quiet)
            draw.click(self.draw, [opacity], [*shown, expression, upload], **quiet)
            for event in (submit.click, expression.submit, min_area.submit, simplify.submit):
                event(
                    self.segment, [session, expression, min_score, turned, opacity, min_area, simplify], shown,
                    show_progress_on=[picture], **quiet,
                )  # fmt: skip
            opacity.input(
                lambda session, value: session.picture(value) if session.image else None, [session, opacity], picture,
                show_progress='hidden', trigger_mode='always_last', **quiet,
            )  # fmt: skip
            if self.refinable:
                picture.select(self.click, [session, meaning, opacity], shown, **quiet)
                clear.click(self.clear, [session, opacity], shown, **quiet)
        return blocks

    def open(self, session: Session, path: str, opacity: float) -> tuple:
        """Open an uploaded file; where that fails, the picture stays."""
        return self._try(session, lambda: open_picture(path), opacity)

    def close(self, opacity: float) -> tuple:
        """Let go of the picture."""
        return self._shown(Session(), opacity)

    def draw(self, opacity: float) -> tuple:
        """Draw a new scene, name one of its objects, and empty the upload box."""
        rng = np.random.default_rng()
        described: list[ReferringExpression] = []
        while not described:
            scene = draw_scene(rng)
            described = describe_objects(scene.objects, scene.image.shape[:2], rng, per_object=1)
        session = Session(InputImage(scene.image, 'a drawn scene'))
        return *self._shown(session, opacity), described[rng.integers(len(described))].text, None

    def segment(
        self,
        session: Session,
        expression: str,
        min_score: float,
        turned: bool,
        opacity: float,
        min_area: str | None = None,
        simplify: str | None = None,
        progress: gr.Progress = NO_PROGRESS,
    ) -> tuple:
        """Segment the open picture; where that fails, the picture stays and the old scores and files go."""
        if session.image is None:
            return self._shown(session, opacity, 'Open an image first, or draw a scene.')
        inferencer = self.turning if turned else self.inferencer
        before = replace(session, result=None, files=())

        def work() -> Session:
            folder = self._new_folder()
            return before.segment(inferencer, expression, min_score, folder, progress, min_area, simplify)

        return self._try(before, work, opacity)

    def click(self, session: Session, meaning: str, opacity: float, event: gr.SelectData) -> tuple:
        """Take a click in the picture; the mask waits for the next Segment."""
        x, y = event.index
        return self._shown(session.click(x, y, meaning), opacity)

    def clear(self, session: Session, opacity: float) -> tuple:
        """Forget the clicks."""
        return self._shown(replace(session, points=(), corners=()), opacity)

    def _try(self, before: Session, action: Callable[[], Session], opacity: float) -> tuple:
        """Show what an action makes of a session; where it fails, what was before without its result, and why."""
        try:
            return self._shown(action(), opacity)
        except RefSegError as error:
            # The page has one picture and one expression: which sample it was need not be said.
            text = re.sub(r"^sample '.*?': (?=the expression )", '', str(error))
            return self._shown(replace(before, result=None, files=()), opacity, text)

    def _new_folder(self) -> Path:
        """A folder for the files of a result; the oldest of many goes."""
        while len(self._folders) >= KEPT:
            shutil.rmtree(self._folders.popleft(), ignore_errors=True)
        self._folders.append(Path(tempfile.mkdtemp(dir=self.folder)))
        return self._folders[-1]

    def _shown(self, session: Session, opacity: float, error: str | None = None) -> tuple:
        """Session, picture, facts and the two downloads."""
        picture = None if session.image is None else session.picture(opacity)
        if session.result is None or error is not None:
            state = 'nothing' if session.image is None else 'clicks' if session.points or session.corners else 'image'
            notes = () if session.image is None else session.image.notes
            lines = [HINTS[state], *(f'Note: {note}' for note in notes)]
            text = ''.join(f'<p>{escape(line)}</p>' for line in lines)
            if error is not None:
                text = f'<p class="error" role="alert">{escape(error)}</p>'
            no = gr.update(value=None, interactive=False)
            return session, picture, text, no, no
        facts = ''.join(
            f'<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>' for name, value in session.facts()
        )
        kinds = {'.png': 'PNG', '.tif': 'GeoTIFF', '.geojson': 'GeoJSON', '.gpkg': 'GeoPackage'}
        downloads = [
            gr.update(label=f'{what} ({kinds[Path(file).suffix]})', value=file, interactive=True)
            for what, file in zip(('Mask', 'Polygons'), session.files, strict=True)
        ]
        return session, picture, f'<dl>{facts}</dl>', *downloads
