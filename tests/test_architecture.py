"""The house rules of imports: data flows one way, and so do imports."""

import ast
from pathlib import Path

import pytest

from conftest import REPO

PACKAGE = REPO / 'projects' / 'CleverDistiller' / 'cleverdistiller'
LEVELS = dict(
    errors=0,
    fileio=0,
    plain_pickle=0,
    provenance=0,
    seeding=0,
    structures=0,
    compat=1,
    teacher_cache=1,
    ops=1,
    datasets=2,
    models=2,
    engine=3,
    evaluation=3,
    downstream=4,
    simulation=4,
    visualization=4,
)
MODULES = [path for path in sorted(PACKAGE.rglob('*.py')) if path != PACKAGE / '__init__.py']


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names += [f'{node.module}.{alias.name}' for alias in node.names]
    return names


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_the_levels_only(path):
    here = room(path)
    for name in imported(path):
        parts = name.split('.')
        if parts[0] == 'cleverdistiller' and len(parts) > 1:
            there = parts[1]
            neighbours = LEVELS[there] == LEVELS[here] <= 1  # datasets and models never meet
            assert there == here or LEVELS[there] < LEVELS[here] or neighbours, name
        if here == 'ops':
            assert not parts[0].startswith('mm'), name


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_cuda_call(path):
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == 'cuda'
    ]
    assert not calls


@pytest.mark.parametrize(
    'path', [p for p in MODULES if room(p) != 'compat'], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_only_compat_assigns_into_another_library(path):
    assert foreign_assignments(ast.parse(path.read_text())) == []


def test_compat_is_seen_assigning_into_other_libraries():
    found = {path.name: foreign_assignments(ast.parse(path.read_text())) for path in (PACKAGE / 'compat').glob('*.py')}
    assert {'ops.get_current_stream', 'ops.get_indice_pairs'} <= set(found['spconv.py'])
    assert found['mmcv.py'] == ['setattr(owner, name, _by_device(twin, stock))']


def foreign_assignments(tree: ast.Module) -> list[str]:
    """Targets such as ``library.name = ...`` where ``library`` was imported from elsewhere; any ``setattr``."""
    foreign, targets = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            foreign |= {alias.asname or alias.name.split('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module.split('.')[0] != 'cleverdistiller':
            foreign |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            targets += [t for target in node.targets for t in ast.walk(target) if isinstance(t, ast.Attribute)]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            targets.append(node.target)
    texts = [ast.unparse(target) for target in targets if isinstance(target.ctx, ast.Store)]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == 'setattr']
    return [text for text in texts if text.split('.')[0] in foreign] + [ast.unparse(call) for call in calls]


def test_one_public_class_a_file_named_after_it():
    rooms = [
        folder
        for name in (
            'datasets/transforms',
            'models/heads',
            'models/losses',
            'models/students',
            'models/teachers',
            'models/distillers',
            'engine/hooks',
        )
        for folder in [PACKAGE / name]
    ]
    for path in [path for folder in rooms for path in folder.glob('[!_]*.py')]:
        public = [
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ClassDef) and not node.name.startswith('_')
        ]
        if path.name == 'functional.py':
            assert not public
            continue
        main = [name for name in public if name.lower() == path.stem.replace('_', '')]
        assert len(main) == 1, f'{path.name}: {public}'


def test_test_files_have_names_of_their_own():
    """They share one namespace: of two files of a name, one would silently stand for the other."""
    names = [path.name for path in sorted((REPO / 'tests').rglob('*.py'))]
    assert sorted(names) == sorted(set(names))
