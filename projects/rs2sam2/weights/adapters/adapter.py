"""Convert weights between a source's names and ours, strictly: every entry is accounted for, in both directions."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import isqrt, prod

import torch
import torch.nn.functional as F
from torch import Tensor

from rs2sam2.errors import CheckpointError
from rs2sam2.weights.adapters.names import NameTable
from rs2sam2.weights.files import StateDictFile, TensorSpec, name_some

# What was read is unmapped after so many bytes: mapped pages count as memory of the process.
RELEASE_BYTES = 1 << 27
# Rows of BEiT-3's vision positions before the grid: two unused (fairseq's offset) and CLS.
POSITION_PREFIX = 3
# What `torch.compile` puts before the names of a model, or of a part of it.
COMPILED = '_orig_mod.'
LORA, LORA_REASON = '.lora_', 'low-rank update of ours, zero at first'
# So many entries that do not fit are no mistake of one name.
MANY = 20
IDENTITY = NameTable((('{rest}', '{rest}'),))


@dataclass(frozen=True)
class Adapter:
    """Where weights come from and what becomes of each entry.

    Attributes:
        source: name in configs and on the command line.
        title: name for people.
        published: where the files are published.
        table: official names and ours.
        components: our parts that the source fills, each with a dot.
        whole: whether the source fills a whole segmentor, so that no part of it may stay as it was.
        dropped: official names that the model has no use for, as (template, reason).
        new: names of ours that the source lacks, as (template, reason); they keep their initial value.
        computed: names of ours whose numbers follow from the model's shape or are never read, as (template, reason):
            converted where a file has them, never loaded into a model, not missed.
        prefixes: what training wrappers put before the names.
        wrapper: key over the weights in the source's pickles.
        resized: names of ours that are resized when the resolution differs.
    """

    source: str
    title: str
    published: str
    table: NameTable
    components: tuple[str, ...]
    whole: bool = False
    dropped: tuple[tuple[str, str], ...] = ()
    new: tuple[tuple[str, str], ...] = ()
    computed: tuple[tuple[str, str], ...] = ()
    prefixes: tuple[str, ...] = ()
    wrapper: str | None = None
    resized: tuple[str, ...] = ()

    @cached_property
    def _reasons_dropped(self) -> NameTable:
        # A table of (template, reason) pairs translates a name into the reason.
        return NameTable(self.dropped)

    @cached_property
    def _reasons_new(self) -> NameTable:
        return NameTable(self.new)

    @cached_property
    def _reasons_computed(self) -> NameTable:
        return NameTable(self.computed)

    def strip(self, name: str) -> str:
        """The official name without what training wrappers and `torch.compile` put into it."""
        name = name.replace(COMPILED, '')
        while prefix := next((prefix for prefix in self.prefixes if name.startswith(prefix)), None):
            name = name.removeprefix(prefix)
        return name

    def why_dropped(self, name: str) -> str | None:
        """Reason why an official entry is dropped; None where it is not."""
        return self._reasons_dropped.to_ours(name)

    def why_new(self, name: str) -> str | None:
        """Reason why the source lacks a name of ours; None where it has it."""
        return LORA_REASON if LORA in name else self._reasons_new.to_ours(name)

    def why_computed(self, name: str) -> str | None:
        """Reason why a name of ours is never loaded; None where it is."""
        return self._reasons_computed.to_ours(name)

    def knows(self, name: str) -> bool:
        """Whether an official name is mapped or dropped."""
        name = self.strip(name)
        return self.table.to_ours(name) is not None or self.why_dropped(name) is not None

    def fills(self, name: str) -> bool:
        """Whether a name of ours belongs to a part that the source fills."""
        return self.whole or name.startswith(self.components)

    def converted(self) -> 'Adapter':
        """The adapter of files that this one converted: names are ours already, the same are new."""
        return replace(self, table=IDENTITY, dropped=(), prefixes=('module.',))


# Checkpoints of our own training.
OWN = Adapter(
    source='own', title='own', published='', table=IDENTITY, components=('',), whole=True, prefixes=('module.',)
)


@dataclass
class Conversion:
    """What becomes of every entry, decided before any number is read.

    Attributes:
        adapter: the source.
        source: the open file.
        mapped: new name -> name in the file.
        dropped: name in the file -> reason.
        new: name of ours -> reason; in the direction to the source, names that it has no place for.
        resized: names of ours that are resized, with the new shape.
        held: dtype under which the model holds a new name.
        dtype: dtype of floating-point results; None keeps each one's.
    """

    adapter: Adapter
    source: StateDictFile
    mapped: dict[str, str]
    dropped: dict[str, str]
    new: dict[str, str]
    resized: dict[str, tuple[int, ...]]
    held: dict[str, torch.dtype]
    dtype: torch.dtype | None = None

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (new name, tensor).

        Raises:
            CheckpointError: an entry holds NaN or infinity, or would in the model or as the dtype that is asked for.
        """
        seen = 0
        for new_name, name in self.mapped.items():
            tensor = self.source[name]
            refuse_nonfinite(self.source.path, name, tensor, self.held[new_name])
            if new_name in self.resized:
                tensor = resize_positions(tensor, self.resized[new_name][0])
                refuse_nonfinite(self.source.path, name, tensor, self.held[new_name])
            if self.dtype is not None and tensor.is_floating_point() and tensor.dtype != self.dtype:
                refuse_nonfinite(self.source.path, name, tensor, self.dtype)
                tensor = tensor.to(self.dtype)
            yield new_name, tensor
            seen += tensor.nbytes
            del tensor
            if seen > RELEASE_BYTES:
                self.source.release()
                seen = 0
        self.source.release()

    def parameters(self) -> int:
        """How many numbers are mapped."""
        return sum(prod(self.source.specs[name].shape) for name in self.mapped.values())


