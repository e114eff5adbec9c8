"""What users name, in one list: registered parts, configs, commands, imports. Nothing of it may get lost.

A new name goes here with it.
"""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import typer
from mmengine import registry as mmengine_registry
from mmseg import registry as mmseg_registry

from helpers.paths import CONFIGS, ROOT
from rs2sam2.cli.main import app

REGISTERED = {
    'DATASETS': 'JSONLRefSegDataset NWPUReferDataset RISBenchDataset RRSISDDataset RefSegRSDataset',
    'HOOKS': 'CurvesHook DurableCheckpointHook RefSegVisualizationHook StopAtNonfiniteHook',
    'LOOPS': 'ResumableTrainLoop',
    'METRICS': 'GeneralizedRRSISMetric RRSISMetric',
    'MODELS': 'AdaptiveRotatedConv2d BEiT3UnionEncoder BertTextEncoder BidirectionalHierarchicalFusion '
    'CrossScaleInteraction DualUnionEncoder IoUScoreLoss LAVT LAVTHead LanguageAwareSwin MaskPromptGenerator '
    'PixelWordFusion PresenceLoss PseudoMaskLoss RMSIN RS2SAM2 RefSegDataPreProcessor ReferringCrossEntropyLoss '
    'ReferringDiceLoss SAM2Head SAM2Hiera TextGate TextGuidedBoundaryLoss TurnAveraging '
    'VariousReceptiveBranch',
    'MODEL_WRAPPERS': 'FullyShardedModel',
    'OPTIM_WRAPPER_CONSTRUCTORS': 'RefSegOptimWrapperConstructor',
    'PARAM_SCHEDULERS': 'PolynomialLR',
    'RUNNERS': 'StrictRunner',
    'TRANSFORMS': 'HFTokenizer LoadRGBImage LoadReferringMask PackRefSegInputs RandomBlackBoxes RandomTurn '
    'RefSegTokenizer ResizeTwoViews ResizeView TokenizeExpression Turn',
    'VISUALIZERS': 'RefSegVisualizer',
    'WEIGHT_INITIALIZERS': 'GridPositions OfficialWeights',
}
ABLATIONS = [
    'bhfm_linear',
    'bhfm_one_way',
    'mpg_without_attention',
    'no_adapters',
    'no_bhfm',
    'no_boundary',
    'no_gate',
    'no_mpg',
    'sparse_boundary',
    'sparse_only',
]
TO_RUN = [
    'evf_sam2_l',
    'evf_sam2_l_rrsisd',
    'lavt_refsegrs',
    'lavt_rrsisd',
    'lavt_tiny_demo',
    'remotesam',
    'rmsin_refsegrs',
    'rmsin_rrsisd',
    'rmsin_tiny_demo',
    'rs2sam2_clip_rrsisd',
    'rs2sam2_finetune_jsonl',
    'rs2sam2_refsegrs',
    'rs2sam2_refsegrs_1gpu',
    'rs2sam2_refsegrs_plus',
    'rs2sam2_refsegrs_released',
    'rs2sam2_rrsisd',
    'rs2sam2_rrsisd_1gpu',
    'rs2sam2_rrsisd_1gpu_checkpointed',
    'rs2sam2_rrsisd_1gpu_lora',
    'rs2sam2_rrsisd_plus',
    'rs2sam2_rrsisd_released',
    'rs2sam2_rrsisd_sharded',
    'rs2sam2_siglip_rrsisd',
    'rs2sam2_tiny_demo',
    'rs2sam2_tiny_demo_several',
    'rs2sam2_tiny_demo_windows',
    'rs2sam2_tiny_demo_more_windows',
    'rs2sam2_tiny_demo_short',
    'rs2sam2_tiny_demo_plus',
    'rs2sam2_tiny_nwpu_vhr10',
    'rs2sam2_tiny_nwpu_vhr10_from_demo',
    'rs2sam2_tiny_nwpu_vhr10_plus',
    'rs2sam2_tiny_nwpu_vhr10_small_views',
    *(f'ablations/{folder}/{row}' for folder in ('demo', 'refsegrs') for row in ABLATIONS),
    'ablations/demo/full',
]
PIECES = [
    'datasets/demo',
    'datasets/jsonl',
    'datasets/nwpu_vhr10',
    'datasets/refsegrs',
    'datasets/rrsisd',
    'datasets/rrsisd_480',
    'datasets/small_views',
    'datasets/synthetic',
    'datasets/synthetic_one_view',
    'datasets/two_views',
    'default_runtime',
    'models/evf_sam2_l',
    'models/lavt_b',
    'models/lavt_tiny',
    'models/rmsin_b',
    'models/rmsin_tiny',
    'models/rs2sam2_l',
    'models/rs2sam2_siglip_b',
    'models/rs2sam2_tiny',
    'schedules/adamw_bf16',
    'schedules/adamw_poly',
    'schedules/adamw_scratch',
]
COMMANDS = {'segment', 'scene', 'demo', 'models', 'download', 'publish', 'export', 'serve'}
TOOLS = [
    'analysis_tools/ablate',
    'analysis_tools/benchmark',
    'analysis_tools/benchmark_export',
    'analysis_tools/benchmark_inferencer',
    'analysis_tools/benchmark_meaning',
    'analysis_tools/benchmark_memory',
    'analysis_tools/benchmark_scene',
    'analysis_tools/benchmark_workers',
    'analysis_tools/compare',
    'analysis_tools/get_flops',
    'analysis_tools/load_service',
    'analysis_tools/profile_dataloader',
    'analysis_tools/score',
    'dataset_converters/coco2rrsis',
    'dataset_converters/gis2jsonl',
    'dataset_converters/make_demo_scenes',
    'dataset_converters/make_synthetic_scenes',
    'dataset_tools/check_dataset',
    'demo',
    'misc/browse_dataset',
    'misc/collect_env',
    'misc/make_qgis_plugin',
    'misc/print_config',
    'misc/screenshot_page',
    'misc/write_benchmark_page',
    'model_converters/convert',
    'model_converters/merge_lora',
    'test',
    'train',
]
SCRIPTS = ['dist_test', 'dist_train', 'slurm_test', 'slurm_train']
IMPORTS = [
    'import rs2sam2',
    'from rs2sam2 import RS2SAM2Inferencer',
    'from rs2sam2.client import Client',
    'from rs2sam2.geo.scene import segment_scene',
    'from rs2sam2.inference import InferencerWindowPredictor',
    'from rs2sam2.structures import TextState',
    'from rs2sam2.structures import UnionFeatures',
]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
CODE = re.compile(r'^```\w*\n(.*?)^```|^    \S.*$', re.MULTILINE | re.DOTALL)
# A command of ours, up to a comment.
COMMAND = re.compile(r'^\s*(?:\w+=\S+ )*(python tools/\S+|rs2sam2 [a-z]+)\b(.*)$', re.MULTILINE)
# A file of the repository in running text or a command; not a part of an address or of another path.
FILE = re.compile(
    r'(?<![\w/.:$-])((?:tests|tools|configs|docs|requirements|rs2sam2)/[\w./-]+\.(?:py|sh|md|txt|yml|png))'
)
LINK = re.compile(r'\]\(([^)#:]+)(?:#[^)]*)?\)')


