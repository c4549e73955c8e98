"""tools/results.py: what it makes of made-up cells, and what it refuses."""

import csv
import json
import re
import statistics
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleverdistiller.errors import InputError
from cleverdistiller.visualization.study_report import StudyRecord, draw_study, read_cells
from cleverdistiller.visualization.study_report.charts import columns_by_percent, draw_labels, draw_rankme, spread_apart
from cleverdistiller.visualization.study_report.orders import compare, holds, state_orders
from cleverdistiller.visualization.study_report.tables import csv_table, escape_latex, latex_table, markdown_table
from conftest import REPO
from runs import run_script

TOOL = REPO / 'tools' / 'results.py'
NAMES = 'table.md', 'table.tex', 'table.csv', 'rankme.png', 'labels.png'
RANKME = dict(key='rankme', title='RankMe', metric='rank/rankme', unit='', higher_is_better=None)
SCORES = {  # method to task to the values of the seeds
    'random': dict(rank=[9.0, 9.0, 9.0], ft_1=[0.1, 0.1, 0.1], ft_10=[0.2, 0.2, 0.2]),
    'linear': dict(rank=[2.0, 3.0, 4.0], ft_1=[0.10, 0.12, 0.14], ft_10=[0.3, 0.3, 0.3]),
    'mlp': dict(rank=[5.0, 5.0, 5.0], ft_1=[0.20, 0.22, 0.12], ft_10=[0.2, 0.2, 0.2]),
}


PLAIN = [dict(name=name, label=name) for name in SCORES]


def score_column(key: str, **changes) -> dict:
    return dict(key=key, title=f'{key} mIoU', metric='seg/miou', unit='%', higher_is_better=True) | changes


def write_study(folder: Path, scores: dict | None = None, **changes) -> Path:
    """Write ``study.json`` and a cell for each value that is not None.

    Args:
        folder (Path): For the files.
        scores (dict | None): As ``SCORES``.
        **changes: Keys of ``study.json``.
    """
    scores = SCORES if scores is None else scores
    papers = dict(linear=dict(rankme=1.89, ft_1=53.5), mlp=dict(ft_1=54))
    content = dict(
        name='test',
        title='Made-up numbers',
        seeds=[0, 1, 2],
        methods=[dict(name=name, label=f'the {name} head', paper=papers.get(name, {})) for name in SCORES],
        tasks=[
            dict(name='rank', columns=[RANKME]),
            dict(name='ft_1', percent=1, columns=[score_column('ft_1')]),
            dict(name='ft_10', percent=10, columns=[score_column('ft_10')]),
        ],
        orders=[['linear', 'mlp'], ['random', 'linear', 'mlp']],
        command='python tools/study.py test.yaml',
        plan_sha256='0' * 64,
    )
    (folder / 'cells').mkdir(parents=True)
    (folder / 'study.json').write_text(json.dumps(content | changes))
    for method, tasks in scores.items():
        for task, values in tasks.items():
            for seed, value in enumerate(values):
                if value is not None:
                    write_cell(folder, method, task, seed, value)
    return folder


def write_cell(folder: Path, method: str, task: str, seed: int, value: float | None, **changes) -> Path:
    metric = 'rank/rankme' if task == 'rank' else 'seg/miou'
    content = dict(plan_sha256='0' * 64, method=method, task=task, seed=seed, metrics={metric: value})
    path = folder / 'cells' / f'{method}_{task}_seed{seed}.json'
    path.write_text(json.dumps(content | dict(made_from=dict(simulated=True)) | changes))
    return path


def read(folder: Path):
    record = StudyRecord.read(folder / 'study.json')
    return record, read_cells(folder / 'cells', record)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as refused:
        read(folder)
    return str(refused.value)


def markdown_cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines()]


def test_means_deviations_papers_numbers_and_the_best(tmp_path):
    headings, _, *rows = markdown_cells(markdown_table(*read(write_study(tmp_path))))
    assert headings == ['method', 'RankMe', "paper's", 'ft\\_1 mIoU', "paper's", 'ft\\_10 mIoU']
    assert rows == [
        ['the random head', '9.00 ± 0.00', '', '10.0 ± 0.0', '', '20.0 ± 0.0'],
        ['the linear head', '3.00 ± 1.00', '1.89', '12.0 ± 2.0', '53.5', '**30.0** ± 0.0'],
        ['the mlp head', '5.00 ± 0.00', '', '**18.0** ± 5.3', '54.0', '20.0 ± 0.0'],
    ]


