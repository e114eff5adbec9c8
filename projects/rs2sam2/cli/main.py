"""The command `rs2sam2`: segment images and scenes by expressions, or try it on a page.

Words and options only: what works is imported where it is used, so that `--help` needs neither torch nor mmseg.
One file, as any other of the package would import the package, and torch with it.
"""

import atexit
import contextlib
import gc
import math
import re
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

EXIT_SOME_FAILED, EXIT_STOPPED = 1, 130
EXIT_CODES = (
    'Exit codes: 0 everything was segmented; 1 some pairs failed, each was told in one line and the others were done; '
    '2 wrong usage, or nothing could be done; 128 and more: stopped by a signal.'
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode='markdown',
    context_settings={'help_option_names': ['-h', '--help']},
    help='Segment what a referring expression means in remote-sensing images.',
)


class OnceCommand(TyperCommand):
    """A command that refuses an option a second time, where only the last would count, and an option without a value.

    An empty value is what a shell makes of a variable that is not set; as a path it would mean this folder.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Look at options and their order as they were typed, before they are parsed in earnest."""
        typed, _, order = self.make_parser(ctx).parse_args(args=list(args))
        params: list[Any] = order
        for param in params:
            values = typed.get(param.name)
            if '' in (values if isinstance(values, list | tuple) else [values]):
                raise typer.BadParameter('it is empty; name something, or leave it out', ctx, param)
        once: list[Any] = [param for param in params if param.param_type_name == 'option' and not param.multiple]
        for param in once:
            if once.count(param) > 1 and not param.is_eager:
                raise typer.BadParameter('it is given more than once; give it once', ctx, param)
        return super().parse_args(ctx, args)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f'rs2sam2 {version("rs2sam2")}')
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option('--version', callback=_print_version, is_eager=True, help='Print the version and end.')
    ] = False,
) -> None:
    pass


Model = Annotated[
    str,
    typer.Option(
        '--model',
        '-m',
        metavar='NAME|PATH',
        help='A published model (see *rs2sam2 models*), hf:user/repo[@revision][/folder], a work dir that training '
        'left, a bundle, a config file, or an exported model (OUT.onnx of *rs2sam2 export*).',
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        '--weights',
        '-w',
        metavar='NAME|PATH',
        help="Checkpoint, ours or a published one; else the model's own or best.",
    ),
]
Device = Annotated[str | None, typer.Option(help='cpu, cuda:1 ...; else a GPU where there is one.')]
Precision = Annotated[
    str | None,
    typer.Option(help='fp32, bf16 or fp16; else bf16 on a GPU that has it, fp32 elsewhere.'),
]
Compile = Annotated[
    bool, typer.Option('--compile', help='Compile the model: a minute or more at first, less time for every batch.')
]
TTA = Annotated[
    str | None,
    typer.Option(
        metavar='all|NAME,...',
        help='Average over turned copies of the image, the expression turned with it: all eight, or symmetries by name '
        '(rot90, rot180, rot270, flip_horizontal, flip_vertical, transpose, anti_transpose). One forward a copy.',
    ),
]
MinScore = Annotated[
    float | None, typer.Option(min=0, max=1, help='A mask whose score is below is emptied; the results say so.')
]