def text_of(page: Path) -> str:
    return page.read_text().replace('\\\n', ' ')


@pytest.mark.parametrize('registry', REGISTERED)
def test_every_registered_name_is_there(registry):
    places = [getattr(module, registry) for module in (mmseg_registry, mmengine_registry) if hasattr(module, registry)]
    for name in REGISTERED[registry].split():
        assert any(place.module_dict.get(name, object).__module__.startswith('rs2sam2.') for place in places), name


def test_every_config_is_there():
    assert {f'configs/{name}.py' for name in TO_RUN} <= set(CONFIGS)
    assert all((ROOT / f'configs/_base_/{name}.py').is_file() for name in PIECES)


def test_every_command_is_there():
    assert set(typer.main.get_command(app).commands) >= COMMANDS
    assert "'rs2sam2 = rs2sam2_command:main'" in (ROOT / 'setup.py').read_text()
    assert all((ROOT / f'tools/{name}.sh').stat().st_mode & 0o111 for name in SCRIPTS)
    assert {f'{name}.py' for name in TOOLS} <= {
        str(path.relative_to(ROOT / 'tools')) for path in (ROOT / 'tools').rglob('*.py')
    }


@pytest.mark.parametrize('line', IMPORTS)
def test_every_documented_import_works(line):
    exec(line, {})


@pytest.fixture(scope='module')
def help_of():
    """What `python tools/X --help` says, by X."""
    said: dict[str, str] = {}

    def read(tool: str, capsys: pytest.CaptureFixture) -> str:
        if tool not in said:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, 'argv', [tool, '--help'])
                with pytest.raises(SystemExit) as stopped:
                    runpy.run_path(str(ROOT / tool), run_name='__main__')
            assert stopped.value.code == 0, tool
            said[tool] = capsys.readouterr().out
        return said[tool]

    return read


@pytest.mark.parametrize('tool', sorted((ROOT / 'tools').rglob('*.py')), ids=lambda path: path.stem)
def test_a_tool_says_how_it_is_used(tool, help_of, capsys):
    name = str(tool.relative_to(ROOT))
    assert 'python tools/' in help_of(name, capsys)


@pytest.mark.parametrize('page', PAGES, ids=lambda path: path.stem)
def test_a_page_names_what_is_there(page, help_of, capsys):
    """Its imports, its files and links, its commands with their flags."""
    text = text_of(page)
    for line in re.findall(r'^(?:from rs2sam2\S* import .*|import rs2sam2\S*)$', text, re.MULTILINE):
        assert line in IMPORTS, f'list it above: {line}'
    for name in FILE.findall(text):
        assert any((ROOT / place / name).exists() for place in ('.', 'projects')), name
    for name in LINK.findall(text):
        assert (page.parent / name).exists(), name
    commands = typer.main.get_command(app).commands
    code = '\n'.join(found.group() for found in CODE.finditer(text))
    for command, rest in COMMAND.findall(code):
        flags = {word.split('=')[0] for word in shlex.split(rest, comments=True) if word.startswith('--')}
        if command.startswith('python'):
            known = set(re.findall(r'--[\w-]+', help_of(command.removeprefix('python '), capsys)))
        else:
            known = {flag for option in commands[command.split()[1]].params for flag in option.opts}
        assert flags <= known, (command, flags - known)
