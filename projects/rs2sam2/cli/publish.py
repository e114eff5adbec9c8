"""`rs2sam2 publish`: a trained model as a bundle with its model card, and the upload of both."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from mmengine.config import Config

from rs2sam2.cli.card import model_card, read_scores
from rs2sam2.errors import ConfigError
from rs2sam2.inference.source import find_model, test_pipeline
from rs2sam2.inference.training_data import training_data
from rs2sam2.models.common.lora import merge_lora
from rs2sam2.weights.adapters.adapter import refuse_nonfinite
from rs2sam2.weights.building import build_filled
from rs2sam2.weights.bundle import DTYPES, write_bundle
from rs2sam2.weights.files import open_state_dict
from rs2sam2.weights.hub_errors import hub_errors
from rs2sam2.weights.places import HubPlace, parse_place

# Steps that read a data set's files, which a bundle has none of.
READERS = ('LoadRGBImage', 'LoadReferringMask')


def publish_bundle(
    work_dir: Path,
    out: Path,
    weights: str | None = None,
    dtype: str = 'fp32',
    licence: str | None = None,
    results: Sequence[Path] | None = None,
    push: str | None = None,
) -> None:
    """Write a bundle of a work dir's model, and upload it where `push` names a repository.

    Args:
        work_dir: what training left; or a config with `weights`.
        out: folder to make.
        weights: checkpoint; None takes the work dir's best.
        dtype: what the weights are stored in, 'fp32', 'bf16' or 'fp16'.
        licence: of the weights; None asks for it.
        results: files of `tools/test.py` for the card; None takes all below the work dir.
        push: user/repo.

    Raises:
        RefSegError: the model cannot be published; one line says why.
    """
    if dtype not in DTYPES:
        raise ConfigError(f'--dtype {dtype}: one of {", ".join(DTYPES)}')
    place = None if push is None else parse_place(push if push.startswith('hf:') else f'hf:{push}')
    if isinstance(place, HubPlace) and (place.inside or place.revision != 'main'):
        raise ConfigError(f'--push {push}: name a repository only, user/repo')
    source = find_model(work_dir, weights)
    config = source.config
    scores = read_scores(work_dir, results)
    licence = licence or _ask_for_licence()
    tensors = _tensors(config, source.weights, dtype)
    meta = open_state_dict(source.weights).content.get('meta')
    about: dict[str, Any] = dict(
        name=out.name,
        trained_on=training_data(config, meta) or 'not stated',
        licence=licence,
        weights=source.weights.name,
        config=source.config_path.name,
        training=_training(config, meta),
        scores=[score.plain() for score in scores],
        dtype=dtype,
    )
    steps = [step for step in test_pipeline(config) if step['type'] not in READERS]
    card = model_card(about, scores, push)
    write_bundle(
        out, config.model.to_dict(), _plain(steps), dict(config.get('scene') or {}), tensors, about, card, dtype
    )
    print(f'{out}: {sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6:.1f} MB, a --model')
    if not scores:
        print(f'note: the card has no scores: no results.jsonl of tools/test.py below {work_dir}')
    if isinstance(place, HubPlace):
        print(f'{place}: {_push(place, out)}')


def _tensors(config: Config, weights: Path, dtype: str) -> dict:
    """The model's weights by our names, low-rank updates merged; all of them fit into the dtype."""
    model = build_filled(config.model, open_state_dict(weights))
    if any('.lora_' in name for name in model.state_dict()):
        merge_lora(model.union_encoder)
        config.model.union_encoder.pop('lora', None)
        config.model.union_encoder.train = 'full'
    tensors = model.state_dict()
    for name, tensor in tensors.items():
        refuse_nonfinite(weights, name, tensor, DTYPES[dtype])
    return tensors


def _plain(steps: Sequence[Any]) -> list[dict]:
    return [step.to_dict() if hasattr(step, 'to_dict') else dict(step) for step in steps]


def _training(config: Config, meta: Any) -> dict[str, Any]:
    """What is known of how it was trained, in a few plain values."""
    optimizer = (config.get('optim_wrapper') or {}).get('optimizer') or {}
    loader = config.get('train_dataloader') or {}
    known = meta if isinstance(meta, dict) else {}
    values = dict(
        epochs=known.get('epoch'),
        iterations=known.get('iter'),
        seed=known.get('seed'),
        optimizer=optimizer.get('type') if isinstance(optimizer.get('type'), str) else None,
        lr=optimizer.get('lr'),
        weight_decay=optimizer.get('weight_decay'),
        batch_size=loader.get('batch_size'),
        accumulated=(config.get('optim_wrapper') or {}).get('accumulative_counts'),
    )
    return {name: value for name, value in values.items() if isinstance(value, (int, float, str))}


def _ask_for_licence() -> str:
    if not sys.stdin.isatty():
        raise ConfigError(
            'the weights need a licence: --license apache-2.0, cc-by-4.0, other ... (identifiers of the hub)'
        )
    return typer.prompt('licence of the weights (apache-2.0, cc-by-4.0, other ...)').strip()


def _push(place: HubPlace, out: Path) -> str:
    from huggingface_hub import HfApi

    with hub_errors(place, out):
        api = HfApi(library_name='rs2sam2')
        api.create_repo(place.repo, exist_ok=True)
        done = api.upload_folder(repo_id=place.repo, folder_path=out, commit_message=f'Publish {out.name}')
    return str(getattr(done, 'commit_url', done))