def test_what_is_missing_is_told(tmp_path):
    scores = dict(linear=dict(rank=[2.0, None, 4.0], ft_1=[None, None, 0.14]), mlp=dict(ft_1=[0.2, 0.2, 0.2]))
    write_study(tmp_path, scores)
    write_cell(tmp_path, 'mlp', 'rank', 0, None)  # a null
    write_cell(tmp_path, 'mlp', 'ft_10', 0, 0.5, metrics={'seg/iou/car': 0.5})
    table = markdown_table(*read(tmp_path))
    _, _, *rows = markdown_cells(table)
    assert rows == [
        ['the random head', 'missing', '', 'missing', '', 'missing'],
        ['the linear head', '3.00 ± 1.41 (n=2)', '1.89', '14.0 (n=1)', '53.5', 'missing'],
        ['the mlp head', 'missing', '', '**20.0** ± 0.0', '54.0', 'missing'],
    ]


def test_equal_numbers_are_both_the_best_and_lower_may_be_better(tmp_path):
    tasks = [dict(name='ft_1', columns=[score_column('ft_1', higher_is_better=False)])]
    scores = dict(random=dict(ft_1=[0.10001]), linear=dict(ft_1=[0.1]), mlp=dict(ft_1=[0.2]))
    study = write_study(tmp_path, scores, tasks=tasks, seeds=[0], methods=PLAIN)
    _, _, *rows = markdown_cells(markdown_table(*read(study)))
    assert rows == [['random', '**10.0**'], ['linear', '**10.0**'], ['mlp', '20.0']]


def test_latex_says_the_same_and_escapes(tmp_path):
    methods = [
        dict(name='random', label='50 % of_all & more'),
        dict(name='linear', label='linear'),
        dict(name='mlp', label='m'),
    ]
    lines = latex_table(*read(write_study(tmp_path, methods=methods))).splitlines()
    assert lines[0].startswith(r'\begin{tabular}{lrrr}') and lines[-1] == r'\end{tabular}'
    assert lines[1].startswith(r'\multicolumn{4}{c}{\textbf{SIMULATED')
    assert r'method & RankMe & ft\_1 mIoU & ft\_10 mIoU \\' in lines
    assert r'50 \% of\_all \& more & 9.00 $\pm$ 0.00 & 10.0 $\pm$ 0.0 & 20.0 $\pm$ 0.0 \\' in lines
    assert r'm & 5.00 $\pm$ 0.00 & \textbf{18.0} $\pm$ 5.3 & 20.0 $\pm$ 0.0 \\' in lines
    assert escape_latex('\\{a}^~<$#') == r'\textbackslash{}\{a\}\textasciicircum{}\textasciitilde{}\textless{}\$\#'


def test_csv_has_a_line_for_each_method_and_column(tmp_path):
    banner, *lines = csv_table(*read(write_study(tmp_path, SCORES | dict(random={})))).splitlines()
    assert banner.startswith('# SIMULATED')
    rows = {(row['method'], row['column']): row for row in csv.DictReader(lines)}
    assert len(rows) == 9
    for method, task, key in (('linear', 'rank', 'rankme'), ('mlp', 'ft_1', 'ft_1')):
        values = [value * (1 if task == 'rank' else 100) for value in SCORES[method][task]]
        row = rows[method, key]
        assert float(row['mean']) == pytest.approx(np.mean(values), rel=1e-5)
        assert float(row['std']) == pytest.approx(np.std(values, ddof=1), rel=1e-5)
    assert rows['linear', 'rankme']["paper's"] == '1.89' and rows['mlp', 'rankme']["paper's"] == ''
    missing = rows['random', 'rankme']
    assert (missing['mean'], missing['std'], missing['seeds'], missing['seeds planned']) == ('missing', '', '0', '3')


def test_orders_on_average_and_by_seed(tmp_path):
    record, results = read(write_study(tmp_path))
    rank, few, more = record.columns
    assert holds(results, ['linear', 'mlp'], rank) is True
    assert holds(results, ['random', 'linear', 'mlp'], rank) is False
    assert holds(results, ['random', 'linear', 'mlp'], few) is True
    assert holds(results, ['random', 'mlp'], more) is False  # equal
    step = compare(results, 'linear', 'mlp', few)
    differences = [10.0, 10.0, -2.0]
    assert step.held == 2 and step.differences.values == pytest.approx(differences)
    assert step.differences.std == pytest.approx(statistics.stdev(differences))
    tables = state_orders(record, results).split('###')
    assert '| RankMe | holds | +2.00 ± 1.00, 3 of 3 seeds |' in tables[1]
    assert '| ft\\_1 mIoU | holds | +6.0 ± 6.9, 2 of 3 seeds |' in tables[1]
    assert '| RankMe | **does not hold** | -6.00 ± 1.00, 0 of 3 seeds | +2.00 ± 1.00, 3 of 3 seeds |' in tables[2]
    assert '| ft\\_10 mIoU | **does not hold** | +10.0 ± 0.0, 3 of 3 seeds | -10.0 ± 0.0, 0 of 3 seeds |' in tables[2]


