"""README and docs keep their word: links, commands with their options, configs, checkpoints and files exist."""

import argparse
import inspect
import re
import runpy
import shlex
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from markdown_it import MarkdownIt
from mmdet3d.registry import METRICS, MODELS
from mmengine.config import Config
from safetensors.torch import load_file

from cleverdistiller.models.students import MinkUNetStudent
from cleverdistiller.ops.sparse_conv import use_algorithm_for
from cleverdistiller.structures import VoxelGrid
from conftest import REPO
from runs import run_script

PROJECT = REPO / 'projects' / 'CleverDistiller'
PACKAGE = PROJECT / 'cleverdistiller'
README = REPO / 'README.md'
PAGES = [README, *sorted((REPO / 'docs').glob('*.md')), PROJECT / 'README.md']
FOLDERS = {path.name for root in (REPO, PACKAGE) for path in root.iterdir() if path.is_dir()} - {'data', 'work_dirs'}
MADE_BY_COMMANDS = ('configs/splits/nuscenes/',)
NO_OPTIONS = ('tools/doctor.py',)


@cache
def read(page: Path) -> SimpleNamespace:
    """What a page links to, its headings as GitHub's anchors, its inline code and its blocks of code."""
    found = SimpleNamespace(links=[], anchors=set(), inline=[], blocks=[])
    tokens = MarkdownIt('commonmark').enable('table').parse(page.read_text())
    for before, token in pairwise(tokens):
        if token.type == 'fence':
            found.blocks.append((token.info, token.content))
        for part in token.children or ():
            if part.type == 'code_inline':
                found.inline.append(part.content)
            if part.type in ('link_open', 'image'):
                found.links.append(part.attrs.get('href') or part.attrs['src'])
        if before.type == 'heading_open':
            text = ''.join(part.content for part in token.children)
            found.anchors.add(re.sub(r'[^\w\- ]', '', text.lower()).replace(' ', '-'))
    return found


def expand(text: str) -> list[str]:
    """Braces as a shell expands them."""
    braces = re.search(r'\{([^{}]*,[^{}]*)\}', text)
    if not braces:
        return [text]
    parts = (text[: braces.start()] + part + text[braces.end() :] for part in braces[1].split(','))
    return [whole for part in parts for whole in expand(part)]


def commands(page: Path) -> list[tuple[str, ...]]:
    """The words of each command of a page, in order, without assignments before it and what is piped to."""
    found = []
    for language, block in read(page).blocks:
        if language == 'bash':
            for line in block.replace('\\\n', ' ').splitlines():
                for command in re.split(r'&&|;|\|', line):
                    words = [word for part in shlex.split(command, comments=True) for word in expand(part)]
                    while words and re.fullmatch(r'[A-Z_]+=\S*', words[0]):
                        words.pop(0)
                    found.append(tuple(words))
    inline = (text.split() for text in read(page).inline if text.startswith(('make ', 'python tools/')))
    return [command for command in (*found, *map(tuple, inline)) if command]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPO))


ALL_COMMANDS = sorted({command for page in PAGES for command in commands(page)})
PYTHON = [command[1:] for command in ALL_COMMANDS if re.match('python (tools|benchmarks)/', ' '.join(command))]
SHELL = [words for words in ALL_COMMANDS if words[0].startswith('tools/')]
MAKE = [words[1:] for words in ALL_COMMANDS if words[0] == 'make']


def broken_link(page: Path, link: str) -> str | None:
    """Why a link of a page leads nowhere; None for one that does not, or leads to another site."""
    if '://' in link:
        return None
    file, _, anchor = link.partition('#')
    target = (page.parent / file).resolve() if file else page
    if not target.exists():
        return f'{link}: no such file'
    if anchor and anchor not in read(target).anchors:
        return f'{link}: no such heading'
    return None


