"""A data set keeps its annotations in one buffer, which forked workers share; nothing else grows with the split."""

import gc
import json
import multiprocessing
import pickle
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from helpers.data_trees import JPEGS, PIPELINE, ref, rle_of, square
from rs2sam2.datasets.jsonl import JSONLRefSegDataset
from rs2sam2.datasets.nwpu_refer import NWPUReferDataset
from rs2sam2.datasets.refsegrs import RefSegRSDataset
from rs2sam2.datasets.risbench import RISBenchDataset
from rs2sam2.datasets.rrsisd import RRSISDDataset

COUNT = 1000
RLE = rle_of(square(3))
# Counts of bytes that a process has to itself, because it wrote to the pages that it shared with its parent.
PRIVATE = 'Private_Dirty:'


def rrsisd(root: Path) -> RRSISDDataset:
    (root / JPEGS).mkdir(parents=True)
    (root / JPEGS / 'one.jpg').touch()
    (root / 'rrsisd').mkdir()
    refs = [ref(number, 'train', file_name='one.jpg') for number in range(COUNT)]
    (root / 'rrsisd/refs(unc).p').write_bytes(pickle.dumps(refs))
    annotations = [dict(id=number, category_id=13, segmentation=[RLE]) for number in range(COUNT)]
    (root / 'rrsisd/instances.json').write_text(json.dumps(dict(annotations=annotations)))
    return RRSISDDataset(data_root=str(root), pipeline=PIPELINE)


def nwpu_refer(root: Path) -> NWPUReferDataset:
    (root / 'images').mkdir(parents=True)
    Image.new('RGB', (40, 40)).save(root / 'images/one.jpg')
    refs = [dict(ref(n, 'train', file_name='one.jpg'), image_id=1, ann_id=[n], category_id=[1]) for n in range(COUNT)]
    (root / 'new_refs(unc).p').write_bytes(pickle.dumps(refs))
    content = dict(
        images=[dict(id=1, height=40, width=40, file_name='one.jpg')],
        categories=[dict(id=1, name='ship')],
        annotations=[dict(id=n, image_id=1, category_id=1, segmentation=RLE) for n in range(COUNT)],
    )
    (root / 'new_instances.json').write_text(json.dumps(content))
    return NWPUReferDataset(data_root=str(root), pipeline=PIPELINE)


def by_phrases(cls: type[RefSegRSDataset], folders: tuple[str, str], suffix: str):
    """RefSegRS and RISBench: a line a sample, an image and a mask of its name."""

    def build(root: Path) -> RefSegRSDataset:
        root.mkdir(exist_ok=True)
        names = [f'{number}{suffix}' for number in range(COUNT)]
        for folder in folders:
            (root / folder).mkdir()
            for name in names:
                (root / folder / (name if '.' in name else f'{name}.tif')).touch()
        (root / 'output_phrase_train.txt').write_text('\n'.join(f'{name} the ship' for name in names))
        return cls(data_root=str(root), pipeline=PIPELINE)

    return build


def jsonl(root: Path) -> JSONLRefSegDataset:
    root.mkdir(exist_ok=True)
    Image.new('RGB', (40, 40)).save(root / 'one.png')
    lines = [json.dumps(dict(id=str(n), image='one.png', expression='the ship', rle=RLE)) for n in range(COUNT)]
    (root / 'train.jsonl').write_text('\n'.join(lines))
    return JSONLRefSegDataset(data_root=str(root), pipeline=PIPELINE)


DATASETS = dict(
    rrsisd=rrsisd,
    nwpu_refer=nwpu_refer,
    refsegrs=by_phrases(RefSegRSDataset, ('images', 'masks'), ''),
    risbench=by_phrases(RISBenchDataset, ('img_rgb', 'mask'), '.png'),
    jsonl=jsonl,
)


