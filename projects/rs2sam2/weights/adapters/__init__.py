"""Published weights: names there and ours, one adapter a source."""

from rs2sam2.weights.adapters import beit3, bert, dual_encoder, evf_sam2, lavt, rmsin, rs2sam2, sam2, swin
from rs2sam2.weights.adapters.adapter import Adapter, Conversion, detect, to_official, to_ours

ADAPTERS: dict[str, Adapter] = {
    adapter.source: adapter
    for adapter in (
        rs2sam2.ADAPTER,
        beit3.ADAPTER,
        sam2.ADAPTER,
        evf_sam2.ADAPTER,
        dual_encoder.CLIP,
        dual_encoder.SIGLIP,
        swin.ADAPTER,
        bert.ADAPTER,
        # RMSIN has every name of LAVT: of a file that both know, the first is told.
        lavt.LAVT_ONE,
        lavt.LAVT,
        rmsin.ADAPTER,
    )
}

__all__ = ['ADAPTERS', 'Adapter', 'Conversion', 'detect', 'to_official', 'to_ours']