def test_a_broken_link_is_found():
    assert broken_link(README, 'docs/nowhere.md') and broken_link(README, 'docs/data.md#nowhere')
    assert broken_link(README, 'docs/data.md#nuscenes') is None


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_links_and_pictures_are_there(page):
    assert [why for link in read(page).links if (why := broken_link(page, link))] == []


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [README]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = {(page.parent / link.partition('#')[0]).resolve() for link in read(page).links if '://' not in link}
        waiting += [target for target in targets - reached if target.suffix == '.md']
    assert set(PAGES) <= reached


def test_no_line_of_text_stands_on_two_pages():
    seen = {}
    for page in PAGES:
        text = re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)
        for line in {line for line in text.splitlines() if len(line) > 60 and not line.startswith('|')}:
            assert line not in seen, f'{name_of(page)} and {seen[line]}: {line}'
            seen[line] = name_of(page)


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_named_files_are_there(page):
    """What begins with a folder of the repository or of the package; a command's output may not be there yet."""
    named = {word for command in commands(page) for word in command}
    named |= {part for text in read(page).inline for word in text.split() for part in expand(word)}
    absent = []
    for name in sorted(named):
        if '/' in name and name.split('/')[0] in FOLDERS and re.fullmatch(r'[\w./*-]+', name):
            there = any(next(root.glob(name.rstrip('/')), None) for root in (REPO, PACKAGE))
            if not there and not name.startswith(MADE_BY_COMMANDS):
                absent.append(name)
    assert absent == []


class ArgumentsFit(Exception):
    """Raised with a script's arguments once its own parser has taken them, before any work."""


def parse_as_the_script_does(words: tuple[str, ...]) -> argparse.Namespace:
    """Hand a documented command line to the parser of its script; SystemExit if it refuses."""
    parse_args = argparse.ArgumentParser.parse_args

    def parse_and_leave(parser, *args, **kwargs):
        raise ArgumentsFit(parse_args(parser, *args, **kwargs))

    with (
        mock.patch.object(argparse.ArgumentParser, 'parse_args', parse_and_leave),
        pytest.raises(ArgumentsFit) as left,
    ):
        run_script(REPO / words[0], *words[1:])
    return left.value.args[0]


def is_option(cfg: Config, key: str) -> bool:
    """Whether a dotted key stands in a config, or the class that the config names there takes it."""
    *parents, last = key.split('.')
    part = cfg
    for parent in parents:
        part = part.get(parent) or {}
    if last in part or 'type' not in part:
        return last in part
    found = next(registry.get(part.type) for registry in (MODELS, METRICS) if registry.get(part.type))
    return any(last in inspect.signature(each.__init__).parameters for each in found.__mro__)


def check_arguments(words: tuple[str, ...]) -> None:
    """Parse a command line, and look its --cfg-options up in its config."""
    arguments = parse_as_the_script_does(words)
    if getattr(arguments, 'cfg_options', None):
        cfg = Config.fromfile(REPO / arguments.config)
        assert [key for key in arguments.cfg_options if not is_option(cfg, key)] == []


@pytest.mark.parametrize('words', PYTHON, ids=' '.join)
def test_a_command_is_taken_by_its_script(words):
    if words[0] in NO_OPTIONS:
        assert words[1:] == () and (REPO / words[0]).is_file()
    else:
        check_arguments(words)


def test_an_unknown_option_is_found(capsys):
    with pytest.raises(SystemExit):
        parse_as_the_script_does(('tools/prepare_kitti.py', 'data/kitti', '--fast'))
    assert '--fast' in capsys.readouterr().err


def test_an_unknown_key_of_a_config_is_found():
    command = ['tools/train.py', 'configs/segmentation/ft_minkunet34_1_nuscenes.py', '--cfg-options']
    check_arguments((*command, 'model.student_weights=None', 'model.allow_missing=[stem.]'))
    with pytest.raises(AssertionError, match=r'model\.student_weight'):
        check_arguments((*command, 'model.student_weight=None'))


