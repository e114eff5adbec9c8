"""Serves a model until it is stopped."""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rs2sam2.allocator import keep_memory, share_memory
from rs2sam2.errors import ConfigError
from rs2sam2.inference import RefSegInferencer
from rs2sam2.locks import hold_folder, make_writable, scratch_folder
from rs2sam2.serve.settings import ServeSettings

# On a CPU torch keeps compiled operations by the shapes that they saw, 1024 of them: batches and sentences of all
# lengths would make hundreds of MB of them. Read when the first of them is compiled.
_FEW_SHAPES = ('ONEDNN_PRIMITIVE_CACHE_CAPACITY', '64')
try:
    import uvicorn

    from rs2sam2.serve.app import build_app
    from rs2sam2.serve.connections import Connection
    from rs2sam2.serve.ending import OrderlyServer, listen
except ImportError as error:
    raise ConfigError(f'the service needs {error.name}, not installed here: pip install "rs2sam2[serve]"') from error


def serve(
    model: str,
    weights: str | None,
    device: str | None,
    precision: str | None,
    compile: bool,
    settings: ServeSettings,
) -> None:
    """Serve until a signal ends it; what runs is finished first.

    Raises:
        RefSegError: the model cannot be used, the port is taken, or the jobs' folder is another server's.
    """
    make_writable(settings.jobs)
    os.environ.setdefault(*_FEW_SHAPES)
    share_memory()
    with ExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        stack.enter_context(hold_folder(settings.jobs, 'choose another --jobs'))
        scratch = stack.enter_context(scratch_folder(Path(tempfile.gettempdir()), 'rs2sam2-serve-'))
        inferencer = RefSegInferencer(model, weights, device, precision=precision, compile=compile)
        keep_memory(inferencer.device_name)
        app = build_app(inferencer, settings, scratch)
        host, port = listener.getsockname()[:2]

        def tell() -> None:
            print(
                f'The service is at http://{f"[{host}]" if ":" in host else host}:{port} (Ctrl+C ends it)', flush=True
            )

        # Images have their answer by then; scenes are waited for after that.
        patience = int(settings.time_limit) + 1
        config = uvicorn.Config(
            app,
            http=Connection,
            ws='none',
            log_level='warning',
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=patience,
        )
        OrderlyServer(config, tell).run(sockets=[listener])
