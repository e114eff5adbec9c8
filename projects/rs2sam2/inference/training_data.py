"""What a model was trained on: what it has never seen, it cannot be expected to find."""

from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS

from rs2sam2.terminal import plain, shortened


def training_data(config: Config, meta: Any) -> str | None:
    """Name and kind of the pictures that a model learned from, as a phrase; None where nothing says it.

    Training writes its data set's `dataset_name` and `about` into every checkpoint. Published weights have no such
    entry: for them the config speaks, by `trained_on`, else by the data set that it trains on.

    Args:
        config: of the model.
        meta: of the checkpoint.
    """
    known = meta.get('dataset_meta') if isinstance(meta, dict) else None
    if isinstance(known, dict) and (text := _phrase(known)):
        return text
    if stated := config.get('trained_on'):
        return str(stated)
    dataset = (config.get('train_dataloader') or {}).get('dataset') or {}
    kind = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else dataset.get('type')
    return _phrase({**getattr(kind, 'METAINFO', {}), **(dataset.get('metainfo') or {})})


def _phrase(metainfo: dict) -> str | None:
    parts = [metainfo.get(key) for key in ('dataset_name', 'about')]
    texts = [part for part in parts if isinstance(part, str) and part]
    return shortened(plain(': '.join(texts)), 300) if texts else None
