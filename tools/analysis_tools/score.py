"""Score masks that any project predicted, as tools/test.py scores our own.

python tools/analysis_tools/score.py PREDICTIONS --dataset DATASET [--protocol rs2sam2] [--split test] [--out DIR]

PREDICTIONS is a folder of mask pictures, .json, .jsonl or .npz; DATASET a config, a file of refs (`refs(unc).p` with
instances.json beside it), a .jsonl, or a folder in RRSIS-D's layout. docs/evaluation.md shows the forms.
"""

import argparse
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import MMLogger
from mmseg.registry import DATASETS, METRICS
from rich.progress import track

from rs2sam2.datasets.base import SPLITS, RefSegDataset
from rs2sam2.datasets.foreign_masks import find_masks
from rs2sam2.datasets.foreign_match import check_sizes, match_masks
from rs2sam2.datasets.images import image_size
from rs2sam2.datasets.transforms import LoadReferringMask
from rs2sam2.engine.arguments import add_cfg_options, make_parser
from rs2sam2.engine.launch import load_config, one_line_errors
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.evaluation.rrsis_metric import PROTOCOLS, RRSISMetric
from rs2sam2.evaluation.tables import BREAKDOWNS
from rs2sam2.locks import make_writable
from rs2sam2.terminal import plain, plain_console


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('predictions', type=Path, help='folder of pictures, .json, .jsonl or .npz')
    parser.add_argument('--dataset', required=True, type=Path, help='config, refs(unc).p, .jsonl, or data_root')
    parser.add_argument('--split', choices=SPLITS, help="default: the config's test split, else test")
    parser.add_argument(
        '--protocol',
        default='rs2sam2',
        help=f'{", ".join(PROTOCOLS)}, or a side in pixels: at which size pixels are counted (default: %(default)s)',
    )
    parser.add_argument('--threshold', type=float, help='foreground is above it, in pictures and arrays of scores')
    parser.add_argument('--out', type=Path, help='folder for results.jsonl and tables.md')
    add_cfg_options(parser, 'the config of --dataset')
    return parser.parse_args()


def dataset_config(path: Path, split: str | None, options: dict | None) -> tuple[dict, dict]:
    """Configs of the data set and of the metric.

    Raises:
        ConfigError: the path is none of the four forms.
    """
    if path.suffix == '.py':
        cfg = load_config(str(path), options, 'none', None)
        dataset = deepcopy(cfg.test_dataloader.dataset)
        dataset.update(dict(split=split) if split else {}, pipeline=[])
        return dataset, dict(cfg.test_evaluator)
    metric = dict(type='RRSISMetric', breakdown=tuple(BREAKDOWNS))
    split = split or 'test'
    if path.is_dir():
        return dict(type='RRSISDDataset', data_root=str(path), split=split, pipeline=[]), metric
    if path.suffix in ('.p', '.pkl', '.pickle'):
        # The images may be elsewhere, or nowhere: scoring does not read them.
        files = dict(ann_file=path.name, instances_file='instances.json')
        return dict(type='RRSISDDataset', data_root=str(path.parent), split=split, **files, pipeline=[]), metric
    if path.suffix == '.jsonl':
        kind = dict(type='JSONLRefSegDataset', no_target='drop')
        return dict(**kind, data_root=str(path.parent), ann_file=path.name, split=split, pipeline=[]), metric
    raise ConfigError(f'{path} is no data set: give a config (*.py), refs(unc).p, a .jsonl, or a folder like RRSIS-D')


def read_dataset(config: dict) -> RefSegDataset:
    """The data set with its samples, without a look at the images."""
    dataset = DATASETS.build({**config, 'lazy_init': True})
    dataset.data_list = dataset.list_samples()
    dataset.data_list = dataset.filter_data()
    return dataset


def other_splits(config: dict) -> Mapping[str, list[dict]]:
    """The samples of the other splits, as far as they are there."""
    others = {}
    for split in SPLITS:
        if split == config['split']:
            continue
        own = {key: value for key, value in config.items() if key not in ('indices', 'filter_cfg', 'skip_ids')}
        if own['type'] == 'JSONLRefSegDataset':
            own['ann_file'] = f'{split}.jsonl'
        try:
            others[split] = read_dataset({**own, 'split': split}).data_list
        except DataError:
            continue
    return others


def truth_of(sample: dict) -> np.ndarray:
    """The ground truth at its own size, as the test pipeline loads it."""
    fields, segmentation = dict(sample), sample.get('segmentation')
    is_outline = isinstance(segmentation, list) and not all(isinstance(part, dict) for part in segmentation or [None])
    # Run lengths carry their size, outlines have that of the image.
    if is_outline and not fields.get('mask_size'):
        fields['ori_shape'] = image_size(fields['img_path'])
    return LoadReferringMask().transform({'ori_shape': None, **fields})['gt_seg_map']


def main() -> None:
    """Match, check, count, print."""
    args = parse_args()
    protocol = int(args.protocol) if args.protocol.isdecimal() else args.protocol
    if args.out:
        make_writable(args.out)
    # The data set's own words go to the screen only where something is wrong.
    MMLogger.get_current_instance().setLevel('WARNING')
    config, metric_config = dataset_config(args.dataset, args.split, args.cfg_options)
    results_file = str(args.out / 'results.jsonl') if args.out else None
    metric: RRSISMetric = METRICS.build({**metric_config, 'protocol': protocol, 'results_file': results_file})
    samples = {sample['sample_id']: sample for sample in read_dataset(config).data_list}
    found = find_masks(args.predictions, args.threshold)
    masks = match_masks(found, list(samples.values()), str(args.predictions), lambda: other_splits(config))
    sizes = {}
    console = plain_console(stderr=True)
    for sample_id, mask in track(masks.items(), 'counting pixels', console=console, transient=True):
        sample, prediction = samples[sample_id], mask.read()
        truth = truth_of(sample)
        sizes[sample_id] = prediction.shape, truth.shape
        data = {'gt_sem_seg': truth, 'pred_sem_seg': prediction}
        metric.process(None, [sample | {key: dict(data=torch.from_numpy(one)[None]) for key, one in data.items()}])
    size = check_sizes(sizes, masks)
    order = {sample_id: place for place, sample_id in enumerate(samples)}
    rows = sorted(metric.results, key=lambda row: order[row.sample_id])
    metric.check_complete(rows)
    matched = f'{len(rows):,} of {len(rows):,} samples of {config["split"]} matched; masks of {size}'
    if metric.side and any(prediction != (metric.side, metric.side) for prediction, _ in sizes.values()):
        matched += f', resized to {metric.side} x {metric.side} by NEAREST: write them at that size to score without'
    text = '\n\n'.join([plain(matched), *metric.tables(rows)])
    print(text)
    metric.write_results(rows)
    if args.out:
        (args.out / 'tables.md').write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__':
    with one_line_errors():
        main()
