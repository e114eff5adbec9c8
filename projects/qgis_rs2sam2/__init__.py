"""RS2-SAM2 in QGIS: a Processing provider and a dock, clients of `rs2sam2 serve`. Nothing here needs torch."""


def classFactory(iface):
    """What QGIS calls when it loads the plugin."""
    from .plugin import Plugin

    return Plugin(iface)