def test_orders_of_random_numbers_equal_plain_loops(tmp_path):
    rng = np.random.default_rng(0)
    scores = {name: dict(ft_1=[round(value, 4) for value in rng.random(3).tolist()]) for name in SCORES}
    record, results = read(write_study(tmp_path, scores))
    column = record.columns[1]
    for chain in record.orders:
        held = True
        for before, after in pairwise(chain):
            total, count = 0.0, 0
            for seed in range(3):
                difference = scores[after]['ft_1'][seed] - scores[before]['ft_1'][seed]
                total, count = total + difference, count + (difference > 0)
            step = compare(results, before, after, column)
            assert step.held == count and step.differences.mean == pytest.approx(100 * total / 3)
            held = held and total > 0
        assert holds(results, chain, column) is held


def test_orders_without_numbers_and_where_lower_is_better(tmp_path):
    tasks = [dict(name='ft_1', columns=[score_column('ft_1', higher_is_better=False)])]
    scores = dict(linear=dict(ft_1=[0.3, None, None]), mlp=dict(ft_1=[0.2, 0.1, None]))
    record, results = read(write_study(tmp_path, scores, tasks=tasks, methods=PLAIN))
    pair, chain = state_orders(record, results).split('###')[1:]
    assert '| ft\\_1 mIoU (lower is better) | holds | -10.0, 1 of 1 seeds |' in pair
    assert '| missing | missing | -10.0, 1 of 1 seeds |' in chain


@pytest.mark.parametrize('simulated', [True, False])
def test_only_simulated_studies_have_a_banner(tmp_path, simulated):
    write_study(tmp_path)
    if not simulated:
        for path in (tmp_path / 'cells').iterdir():
            content = json.loads(path.read_text())
            content['made_from'] = {}
            path.write_text(json.dumps(content))
    files = draw_study(*read(tmp_path))
    texts = [files[name].decode() for name in NAMES[:3]]
    assert all(('SIMULATED' in '\n'.join(text.splitlines()[:2])) is simulated for text in texts)
    for name in NAMES[3:]:  # the banner alone is orange at the top of a picture
        top = np.asarray(Image.open(BytesIO(files[name])).convert('RGB'), int)[:60]
        orange = (abs(top - [0xB2, 0x6A, 0]).sum(-1) < 20).any()
        assert orange == simulated


def test_the_same_cells_make_the_same_bytes(tmp_path, capsys):
    for name in ('first', 'second'):
        study = write_study(tmp_path / name)
        run_script(TOOL, study, '--out', tmp_path / name / 'out')
    first, second = tmp_path / 'first/out', tmp_path / 'second/out'
    assert sorted(path.name for path in first.iterdir()) == sorted(NAMES)
    for name in NAMES:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    for name in NAMES[3:]:
        with Image.open(first / name) as picture:
            assert set(picture.info) <= {'dpi'}
    text = (first / 'table.md').read_text()
    assert text in capsys.readouterr().out and '![RankMe against each score](rankme.png)' in text
    assert 'python tools/study.py test.yaml' in text
    assert 'over the seeds 0, 1, 2. In per cent: ft\\_1 mIoU, ft\\_10 mIoU.' in text


def test_a_picture_that_no_longer_shows_anything_goes_away(tmp_path):
    study = write_study(tmp_path, dict(linear=dict(ft_1=[0.5])))
    (study / 'rankme.png').write_text('of an older study')
    run_script(TOOL, study)
    assert not (study / 'rankme.png').exists() and (study / 'labels.png').exists()


def test_pictures_need_something_to_show(tmp_path):
    record, nothing = read(write_study(tmp_path / 'empty', {}))
    assert draw_rankme(record, nothing) is None and draw_labels(record, nothing) is None
    tasks, scores = [dict(name='rank', columns=[RANKME])], dict(linear=dict(rank=[2.0]))
    record, results = read(write_study(tmp_path / 'rank', scores, tasks=tasks, methods=PLAIN))
    assert draw_rankme(record, results) is None and draw_labels(record, results) is None


def test_tasks_that_differ_in_their_labels_make_one_panel(tmp_path):
    named = {'ft_10': 10, 'ft_0.1': 0.1, 'ft_1_kitti': 1, 'ft_5_kitti': 5, 'ft_1_waymo': 1}
    tasks = [dict(name=name, percent=percent, columns=[score_column(name)]) for name, percent in named.items()]
    tasks.append(dict(name='lp', columns=[score_column('lp')]))
    found = columns_by_percent(read(write_study(tmp_path, {}, tasks=tasks, methods=PLAIN))[0])
    keys = {key: {percent: column.key for percent, column in columns.items()} for key, columns in found.items()}
    assert keys == {
        ('ft', 'seg/miou'): {0.1: 'ft_0.1', 10: 'ft_10'},
        ('ft_kitti', 'seg/miou'): {1: 'ft_1_kitti', 5: 'ft_5_kitti'},
    }
    assert list(keys['ft', 'seg/miou']) == [0.1, 10]