def large_containers(start: object, count: int) -> list[str]:
    """Python containers of at least so many elements that an object keeps alive."""
    found, seen, todo = [], {id(start)}, [start]
    while todo:
        one = todo.pop()
        if isinstance(one, (list, tuple, set, frozenset, dict)) and len(one) >= count:
            found.append(f'{type(one).__name__} of {len(one)}')
        for child in gc.get_referents(one):
            # Classes and modules lead to the whole program.
            if id(child) not in seen and not isinstance(child, (type, types.ModuleType, types.FunctionType)):
                seen.add(id(child))
                todo.append(child)
    return found


@pytest.mark.parametrize('name', DATASETS)
def test_nothing_but_one_buffer_grows_with_the_split(name, tmp_path):
    dataset = DATASETS[name](tmp_path / 'data')
    assert len(dataset) == COUNT
    assert dataset.data_list == []
    assert dataset.data_bytes.base is None or isinstance(dataset.data_bytes.base, np.ndarray)
    assert dataset.data_bytes.dtype == np.uint8
    assert dataset.data_address.shape == (COUNT,)
    assert large_containers(dataset, COUNT // 10) == []
    # The search sees what it looks for.
    dataset.cache = {index: dataset.get_data_info(index) for index in range(COUNT)}
    assert large_containers(dataset, COUNT // 10) == [f'dict of {COUNT}']


@pytest.mark.parametrize('options', [dict(indices=COUNT // 2), dict(filter_cfg=dict(categories=('ship',)))])
def test_a_part_of_a_split_keeps_no_more(options, tmp_path):
    rrsisd(tmp_path / 'data')
    dataset = RRSISDDataset(data_root=str(tmp_path / 'data'), pipeline=PIPELINE, **options)
    assert len(dataset) == options.get('indices', len(dataset)) > 100
    assert large_containers(dataset, COUNT // 10) == []


def private_bytes() -> int:
    """Bytes of memory that this process shares with nobody."""
    lines = Path('/proc/self/smaps_rollup').read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(PRIVATE))


def copied_by_a_worker(dataset: RRSISDDataset) -> int:
    """Bytes that reading every annotation in a forked process, as a data loader's worker does, makes it copy."""

    def read(results) -> None:
        gc.disable()
        before = private_bytes()
        for index in range(len(dataset)):
            dataset.get_data_info(index)
        results.put(private_bytes() - before)

    context = multiprocessing.get_context('fork')
    results = context.Queue()
    process = context.Process(target=read, args=(results,))
    process.start()
    copied = results.get(timeout=60)
    process.join()
    return copied


@pytest.mark.shared
def test_forked_workers_share_the_real_refs(shared, tmp_path):
    """The 12,181 sentences that RRSIS-D trains on, with made-up masks of a usual size."""
    source = shared / 'data/rrsisd/refs(unc).p'
    refs = pickle.loads(source.read_bytes())
    (tmp_path / JPEGS).mkdir(parents=True)
    (tmp_path / 'rrsisd').mkdir()
    for one in refs:
        (tmp_path / JPEGS / one['file_name']).touch()
    (tmp_path / 'rrsisd/refs(unc).p').symlink_to(source)
    rows, columns = np.ogrid[:800, :800]
    disc = np.asfortranarray((rows - 400) ** 2 + (columns - 300) ** 2 < 200**2, np.uint8)
    counts = coco_mask.encode(disc)['counts'].decode()
    assert 500 < len(counts) < 2000
    annotations = [
        dict(id=one['ann_id'], category_id=one['category_id'], segmentation=[dict(size=[800, 800], counts=counts)])
        for one in refs
    ]
    (tmp_path / 'rrsisd/instances.json').write_text(json.dumps(dict(annotations=annotations)))
    dataset = RRSISDDataset(data_root=str(tmp_path))
    assert len(dataset) == 12181
    assert large_containers(dataset, 1000) == []
    size = dataset.data_bytes.nbytes + dataset.data_address.nbytes
    copied = copied_by_a_worker(dataset)
    listed = copied_by_a_worker(RRSISDDataset(data_root=str(tmp_path), serialize_data=False))
    assert copied < 0.1 * size
    assert listed > 5 * copied
