"""Georeferenced scenes of any size: windows in, mask and probability rasters and polygons out (extra `[geo]`)."""

from importlib.util import find_spec

from rs2sam2.errors import ConfigError

_MISSING = [name for name in ('rasterio', 'pyogrio', 'shapely', 'pyproj', 'scipy') if find_spec(name) is None]
if _MISSING:
    raise ConfigError(f'scenes need {", ".join(_MISSING)}, not installed here; run: pip install "rs2sam2[geo]"')