def to_ours(
    adapter: Adapter,
    source: StateDictFile,
    target: Mapping[str, TensorSpec],
    part: str = '',
    dtype: torch.dtype | None = None,
) -> Conversion:
    """Plan the conversion of an official file to our names.

    Args:
        adapter: the source.
        source: the open file.
        target: shape and dtype of every name of ours that is to be filled.
        part: the one component that is to be filled; what belongs to others is dropped. Empty for all.
        dtype: dtype of floating-point results.

    Raises:
        CheckpointError: an entry of the file is unknown, one of ours is not filled, or a shape or a kind differs.
    """
    mapped: dict[str, str] = {}
    dropped: dict[str, str] = {}
    resized: dict[str, tuple[int, ...]] = {}
    unknown, wrong = [], []
    for name, spec in source.specs.items():
        official = adapter.strip(name)
        ours = adapter.table.to_ours(official)
        reason = adapter.why_dropped(official)
        if ours is not None and ours in mapped:
            raise CheckpointError(f'{source.path}: {name} and {mapped[ours]} are the same entry')
        if ours is not None and ours in target:
            mapped[ours] = name
            if problem := _misfit(adapter, ours, spec, target[ours], resized):
                wrong.append(f'{name} {problem}')
        elif ours is not None and not ours.startswith(part):
            dropped[name] = f'belongs to another component than {part.rstrip(".")}'
        elif reason is not None:
            dropped[name] = reason
        else:
            unknown.append(name)
    absent = {name: adapter.why_new(name) or adapter.why_computed(name) for name in target if name not in mapped}
    new = {name: reason for name, reason in absent.items() if reason is not None}
    missing = [adapter.table.to_official(name) or name for name in absent if name not in new]
    _refuse(f'{source.path} does not fit this model as {adapter.title} weights', unknown, missing, wrong, len(mapped))
    held = {name: target[name].dtype for name in mapped}
    return Conversion(adapter, source, mapped, dropped, new, resized, held, dtype)


def to_official(
    adapter: Adapter, source: StateDictFile, target: Mapping[str, TensorSpec], dtype: torch.dtype | None = None
) -> Conversion:
    """Plan the conversion of a file of ours to a source's names; the arguments are those of `to_ours`.

    Raises:
        CheckpointError: as `to_ours`.
    """
    if any(LORA in name for name in source.specs):
        raise CheckpointError(
            f'{source.path} holds LoRA updates, for which {adapter.title} has no names: merge them into the weights '
            'with tools/model_converters/merge_lora.py first'
        )
    mapped, dropped, unknown, wrong, new = {}, {}, [], [], {}
    found = set()
    for written, spec in source.specs.items():
        name = OWN.strip(written)
        official = adapter.table.to_official(name) if adapter.fills(name) else None
        if name in found:
            raise CheckpointError(f'{source.path}: {written} stands there twice')
        found.add(name)
        if name in target and spec.shape != target[name].shape:
            wrong.append(f'{name} {_shapes(spec, target[name])}')
        if name in target and (reason := adapter.why_new(name)):
            new[name] = reason
        elif name in target and official is not None:
            mapped[official] = written
        elif not adapter.fills(name):
            dropped[name] = f'{adapter.title} has no such part'
        else:
            unknown.append(name)
    missing = [
        name
        for name in target
        if name not in found and adapter.why_new(name) is None and adapter.why_computed(name) is None
    ]
    _refuse(f'{source.path} does not fit this model as {OWN.title} weights', unknown, missing, wrong, len(mapped))
    held = {official: target[OWN.strip(name)].dtype for official, name in mapped.items()}
    return Conversion(adapter, source, mapped, dropped, new, {}, held, dtype)


