"""Published weights: names there and ours, one adapter a source."""

from rs2sam2.conversion import beit3, evf_sam2, rs2sam2, sam2
from rs2sam2.conversion.adapter import Adapter, Conversion, detect, to_official, to_ours

ADAPTERS: dict[str, Adapter] = {module.ADAPTER.source: module.ADAPTER for module in (rs2sam2, beit3, sam2, evf_sam2)}

__all__ = ['ADAPTERS', 'Adapter', 'Conversion', 'detect', 'to_official', 'to_ours']