@app.command(cls=OnceCommand, epilog=EXIT_CODES)
def segment(
    model: Model,
    out: Annotated[Path, typer.Option('--out', '-o', help='Folder for masks, overlays and results.jsonl.')],
    images: Annotated[
        list[str] | None, typer.Argument(metavar='IMAGE', help='Images, folders of images, or patterns.')
    ] = None,
    expression: Annotated[
        list[str] | None, typer.Option('--expression', '-e', help='What to segment; more than once for several.')
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help='CSV or JSON-lines file with image, expression [, id]; instead of IMAGE and -e.')
    ] = None,
    image_root: Annotated[
        Path | None, typer.Option(help="Folder of relative image paths in --pairs; else that file's own folder.")
    ] = None,
    weights: Weights = None,
    batch_size: Annotated[int, typer.Option(min=1, help='Expressions that the model takes at once.')] = 1,
    min_score: MinScore = None,
    box: Annotated[
        str | None, typer.Option(metavar='X0,Y0,X1,Y1', help='Refine by a box in pixels (a single image).')
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(metavar='X,Y[,0]', help='Refine by a point on the target, with ,0 beside it (a single image).'),
    ] = None,
    tta: TTA = None,
    overlays: Annotated[bool, typer.Option(help='Write the masks over the images as JPEGs, too.')] = True,
    device: Device = None,
    precision: Precision = None,
    compile: Compile = False,
) -> None:
    """Segment images: every expression in every IMAGE, or the pairs of a file.

    OUT/masks holds a PNG a pair (255 on the target), OUT/overlays the masks over the images, OUT/results.jsonl one line
    a pair with id, COCO RLE, box, area and scores. Stopped and started again, it goes on where it stopped. Several
    GPUs or machines with a common OUT: torchrun --nproc-per-node 8 --no-python rs2sam2 segment ...
    """
    with _one_line_errors('; what is finished stays: run the same command again to go on'):
        from rs2sam2.cli.pairs import read_pairs
        from rs2sam2.cli.segment import BatchRun, SegmentOptions
        from rs2sam2.errors import ConfigError
        from rs2sam2.inference.inferencer import trained_on_note
        from rs2sam2.terminal import plain, plain_console

        if (pairs is None) == (not images) or (pairs is None) != bool(expression):
            raise ConfigError('give IMAGE and --expression, or --pairs')
        jobs = read_pairs(pairs, image_root) if pairs else _product(images or [], expression or [])
        corners = None if box is None else _numbers(box, '--box', (4,))
        points = [_numbers(one, '--point', (2, 3)) for one in point or ()] or None
        if (corners or points) and len({job.image for job in jobs}) > 1:
            raise ConfigError('--box and --point belong to one image: segment each image by itself')
        options = SegmentOptions(
            model, weights, device, batch_size, min_score, overlays, corners, points, precision, compile, tta
        )
        run = BatchRun(options, out, plain_console(stderr=True))
        counts = run(jobs)
        line = f'{counts.segmented} segmented ({counts.empty} empty), {counts.before} finished before, '
        print(plain(f'{line}{counts.failed} failed: {out}/results.jsonl'))
        if counts.replaced:
            print(f'note: {counts.replaced} of them again, because their image was replaced')
        print(plain(f'note: {trained_on_note(run.trained_on)}'))
        if counts.failed:
            raise typer.Exit(EXIT_SOME_FAILED)