@pytest.mark.parametrize('words', SHELL, ids=' '.join)
def test_a_shell_script_is_there_and_its_options_are_those_of_the_tool(words):
    script, tool = REPO / words[0], 'tools/test.py' if 'test' in words[0] else 'tools/train.py'
    assert script.stat().st_mode & 0o111
    usage = re.search(r': (?:\[.*?\] )?tools/\w+\.sh (.*?) \[', script.read_text())[1].split()
    assert len(words) > len(usage)
    positional = dict(zip(usage, words[1:]))
    own = [positional[name] for name in ('CONFIG', 'CHECKPOINT') if name in positional]
    check_arguments((tool, *own, *words[1 + len(usage) :]))


@pytest.mark.parametrize('words', MAKE, ids=' '.join)
def test_a_make_target_and_its_variables_are_there(words):
    makefile = (REPO / 'Makefile').read_text()
    for word in words:
        variable, is_assignment, _ = word.partition('=')
        used = rf'^[^#\n]*\b{variable}\b' if is_assignment else rf'^([\w-]+ )*{word}( [\w-]+)*:'
        assert re.search(used, makefile, re.MULTILINE), word


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_checkpoints_are_those_that_a_config_writes(page):
    """``work_dirs/NAME/epoch_N.pth``: NAME is a config, or a --work-dir of the page, and N its last epoch."""
    configs = {path.stem: path for path in (REPO / 'configs').glob('[!_]*/*.py')}
    given = {after for command in commands(page) for word, after in pairwise(command) if word == '--work-dir'}
    for command in commands(page):
        for name, file in (match for word in command for match in re.findall(r'work_dirs/([\w-]+)/(\S+)', word)):
            assert name in configs or f'work_dirs/{name}' in given or name == 'demo', name
            if epoch := re.fullmatch(r'epoch_(\d+)\.pth', file):
                assert int(epoch[1]) == Config.fromfile(configs[name]).train_cfg.max_epochs, file


@pytest.mark.needs_sparse_conv
def test_the_conversion_of_an_mmdet3d_minkunet_keeps_its_features(tmp_path, monkeypatch):
    [script] = [block for language, block in read(REPO / 'docs' / 'checkpoints.md').blocks if language == 'python']
    blocks = dict(encoder_blocks=[1] * 4, decoder_blocks=[1] * 4)
    channels = dict(base_channels=32, encoder_channels=[32, 64, 128, 256], decoder_channels=[256, 128, 96, 96])
    stock = MODELS.build(dict(type='MinkUNetBackbone', sparseconv_backend='spconv', **blocks, **channels)).eval()
    for norm in (layer for layer in stock.modules() if isinstance(layer, torch.nn.BatchNorm1d)):
        norm.running_mean.normal_(0, 0.1)
        norm.weight.data.uniform_(0.5, 1.5)
    weights = {f'backbone.{name}': tensor for name, tensor in stock.state_dict().items()}
    torch.save(dict(state_dict={**weights, 'decode_head.bias': torch.zeros(3)}), tmp_path / 'theirs.pth')
    (tmp_path / 'convert.py').write_text(script)
    monkeypatch.chdir(tmp_path)
    runpy.run_path('convert.py')
    student = MinkUNetStudent(depth=14, variant='mmdet3d', weights='student.safetensors').eval()
    assert len(load_file('student.safetensors')) == len(weights)

    cells = torch.unique(torch.randint(0, 24, (1500, 3)), dim=0).int()
    coords = torch.cat([torch.zeros(len(cells), 1, dtype=torch.int32), cells], 1)
    features, rows = torch.randn(len(cells), 4), torch.arange(len(cells))
    use_algorithm_for(stock, torch.device('cpu'))
    with torch.no_grad():
        torch.testing.assert_close(
            student(VoxelGrid(features, coords, rows, rows, 1)), stock(features, coords), rtol=1e-3, atol=1e-3
        )