def test_names_keep_their_order_and_a_distance():
    assert spread_apart([0.2, 0.9, 0.5], 0.1) == [0.2, 0.9, 0.5]
    assert spread_apart([0.5, 0.5, 0.1], 0.25) == [0.5, 0.75, 0.1]
    assert spread_apart([], 0.1) == []
    for values in np.random.default_rng(0).random((20, 9)):
        moved = np.array(spread_apart(values.tolist(), 0.125))
        assert (np.argsort(moved) == np.argsort(values)).all()
        assert np.diff(np.sort(moved)).min() > 0.125 - 1e-9 and moved.min() > -1e-9 and moved.max() <= 1


@pytest.mark.parametrize(
    'text',
    ['{"method": "mlp"', '[]', '7', '{"seed": 0}', b'\xff\xfe', None],
    ids=['cut', 'list', 'number', 'keys', 'bytes', 'nan'],
)
def test_damaged_cells_are_told_all_at_once(tmp_path, text):
    study = write_study(tmp_path)
    paths = [study / 'cells' / f'mlp_ft_1_seed{seed}.json' for seed in (0, 1)]
    for path in paths:
        whole = path.read_text()
        content = re.sub(r'0\.2\d*', 'NaN', whole).encode() if text is None else text
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = refusal(study)
    assert all(f'{path} (damaged' in said for path in paths) and 'python tools/study.py test.yaml' in said


def test_cells_of_another_plan_are_refused_and_counted(tmp_path):
    study = write_study(tmp_path)
    study_file = study / 'study.json'
    study_file.write_text(study_file.read_text().replace('0' * 64, '1' * 64))
    said = refusal(study)
    assert 'linear_ft_10_seed0.json (of another plan)' in said and 'and 24 more' in said


def test_a_renamed_cell_is_refused(tmp_path):
    study = write_study(tmp_path)
    (study / 'cells/mlp_ft_1_seed0.json').rename(study / 'cells/mlp_ft_1_seed7.json')
    assert 'mlp_ft_1_seed7.json (with mlp, ft_1, seed 0 inside)' in refusal(study)


def test_simulated_and_real_cells_do_not_mix(tmp_path):
    study = write_study(tmp_path)
    real = write_cell(study, 'mlp', 'ft_1', 0, 0.5, made_from=dict(simulated=False))
    said = refusal(study)
    assert f'{real}, which is not' in said and 'simulated data' in said


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        (dict(seeds=[0, 0]), 'seeds with 0 more than once'),
        (dict(methods=[]), 'methods with nothing'),
        (dict(methods=None), 'keys and types'),
        (dict(methods=[dict(name='linear')]), 'label'),
        (dict(orders=[['linear', 'slidr']]), 'orders with slidr'),
        (dict(orders=[['linear']]), "orders with ['linear']"),
        (dict(methods=[dict(name=name, label=name, paper=dict(lp=1.0)) for name in SCORES]), 'paper of random with lp'),
        (dict(tasks=[dict(name='a', columns=[score_column('a', unit='m')])]), 'unit'),
        (dict(tasks=[dict(name=n, columns=[RANKME]) for n in 'ab']), 'columns with rankme more than once'),
    ],
)
def test_bad_plans_are_refused(tmp_path, changes, named):
    said = refusal(write_study(tmp_path, {}, **changes))
    assert named in said and 'study.json' in said and 'remedy' in said


def test_a_refusal_leaves_nothing_behind(tmp_path, capsys):
    study = write_study(tmp_path)
    (study / 'cells/mlp_ft_1_seed0.json').write_text('')
    with pytest.raises(SystemExit) as left:
        run_script(TOOL, study, '--out', tmp_path / 'out')
    said = capsys.readouterr().err
    assert left.value.code == 2 and 'mlp_ft_1_seed0.json' in said and 'Traceback' not in said
    assert not (tmp_path / 'out').exists()
    with pytest.raises(SystemExit):
        run_script(TOOL, tmp_path / 'nowhere')
    assert 'study.json, which is not a file' in capsys.readouterr().err


@pytest.mark.parametrize('told', sorted((REPO / 'docs/results').rglob('study.json')), ids=lambda path: path.parent.name)
def test_the_tables_in_the_docs_are_those_of_their_json_files(told):
    record = StudyRecord.read(told)
    files = draw_study(record, read_cells(told.parent / 'cells', record))
    for name in ('table.md', 'table.tex', 'table.csv'):  # the pictures' bytes hang on fonts
        assert (told.parent / name).read_bytes() == files[name], name