@app.command(cls=OnceCommand)
def scene(
    rasters: Annotated[
        list[str],
        typer.Argument(
            metavar='SCENE',
            help='Rasters that GDAL reads: files, https://..., /vsicurl/..., NETCDF:F:NAME; with --out also folders, '
            'patterns, a .txt with one path a line, a STAC item collection (.json).',
        ),
    ],
    expression: Annotated[
        list[str], typer.Option('--expression', '-e', help='What to segment; more than once for several in one pass.')
    ],
    model: Model,
    mask: Annotated[Path | None, typer.Option(help='Mask to write, a cloud-optimized GeoTIFF.')] = None,
    probability: Annotated[Path | None, typer.Option(help='Probabilities to write, as well a COG.')] = None,
    polygons: Annotated[
        Path | None, typer.Option(help='Polygons to write: .gpkg, .geojson, .shp or .parquet; with --out all.')
    ] = None,
    candidates: Annotated[
        Path | None,
        typer.Option(
            help='Where words of place are decided: every object found, with its score and why it was taken or not; a '
            'file as for --polygons.'
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option('--out', '-o', help='Folder for the results of any number of scenes, in place of these.'),
    ] = None,
    weights: Weights = None,
    window: Annotated[
        int | None, typer.Option(help="Side of a window in pixels; else the model's own (in its config).")
    ] = None,
    overlap: Annotated[float, typer.Option(help='Share of a window that its neighbour also sees, 0 to 0.5.')] = 0.25,
    gsd: Annotated[
        float | None, typer.Option(help="Metres a pixel to resample to; else the model's own, or the scene's.")
    ] = None,
    bands: Annotated[str | None, typer.Option(metavar='R,G,B', help='Three band numbers from 1 on, or one.')] = None,
    nodata: Annotated[
        str | None, typer.Option(metavar='NUMBER', help="Value of pixels without data; else the scene's own.")
    ] = None,
    stretch: Annotated[
        str, typer.Option(metavar='LOW,HIGH', help='Percentiles that become 0 and 255, unless the bands have 8 bits.')
    ] = '2,98',
    scope: Annotated[
        str,
        typer.Option(
            help='window: each by itself; scene: the whole scene, reduced, says where; meaning: words of place are '
            'decided among the objects of the whole scene; auto: by the words.'
        ),
    ] = 'auto',
    min_area: Annotated[
        str | None, typer.Option(metavar='PX|M2', help='Leave out smaller polygons: 20 (pixels) or 50m2.')
    ] = None,
    simplify: Annotated[
        str | None, typer.Option(metavar='PX|M', help='Simplify outlines by about so much: 1.5 (pixels) or 2m.')
    ] = None,
    aoi: Annotated[Path | None, typer.Option(help='Vector file of polygons; outside of them nothing is run.')] = None,
    batch_size: Annotated[int, typer.Option(min=1, help='Windows that the model takes at once.')] = 4,
    block: Annotated[
        int, typer.Option(min=1, help='Pixels of a side of a block, the unit that workers take and that is kept.')
    ] = 4096,
    ray: Annotated[
        str | None,
        typer.Option(metavar='ADDRESS', help='Ray cluster that works: HOST:6379, ray://HOST:10001, auto, or local.'),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Ray's workers; else one a GPU of the cluster, or one a CPU.")
    ] = None,
    min_score: MinScore = None,
    tta: TTA = None,
    device: Device = None,
    precision: Precision = None,
    compile: Compile = False,
) -> None:
    """Segment georeferenced scenes of any size into rasters and polygons on their own grids.

    One scene: name at least one of --mask, --probability and --polygons; they appear under their names only when all
    are whole, and of several expressions each has its own rasters. Any number of scenes: OUT/scenes holds their
    rasters and polygons, OUT/objects.gpkg the polygons of all, OUT/index.jsonl one line a scene and expression.
    Stopped and started again, both go on with the missing blocks. Several GPUs or machines with a common output folder:
    torchrun --nproc-per-node 8 --no-python rs2sam2 scene ..., or --ray.
    """
    with _one_line_errors('; finished blocks and scenes stay: run the same command again to go on'):
        from rs2sam2.cli.scene import Cluster, ModelMaker, Where, run_scenes
        from rs2sam2.geo.cleaning import parse_cleaning
        from rs2sam2.geo.nodata import parse_nodata

        options = dict(
            window=window,
            overlap=overlap,
            gsd=gsd,
            bands=None if bands is None else tuple(_whole_numbers(bands, '--bands', (1, 3))),
            nodata=None if nodata is None else parse_nodata(nodata),
            stretch=tuple(_numbers(stretch, '--stretch', (2,))),
            scope=scope,
            batch_size=batch_size,
            min_score=min_score,
            block=block,
            cleaning=parse_cleaning(min_area, simplify),
            aoi=None if aoi is None else str(aoi.absolute()),
        )
        maker = ModelMaker(model, weights, device, precision, compile, tta)
        where = Where(mask, probability, polygons, candidates, out)
        if run_scenes(rasters, expression, maker, where, options, Cluster(ray, workers)):
            raise typer.Exit(EXIT_SOME_FAILED)


@app.command(cls=OnceCommand)
def demo(
    model: Model,
    weights: Weights = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help='Port on 127.0.0.1.')] = 7860,
    device: Device = None,
    precision: Precision = None,
    compile: Compile = False,
) -> None:
    """Open a page on this machine (127.0.0.1) to try a model on: image and expression in, mask out."""
    with _one_line_errors():
        from rs2sam2.page.server import serve

        serve(model, weights, port, device, precision, compile)


