"""Serves the page on this machine, to pages of this machine alone."""

import os
import tempfile
from pathlib import Path

from rs2sam2.allocator import keep_memory
from rs2sam2.inference import RefSegInferencer
from rs2sam2.locks import scratch_folder
from rs2sam2.page.app import CSS, KEPT, Page, gr
from rs2sam2.serve.guard import LoopbackOnly

# Both come with gradio, whose absence `app` reports.
import uvicorn  # isort: skip
from fastapi import FastAPI  # isort: skip
from rs2sam2.serve.ending import OrderlyServer, listen  # isort: skip

HOST = '127.0.0.1'


def build_app(page: Page, port: int) -> LoopbackOnly:
    """The page as an ASGI application."""
    blocks = page.build()
    # A visitor's picture and mask are 14 MB in memory; gradio would keep those of 10,000 visits.
    blocks.state_session_capacity = KEPT
    theme = gr.themes.Default(
        primary_hue='cyan',
        neutral_hue='slate',
        font=['system-ui', 'sans-serif'],
        font_mono=['ui-monospace', 'monospace'],
    )
    # Without FastAPI's own pages, which describe the requests.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        blocks,
        '/',
        server_name=HOST,
        server_port=port,
        footer_links=[],
        ssr_mode=False,
        theme=theme,
        css=CSS,
    )
    return LoopbackOnly(app)


def serve(
    model: str | Path,
    weights: str | Path | None,
    port: int,
    device: str | None,
    precision: str | None = None,
    compile: bool = False,
) -> None:
    """Serve the page on this machine until it is stopped.

    Raises:
        RefSegError: the model cannot be used, or the port is taken.
    """
    with listen(HOST, port) as listener:
        inferencer = RefSegInferencer(model, weights, device, precision=precision, compile=compile)
        keep_memory(inferencer.device_name)
        with scratch_folder(Path(tempfile.gettempdir()), 'rs2sam2-page-') as folder:
            # Uploads and downloads are gone when the page is, or when the next one starts.
            (files := folder / 'files').mkdir()
            os.environ['GRADIO_TEMP_DIR'] = str(files)
            app = build_app(Page(inferencer, files), port)
            # A browser keeps its connection: it is not waited for.
            config = uvicorn.Config(app, HOST, port, log_level='warning', timeout_graceful_shutdown=1)

            def tell() -> None:
                print(f'The page is at http://{HOST}:{port} (Ctrl+C ends it)', flush=True)

            OrderlyServer(config, tell).run(sockets=[listener])
