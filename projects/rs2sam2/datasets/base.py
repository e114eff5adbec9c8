"""What the data sets of referring expressions share."""

import copy
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, NoReturn

from mmengine.config import ConfigDict
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset

from rs2sam2.datasets.controls import CONTROLS
from rs2sam2.errors import ConfigError, DataError

SPLITS = ('train', 'val', 'test')


class _MissingField(KeyError):
    """A field of a sample that is not there, and no other key."""


class _Fields(dict):
    """The fields of a sample on its way through the pipeline."""

    def __missing__(self, key: object) -> NoReturn:
        raise _MissingField(key)


class RefSegDataset(BaseSegDataset):
    """One sample per sentence, with the habits of mmseg's `BaseSegDataset`.

    A subclass reads its files in `read_samples`. Every sample carries `sample_id` (unique), `image_id` and `ann_id`
    (which object), `img_path`, `expression`, `category` (or None), `no_target`, and its mask as `segmentation` with
    `mask_size`, or as `seg_map_path` with `seg_threshold`.

    Args:
        split: 'train', 'val' or 'test'.
        skip_ids: Ids of samples, or of refs or images with all their samples, that are unusable and left out.
        control: A sanity control for evaluation, 'shuffled_expressions' or 'shuffled_images' (see `controls.py`);
            applied to the whole split, before `filter_cfg` and `indices`.
        no_target: What to do with sentences that are marked to mean nothing in their image: 'drop' leaves them out and
            logs how many, 'keep' makes them samples with an empty mask, which `GeneralizedRRSISMetric` scores.
        several: What to do with sentences that are marked to mean every object of a kind: 'drop' leaves them out (the
            published protocols know none) and logs how many; 'keep' takes them too, 'only' nothing else.
        filter_cfg: `dict(categories=(...))` keeps the samples of these categories.
        metainfo: Replaces entries of the class's `METAINFO`. Checkpoints carry `dataset_name` and `about`, a phrase on
            what kind of pictures these are, and the commands repeat them (see `inference/training_data.py`).
        **kwargs: Those of `BaseSegDataset` (`data_root`, `data_prefix`, `ann_file`, `pipeline`, `indices`, ...).

    Raises:
        ConfigError: An argument has no such value.
        DataError: The data cannot be used: files missing or broken, an id twice, no sample left.
    """

    METAINFO: ClassVar[dict] = dict(classes=('background', 'referent'), palette=[[0, 0, 0], [230, 57, 70]])

    def __init__(
        self,
        *,
        split: str = 'train',
        skip_ids: Iterable[str | int] = (),
        control: str | None = None,
        no_target: str = 'drop',
        several: str = 'drop',
        filter_cfg: dict | None = None,
        metainfo: dict | None = None,
        **kwargs,
    ) -> None:
        if split not in SPLITS:
            raise ConfigError(f'split={split!r} of {type(self).__name__}: there are {", ".join(SPLITS)}')
        if control is not None and control not in CONTROLS:
            raise ConfigError(f'control={control!r} of {type(self).__name__}: there are {", ".join(CONTROLS)}')
        if no_target not in ('drop', 'keep'):
            raise ConfigError(f'no_target={no_target!r} of {type(self).__name__}: there are drop and keep')
        if several not in ('drop', 'keep', 'only'):
            raise ConfigError(f'several={several!r} of {type(self).__name__}: there are drop, keep and only')
        unknown = set(filter_cfg or ()) - {'categories'}
        if unknown:
            raise ConfigError(f'filter_cfg of {type(self).__name__} has {sorted(unknown)}; it knows only categories')
        if isinstance(skip_ids, str):
            raise ConfigError(f'skip_ids={skip_ids!r} of {type(self).__name__} is a text; give a list of ids')
        self.split = split
        self.skip_ids = frozenset(str(one) for one in skip_ids)
        self.control = control
        self.no_target = no_target
        self.several = several
        self.on_problem: Callable[[DataError], None] | None = None
        # Checkpoints carry the meta information, and the strict loader reads plain containers only.
        if isinstance(metainfo, ConfigDict):
            metainfo = metainfo.to_dict()
        super().__init__(filter_cfg=filter_cfg, metainfo=metainfo, **kwargs)

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict:
        """Meta information as it is stated: mmengine takes a text for a file's name first, and warns in every log."""
        return copy.deepcopy({**cls.METAINFO, **(metainfo or {})})

    def read_samples(self) -> tuple[list[dict], set[str]]:
        """Read the files.

        Returns:
            The samples of this split without those that `skips` says to leave out, and all sample and image ids that
            the files know (those of other splits too, where the same file holds them).
        """
        raise NotImplementedError

    @contextmanager
    def entry(self) -> Iterator[None]:
        """Read one line or ref inside: what is wrong with it stops the reading, or goes to `on_problem` if that is set.

        The checker sets it, to read on and to report all.
        """
        try:
            yield
        except DataError as error:
            if self.on_problem is None:
                raise
            self.on_problem(error)

    def skips(self, *ids: object) -> bool:
        """Whether `skip_ids` names one of a sample's ids."""
        return any(str(one) in self.skip_ids for one in ids)

    @staticmethod
    def check_sample(sample: dict, size: tuple[int, int]) -> None:
        """Check a sample's mask against the size (h, w) of its image, without decoding it; nothing here, as sets differ
        in what they allow.

        Raises:
            DataError: The mask does not fit its image.
        """

    def load_data_list(self) -> list[dict]:
        """Read and check all samples of the split.

        Returns:
            The samples, with the control applied.

        Raises:
            DataError: See the class.
        """
        samples = self.list_samples()
        self._check_files(samples)
        if self.control:
            CONTROLS[self.control](samples)
        self._report(samples)
        return samples

    def list_samples(self) -> list[dict]:
        """The samples of the split as the annotations have them; whether the images are there is not looked at.

        Raises:
            DataError: See the class.
        """
        if self.data_root and not os.path.isdir(self.data_root):
            raise DataError(f'data_root {self.data_root} is not a folder; set data_root to where the data set lies')
        samples, known = self.read_samples()
        self.check_skip_ids(known)
        if self.no_target == 'drop':
            meant = [sample for sample in samples if not sample['no_target']]
            if len(meant) < len(samples):
                print_log(
                    f'{self.ann_file}: {len(samples) - len(meant):,} sentences of {self.split} mean nothing in their '
                    'image: dropped',
                    'current',
                )
            samples = meant
        samples = self._by_number(samples)
        if not samples:
            raise DataError(f'{self.ann_file} has no usable sample in split {self.split!r}; choose another split')
        self._check_ids(samples)
        return samples

    def _by_number(self, samples: list[dict]) -> list[dict]:
        """The samples that `several` asks for."""
        several = [sample for sample in samples if sample.get('several')]
        if self.several == 'only':
            return several
        if self.several == 'keep' or not several:
            return samples
        print_log(
            f'{self.ann_file}: {len(several):,} sentences of {self.split} mean every object of a kind: dropped',
            'current',
        )
        return [sample for sample in samples if not sample.get('several')]

    def prepare_data(self, idx: int) -> dict:
        """Run the pipeline on a sample.

        Raises:
            ConfigError: A transform reads what none before it gives.
        """
        try:
            return self.pipeline(_Fields(self.get_data_info(idx)))
        except _MissingField as error:
            frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
            transforms = [frame.f_locals['self'] for frame in frames if frame.f_code.co_name == 'transform']
            name = type(transforms[-1]).__name__ if transforms else 'a step'
            raise ConfigError(
                f'the pipeline of the data set: {name} reads {error.args[0]!r}, which no transform before it gives; '
                'look at which there are and at their order'
            ) from error

    def check_skip_ids(self, known: set[str]) -> None:
        """Check `skip_ids` against the ids that the files know.

        Raises:
            DataError: One is unknown.
        """
        unknown = sorted(self.skip_ids - known)
        if unknown:
            raise DataError(f'skip_ids names {_some(unknown)}, which {self.ann_file} does not have; correct skip_ids')

    def filter_data(self) -> list[dict]:
        """Keep what `filter_cfg` names.

        Returns:
            The samples that are left.

        Raises:
            DataError: None is left.
        """
        if not self.filter_cfg:
            return self.data_list
        wanted = set(self.filter_cfg['categories'])
        kept = [sample for sample in self.data_list if sample['category'] in wanted]
        if not kept:
            raise DataError(f'no sample of {self.ann_file} is of the categories {sorted(wanted)} in filter_cfg')
        return kept

    def _check_ids(self, samples: list[dict]) -> None:
        seen = set()
        for sample in samples:
            if sample['sample_id'] in seen:
                raise DataError(f'{self.ann_file} has the id {sample["sample_id"]} twice; every sample needs its own')
            seen.add(sample['sample_id'])
            if not sample['expression'].strip():
                raise DataError(
                    f'{self.ann_file}: sample {sample["sample_id"]} has an empty expression; '
                    'write one or list the sample in skip_ids'
                )

    def _check_files(self, samples: list[dict]) -> None:
        listed: dict[str, set[str]] = {}
        for key in ('img_path', 'seg_map_path'):
            missing = []
            for sample in samples:
                if key not in sample:
                    continue
                folder, name = os.path.split(sample[key])
                folder = folder or '.'
                if folder not in listed:
                    if not os.path.isdir(folder):
                        raise DataError(f'{folder} is not a folder; check data_root and data_prefix')
                    listed[folder] = set(os.listdir(folder))
                if name not in listed[folder]:
                    missing.append(sample)
            if missing:
                ids = [sample['sample_id'] for sample in missing]
                raise DataError(
                    f'{missing[0][key]} is missing ({len(missing)} files of {len(samples)} samples of split '
                    f'{self.split}); restore them or set skip_ids to {_some(ids)}'
                )

    def _report(self, samples: list[dict]) -> None:
        published = self._metainfo.get('split_counts', {}).get(self.split)
        notes = [f'published: {published:,}'] if published else []
        notes += [f'skip_ids: {", ".join(sorted(self.skip_ids))}'] if self.skip_ids else []
        notes += [f'control: {self.control}'] if self.control else []
        print_log(
            f'{type(self).__name__} {self.split}: {len(samples):,} samples'
            + (f' ({"; ".join(notes)})' if notes else ''),
            logger='current',
        )


def _some(ids: list[str]) -> str:
    return str(ids) if len(ids) <= 10 else f'{str(ids[:10])[:-1]}, ... {len(ids) - 10} more]'