@app.command(cls=OnceCommand)
def serve(
    model: Model,
    weights: Weights = None,
    host: Annotated[
        str, typer.Option(help='Address to listen on; beyond this machine a token is needed.')
    ] = '127.0.0.1',
    port: Annotated[int, typer.Option(min=0, max=65535, help='Port; 0 takes a free one.')] = 8000,
    root: Annotated[
        list[Path] | None,
        typer.Option(help='Folder below which clients may name scenes by their path. More than once.'),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help='Another name by which clients may call this server. More than once.')
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help='File with the token that requests must bring; else $RS2SAM2_TOKEN.')
    ] = None,
    jobs: Annotated[
        Path | None, typer.Option(help='Folder of the scenes and their results; else ~/.local/state/rs2sam2/jobs.')
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help='Expressions that the model takes at once, at most.')] = 8,
    max_upload: Annotated[float, typer.Option(metavar='MB', help='Most that a request may bring.')] = 256,
    max_pixels: Annotated[int, typer.Option(help='Most pixels of an image; scenes may have any number.')] = 36_000_000,
    max_waiting: Annotated[int, typer.Option(help='Expressions that may wait; beyond that it answers 429.')] = 64,
    max_jobs: Annotated[int, typer.Option(help='Scenes that may wait.')] = 32,
    time_limit: Annotated[float, typer.Option(metavar='SECONDS', help="Until an image's answer.")] = 60,
    grace: Annotated[
        float, typer.Option(metavar='SECONDS', help='What a scene has to finish when the server is to end.')
    ] = 30,
    keep_days: Annotated[float, typer.Option(help='After these, finished scenes and their results are removed.')] = 30,
    device: Device = None,
    precision: Precision = None,
    compile: Compile = False,
) -> None:
    """Serve a model over HTTP: images at once, scenes as jobs with progress (extra *[serve]*).

    GET /openapi.json describes the requests; *rs2sam2.client* sends them.
    """
    with _one_line_errors('; scenes that were not finished go on when it is started again'):
        from rs2sam2.serve.server import serve
        from rs2sam2.serve.settings import ServeSettings, default_jobs, find_token

        if not 0 < max_upload < 1e6:
            raise typer.BadParameter(f'{max_upload:g}: give a number of megabytes', param_hint='--max-upload')
        settings = ServeSettings(
            host=host,
            port=port,
            names=tuple(name or ()),
            token=find_token(token_file),
            roots=tuple(root or ()),
            jobs=jobs or default_jobs(),
            batch_size=batch_size,
            max_upload=int(max_upload * 1e6),
            max_pixels=max_pixels,
            max_waiting=max_waiting,
            max_jobs=max_jobs,
            time_limit=time_limit,
            grace=grace,
            keep_days=keep_days,
        )
        serve(model, weights, device, precision, compile, settings)


@app.command(cls=OnceCommand)
def models() -> None:
    """List published models and starting weights: trained on what, scores, size, licence, and whether they are here."""
    with _one_line_errors():
        from rs2sam2.cli.published import list_published

        list_published()


@app.command(cls=OnceCommand)
def download(
    names: Annotated[
        list[str] | None, typer.Argument(metavar='NAME', help='Names of *rs2sam2 models*, or hf:user/repo[/folder].')
    ] = None,
    config: Annotated[
        Path | None, typer.Option('--for', metavar='CONFIG', help='Everything published that a config starts from.')
    ] = None,
) -> None:
    """Fetch published models and weights ahead of time, with all that they need; the newest where they are here.

    They lie in the cache of the Hugging Face hub (HF_HOME), which can be carried to a machine without network. A
    download that broke off goes on where it stopped.
    """
    with _one_line_errors():
        from rs2sam2.cli.published import download_published

        download_published(names or [], config)


@app.command(cls=OnceCommand)
def publish(
    work_dir: Annotated[Path, typer.Argument(metavar='WORK_DIR', help='Work dir that training left.')],
    out: Annotated[Path, typer.Argument(metavar='OUT', help='Folder to make.')],
    weights: Annotated[
        str | None, typer.Option('--weights', '-w', help="Checkpoint; else the work dir's best.")
    ] = None,
    dtype: Annotated[str, typer.Option(help='fp32, bf16 or fp16: what the weights are stored in.')] = 'fp32',
    licence: Annotated[
        str | None,
        typer.Option('--license', help="The weights' licence, an identifier of the hub; asked for otherwise."),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(help='results.jsonl of tools/test.py for the card; else all below WORK_DIR. More than once.'),
    ] = None,
    push: Annotated[str | None, typer.Option(metavar='USER/REPO', help='Upload it to the hub as well.')] = None,
) -> None:
    """Make a bundle of a trained model: weights, config, tokenizer and model card in one folder that runs no code.

    It is a --model wherever it lies, and so is the repository that --push uploads (hf:USER/REPO; log in first with
    *hf auth login*, or set HF_TOKEN).
    """
    with _one_line_errors():
        from rs2sam2.cli.publish import publish_bundle

        publish_bundle(work_dir, out, weights, dtype, licence, results, push)