def detect(adapters: Mapping[str, Adapter], names: Iterable[str]) -> Adapter | None:
    """The source that knows most of the names; None where none knows half of them."""
    names = list(names)
    counts = {adapter.source: sum(map(adapter.knows, names)) for adapter in adapters.values()}
    best = max(counts, key=lambda source: counts[source])
    return adapters[best] if 2 * counts[best] > len(names) else None


def is_finite(tensor: Tensor, dtype: torch.dtype | None = None) -> bool:
    """Whether a tensor holds neither NaN nor infinity, nor would as another dtype."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # The extremes of a tensor with NaN are NaN; one pass and no copy. A cast keeps the order.
    extremes = torch.stack(tensor.aminmax())
    return bool(extremes.to(dtype or tensor.dtype).isfinite().all())


def refuse_nonfinite(path: object, name: str, tensor: Tensor, dtype: torch.dtype | None = None) -> None:
    """Raise a `CheckpointError` where a tensor holds NaN or infinity, or numbers that another dtype cannot hold.

    Args:
        path: the file, for the message.
        name: name of the tensor in it.
        tensor: what the file holds.
        dtype: what it is about to become; None for what it is.
    """
    if is_finite(tensor, dtype):
        return
    if not is_finite(tensor):
        raise CheckpointError(f'{path}: {name} holds NaN or infinity, the file is damaged')
    raise CheckpointError(
        f'{path}: {name} holds numbers up to {tensor.abs().max().item():.3g}, and {str(dtype).removeprefix("torch.")} '
        f'ends at {torch.finfo(dtype).max:.3g}: they would become infinite'
    )


def resize_positions(table: Tensor, rows: int) -> Tensor:
    """Resize learned positions of a square grid (BEiT-3's vision table) bicubically.

    Args:
        table: (3 + n * n, D).
        rows: 3 + m * m.

    Returns:
        (rows, D), the first three rows as they were.
    """
    before, after = isqrt(len(table) - POSITION_PREFIX), isqrt(rows - POSITION_PREFIX)
    grid = table[POSITION_PREFIX:].float().view(1, before, before, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(after, after), mode='bicubic', align_corners=False)
    grid = grid.permute(0, 2, 3, 1).flatten(0, 2).to(table.dtype)
    return torch.cat((table[:POSITION_PREFIX], grid))


def _misfit(
    adapter: Adapter, name: str, spec: TensorSpec, want: TensorSpec, resized: dict[str, tuple[int, ...]]
) -> str | None:
    if spec.dtype.is_floating_point != want.dtype.is_floating_point:
        return f'is {spec.dtype}, expected {want.dtype}'
    if spec.shape == want.shape:
        return None
    if name in adapter.resized and len(spec.shape) == 2 and spec.shape[1:] == want.shape[1:]:
        grids = [shape[0] - POSITION_PREFIX for shape in (spec.shape, want.shape)]
        if all(n > 0 and isqrt(n) ** 2 == n for n in grids):
            resized[name] = want.shape
            return None
    return _shapes(spec, want)


def _shapes(spec: TensorSpec, want: TensorSpec) -> str:
    return f'is {"x".join(map(str, spec.shape))}, expected {"x".join(map(str, want.shape))}'


def _refuse(subject: str, unknown: list[str], missing: list[str], wrong: list[str], fitting: int) -> None:
    way_out = 'use the config that these weights were trained with'
    if MANY < len(wrong) > fitting // 4:
        raise CheckpointError(
            f'{subject}: another model size ({len(wrong)} entries of another shape, {len(unknown)} more and '
            f'{len(missing)} fewer; {wrong[0]}); {way_out}'
        )
    problems = [
        f'{title}: {name_some(names)}'
        for title, names in (('unknown', unknown), ('missing', missing), ('of another shape or kind', wrong))
        if names
    ]
    strangers = unknown + missing
    if len(strangers) > MANY and all(re.search(r'\.\d+\.', name) for name in strangers):
        raise CheckpointError(f'{subject}: another model size, or a part of a file; {"; ".join(problems)}; {way_out}')
    if problems:
        raise CheckpointError(f'{subject}; {"; ".join(problems)}')
