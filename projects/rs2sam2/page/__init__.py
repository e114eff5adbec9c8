"""The page of `rs2sam2 demo`: try a model in a browser on this machine (extra `[demo]`)."""

from importlib.util import find_spec

from rs2sam2.errors import ConfigError

_MISSING = [name for name in ('gradio', 'rasterio') if find_spec(name) is None]
if _MISSING:
    raise ConfigError(f'the page needs {", ".join(_MISSING)}, not installed here; run: pip install "rs2sam2[demo]"')