@app.command(cls=OnceCommand)
def export(
    model: Annotated[str, typer.Argument(metavar='MODEL', help='Any model that --model takes elsewhere.')],
    out: Annotated[Path, typer.Argument(metavar='OUT', help='File to make: .onnx, or .pt2 with --format torch.')],
    format: Annotated[
        str, typer.Option(help='onnx: runs everywhere, without torch; torch: a program of torch.export.')
    ] = 'onnx',
    weights: Weights = None,
    dtype: Annotated[
        str, typer.Option(help='fp32, fp16 or int8: what the weights are stored in; it computes in fp32.')
    ] = 'fp32',
) -> None:
    """Export a model to one file that is a --model itself, on machines without torch too (extra *[onnx]*).

    Any number of expressions in a batch, of any length; the images' sizes are the model's. The file gets its name only
    when it was run on three inputs beside PyTorch: in fp32 both agree to 1e-4 of the spread, and what fp16 and int8
    change of the masks is told and stands in the file. Weights of more than 2 GB lie beside it, in OUT.data.
    """
    with _one_line_errors():
        from rs2sam2.terminal import plain

        if find_spec('torch') is None:
            from rs2sam2.errors import ConfigError

            raise ConfigError('to export a model, PyTorch and all of rs2sam2 are needed; here they are not')
        from rs2sam2.export.run import export_model

        check = export_model(model, out, format, weights, dtype).check
        size = sum(path.stat().st_size for path in (out, out.with_name(f'{out.name}.data')) if path.exists())
        largest = max(check['largest_difference_over_spread'].values())
        print(plain(f'{out}: {size / 1e6:.1f} MB'))
        print(
            f'{check["inputs"]} inputs beside PyTorch in fp32: largest difference {largest:.1e} of the spread, '
            f'{check["changed_pixels"]:.4%} of the mask pixels changed'
        )


def _product(images: list[str], expressions: list[str]) -> list:
    from rs2sam2.cli.pairs import make_pairs
    from rs2sam2.inference.images import list_images

    paths = dict.fromkeys(path for image in images for path in list_images(image))
    return make_pairs((path, text, None) for path in paths for text in dict.fromkeys(expressions))


def _numbers(text: str, option: str, counts: tuple[int, ...]) -> list[float]:
    from rs2sam2.errors import ConfigError

    try:
        numbers = [float(part) for part in re.split(r'[,\s]+', text.strip())]
    except ValueError:
        numbers = []
    if len(numbers) not in counts or not all(map(math.isfinite, numbers)):
        raise ConfigError(f'{option} {text}: {" or ".join(map(str, counts))} numbers with commas between')
    return numbers


def _whole_numbers(text: str, option: str, counts: tuple[int, ...]) -> list[int]:
    from rs2sam2.errors import ConfigError

    numbers = _numbers(text, option, counts)
    if not all(map(float.is_integer, numbers)):
        raise ConfigError(f'{option} {text}: whole numbers with commas between')
    return list(map(int, numbers))


@contextlib.contextmanager
def _one_line_errors(when_stopped: str = '') -> Iterator[None]:
    one_line_errors: Callable[[str], contextlib.AbstractContextManager[None]]
    try:
        if find_spec('torch') is None:
            from rs2sam2.one_line import one_line_errors
        else:
            from mmengine.logging import MMLogger

            from rs2sam2.engine.launch import one_line_errors

            # Results and errors are what the user reads; the library's own log is for training.
            MMLogger.get_current_instance().setLevel('WARNING')
    except KeyboardInterrupt:
        print('stopped by SIGINT', file=sys.stderr)
        sys.exit(EXIT_STOPPED)
    with one_line_errors(when_stopped):
        yield


def main() -> None:
    """Entry point."""
    # At the end Python would look through a million objects, for a second, before the system takes all memory back.
    atexit.register(gc.freeze)
    app()


if __name__ == '__main__':
    main()
