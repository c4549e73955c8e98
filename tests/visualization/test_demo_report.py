"""The report of a demo: which inputs it takes, what it says of the numbers, and a page that needs nothing else."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleverdistiller.errors import InputError
from cleverdistiller.visualization.demo_report import (
    DemoRecord,
    demo_numbers,
    demo_page,
    read_results,
    summarise,
)
from cleverdistiller.visualization.demo_report.charts import read_curve, smoothed
from cleverdistiller.visualization.demo_report.page import duration
from cleverdistiller.visualization.demo_report.pictures import embed_pictures
from cleverdistiller.visualization.demo_report.record import Column, Curve
from cleverdistiller.visualization.demo_report.summary import answer, number
from demo_run import write_demo, write_json

COLUMN = dict(key='lp', title='probing', quantity='mIoU', metric='seg/miou', higher_is_better=True, unit='%')


def read(folder: Path):
    record = DemoRecord.read(folder / 'demo.json')
    return record, read_results(folder, record)


def page_of(folder: Path) -> str:
    return demo_page(folder, *read(folder))


class Page(HTMLParser):
    """Every tag with its attributes, the words, and how many captions each figure has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.figures: list[dict[str, int]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == 'figure':
            self.figures.append(dict(img=0, figcaption=0))
        if tag in ('img', 'figcaption'):
            self.figures[-1][tag] += 1
        if tag in ('script', 'style'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        if not self.open:
            self.words.append(data)


@pytest.mark.parametrize(
    ('changes', 'complaint'),
    [
        (dict(sed=0), 'sed'),
        (dict(seed='zero'), 'seed'),
        (dict(stages=3), 'stages|iterable'),
        (dict(teacher=dict(kind='ViT', name='', text='')), 'teacher.kind'),
        (dict(columns=[dict(COLUMN, unit='dB')]), 'unit'),
        (dict(columns=[COLUMN, COLUMN]), 'columns with lp more than once'),
        (dict(columns=[dict(COLUMN, key='ft')]), 'an entry for each column: ft'),
        (dict(main='thought'), "main 'thought'"),
        (dict(methods=[dict(name=n, label=n, results=dict(lp=[])) for n in ('random', 'taught')]), 'no file in lp'),
        (
            dict(methods=[dict(name=n, label=n, results=dict(lp=['a', 'a'])) for n in ('random', 'taught')]),
            'results of random in lp with a more than once',
        ),
    ],
)
def test_a_record_that_is_not_one_is_refused(tmp_path, changes, complaint):
    write_demo(tmp_path, **changes)
    with pytest.raises(InputError, match=complaint) as refused:
        DemoRecord.read(tmp_path / 'demo.json')
    assert str(tmp_path / 'demo.json') in str(refused.value) and 'remedy' in str(refused.value)


def test_a_record_without_a_key_or_that_is_no_json_is_refused(tmp_path):
    content = write_demo(tmp_path)
    del content['methods']
    write_json(tmp_path / 'demo.json', content)
    with pytest.raises(InputError, match='methods'):
        DemoRecord.read(tmp_path / 'demo.json')
    for text, complaint in (('{', 'not JSON'), ('[]', 'a list inside')):
        (tmp_path / 'demo.json').write_text(text)
        with pytest.raises(InputError, match=complaint):
            DemoRecord.read(tmp_path / 'demo.json')
    with pytest.raises(InputError, match='not a file'):
        DemoRecord.read(tmp_path / 'nowhere.json')


def test_the_numbers_are_means_deviations_and_gains(tmp_path):
    write_demo(tmp_path, dict(random=[0.25, 0.5], taught=[0.75, 1.0, 0.25], other=None))
    found = demo_numbers(*read(tmp_path))
    assert found['taught/lp/runs'] == [0.75, 1.0, 0.25] and found['taught/lp/n'] == 3
    assert found['taught/lp/mean'] == pytest.approx(np.mean([0.75, 1.0, 0.25]))
    assert found['taught/lp/std'] == pytest.approx(np.std([0.75, 1.0, 0.25], ddof=1))
    assert found['taught/lp/gain'] == pytest.approx(np.mean([0.75, 1.0, 0.25]) - np.mean([0.25, 0.5]))
    assert found['other/lp/mean'] is None and found['other/lp/n'] == 0 and found['other/lp/gain'] is None
    assert found['teacher/accuracy'] == 0.5


@pytest.mark.parametrize(('higher_is_better', 'gain', 'best'), [(True, 0.5, 'taught'), (False, -0.5, 'random')])
def test_the_better_end_decides_gain_and_best(tmp_path, higher_is_better, gain, best):
    write_demo(tmp_path, columns=[dict(COLUMN, higher_is_better=higher_is_better)])
    record, results = read(tmp_path)
    assert results.gain(record, 'taught', record.columns[0]) == gain
    assert results.best(record.columns[0]) == [best]


def test_where_neither_end_is_better_nothing_is_called_better(tmp_path):
    write_demo(tmp_path, columns=[dict(COLUMN, higher_is_better=None)])
    record, results = read(tmp_path)
    assert results.best(record.columns[0]) == [] and summarise(record, results) == {} and answer(record, results) == ''
    assert 'class="best"' not in page_of(tmp_path)


def test_results_that_are_missing_or_have_no_value_are_refused(tmp_path):
    write_demo(tmp_path)
    broken = tmp_path / 'lp' / 'taught_seed1.json'
    for content, complaint in (
        ({'seg/accuracy': 1.0}, 'without seg/miou.*\n.*seg/accuracy'),
        ({'seg/miou': None}, 'seg/miou = None'),
    ):
        write_json(broken, content)
        with pytest.raises(InputError, match=complaint) as refused:
            read(tmp_path)
        assert str(broken) in str(refused.value)
    broken.unlink()
    with pytest.raises(InputError, match=r'taught_seed1\.json, which is not a file'):
        read(tmp_path)


def test_simulated_numbers_are_not_passed_for_real_ones(tmp_path):
    write_demo(tmp_path, simulated=False)
    with pytest.raises(InputError, match='said not to be simulated'):
        read(tmp_path)


@pytest.mark.parametrize(
    ('random', 'taught', 'words', 'short'),
    [
        (
            [0.1, 0.12],
            [0.2, 0.22],
            'the taught one beats the random one by 10.0 mIoU points (21.0 against 11.0, means of 2 runs each; '
            'the spreads do not overlap).',
            'in 1 of 1 tasks, in 1 of them clearly',
        ),
        (
            [0.1, 0.3],
            [0.15, 0.31, 0.26],
            'means of 3 and 2 runs; the spreads overlap, so it may be chance',
            'in 1 of 1 tasks, in 0 of them clearly',
        ),
        (
            [0.3],
            [0.2],
            'does not beat the random one: it is worse by 10.0 mIoU points (20.0 against 30.0, one run each',
            'in 0 of 1 tasks.',
        ),
        ([0.3], [0.3001], 'does not beat the random one: they are level', 'in 0 of 1 tasks.'),
        ([0.3], [0.5], 'how much it varies between runs is not known', '1 of 1 tasks, in 0'),
        ([0.3], None, 'the taught one was not run; nothing to compare.', ''),
        (None, None, 'the taught one and the random one were not run', ''),
    ],
)
def test_the_words_are_right_however_it_came_out(tmp_path, random, taught, words, short):
    write_demo(tmp_path, dict(random=random, taught=taught))
    record, results = read(tmp_path)
    assert words in summarise(record, results)['probing']
    assert short in answer(record, results) and bool(short) == bool(answer(record, results))


def test_the_others_are_told_after_the_main_method(tmp_path):
    write_demo(tmp_path, dict(random=[0.1, 0.2], taught=[0.8, 0.9], good=[0.5, 0.6], poor=[0.05, 0.15], idle=None))
    record, results = read(tmp_path)
    told = summarise(record, results)['probing']
    assert told.endswith('The others against the random one: the good one +40.0, the poor one -5.0 (overlapping).')


def test_numbers_keep_a_precision_that_suits_them():
    percent, plain = Column(**COLUMN), Column(**dict(COLUMN, unit=''))
    assert [number(0.12345, percent), number(0.12345, percent, sign=True)] == ['12.3', '+12.3']
    assert [number(value, plain) for value in (0.12345, 1.2345, 12.345)] == ['0.123', '1.23', '12.3']
    assert [duration(value) for value in (0.04, 59.96, 185, 3720)] == [
        '0.0 s',
        '1 min 00 s',
        '3 min 05 s',
        '1 h 02 min',
    ]


def curve(**changes) -> Curve:
    return Curve(**dict(dict(label='taught', file_glob='*/scalars.json', keys=('loss',), panel='training'), **changes))


def write_log(folder: Path, start: str, text: str) -> None:
    (folder / start).mkdir()
    (folder / start / 'scalars.json').write_text(text)


def test_a_log_goes_on_where_a_killed_training_was_resumed(tmp_path):
    write_log(
        tmp_path, '1', '{"step": 1, "loss": 4}\n{"seg/miou": 0.5, "step": 1}\n{"step": 2, "loss": 3}\n{"step": 3, "l'
    )
    write_log(tmp_path, '2', '{"step": 2, "loss": 2}\n{"step": 3, "loss": 1}\n')
    steps, values = read_curve(tmp_path, curve())['loss']
    assert steps.tolist() == [1, 2, 3] and values.tolist() == [4, 2, 1]


@pytest.mark.parametrize(
    ('text', 'complaint'),
    [
        ('{"step": 1, "loss_ce": 1}\n', 'without loss\n.*loss_ce'),
        ('{"step": 7, "loss": NaN}\n', 'loss = nan at step 7'),
        ('step 1\n', 'not JSON in each line'),
    ],
)
def test_a_log_that_tells_no_loss_is_refused(tmp_path, text, complaint):
    write_log(tmp_path, '1', text)
    with pytest.raises(InputError, match=complaint):
        read_curve(tmp_path, curve())
    with pytest.raises(InputError, match='nowhere'):
        read_curve(tmp_path, curve(file_glob='nowhere/*'))


def test_smoothing_takes_factors_alike_and_keeps_a_constant():
    assert smoothed(np.full(50, 3.0)) == pytest.approx(3.0)
    jumping = np.where(np.arange(400) % 2, 4.0, 1.0)
    assert smoothed(jumping)[100:300] == pytest.approx(2.0, abs=1e-3)  # the geometric mean
    assert smoothed(jumping - 1)[100:300] == pytest.approx(1.5, abs=1e-3)  # has zeros: the mean


def test_pictures_are_kept_whole_or_made_smaller_until_they_fit(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 1000, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / 'noise.png')
    Image.new('RGB', (1000, 300), 'blue').save(tmp_path / 'flat.png')
    paths = [tmp_path / 'noise.png', tmp_path / 'flat.png']
    whole = embed_pictures(paths)
    assert [(p.width, p.height) for p in whole] == [(1000, 300)] * 2
    assert whole[0].uri.startswith('data:image/jpeg') and whole[1].uri.startswith('data:image/png')
    half = sum(len(base64.b64decode(p.uri.partition(',')[2])) for p in whole) * 3 // 4
    small = embed_pictures(paths, half)
    contents = [base64.b64decode(p.uri.partition(',')[2]) for p in small]
    assert sum(map(len, contents)) <= half and small[0].width == small[1].width < 1000
    assert Image.open(io.BytesIO(contents[0])).size == (small[0].width, small[0].height)
    with pytest.raises(InputError, match='even at'):
        embed_pictures(paths, 100)
    (tmp_path / 'flat.png').write_text('no picture')
    for path, complaint in ((paths[1], 'no picture'), (tmp_path / 'nowhere.png', 'not a file')):
        with pytest.raises(InputError, match=complaint):
            embed_pictures([path])


def test_the_page_asks_for_nothing_from_outside_and_every_picture_has_a_caption(tmp_path):
    write_demo(tmp_path)
    text = page_of(tmp_path)
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ('src', 'href', 'xlink:href', 'srcset', 'action', 'data', 'poster'):
            assert re.match('(data:|#|$)', attributes.get(name) or ''), (tag, attributes)
    assert all(target.startswith('#') for target in re.findall(r'url\(([^)]*)\)', text)) and '@import' not in text
    pictures = [figure for figure in page.figures if figure['img']]
    assert len(pictures) == 1 and all(figure['figcaption'] == figure['img'] for figure in page.figures if figure['img'])
    assert sum(tag == 'img' for tag, _ in page.tags) == 1
    assert sum(tag == 'svg' for tag, _ in page.tags) == 2  # the column's dots and the panel of curves
    assert any("default-src 'none'" in (attributes.get('content') or '') for _, attributes in page.tags)


def test_the_page_says_what_it_is_first_and_then_the_numbers(tmp_path):
    write_demo(tmp_path)
    words = ' '.join(' '.join(Page(page_of(tmp_path)).words).split())
    order = [
        'a stand-in, not a foundation model (a test). Made up.',
        'The data are simulated. The numbers and pictures on this page prove that the machinery works',
        'the taught one beats the random one by 50.0 mIoU points',
        '87.5 ± 17.7 (2)',
        'Nothing but red.',
        'The timed steps together took 2.0 s',
        'not timed test it',
        'train more',
        'Seeds of the runs: 0, 1.',
        'torch 0.test',
    ]
    places = [words.find(part) for part in order]
    assert -1 not in places and places == sorted(places)


def test_a_method_that_was_not_run_is_told_so(tmp_path):
    write_demo(tmp_path, dict(random=[0.5], taught=[0.75], other=None))
    text = page_of(tmp_path)
    assert '<td class="missing">not run</td>' in text and 'Each number is of one run.' in text


def test_text_of_the_record_stays_text(tmp_path):
    bad = '<script>alert("$x$")</script>'
    content = write_demo(tmp_path)
    content['pictures'][0] |= dict(title=bad, caption=bad, command=bad)
    content['stages'][0] |= dict(title=bad, command=bad)
    content['columns'][0] |= dict(title=bad, note=bad, quantity=bad)
    content['methods'][1]['label'] = content['curves'][0]['panel'] = content['teacher']['text'] = bad
    write_json(tmp_path / 'demo.json', content)
    text = page_of(tmp_path)
    assert bad not in text and '<script>alert' not in text
    assert sum(tag == 'script' for tag, _ in Page(text).tags) == 1


def test_the_same_inputs_make_the_same_page(tmp_path):
    write_demo(tmp_path)
    assert page_of(tmp_path) == page_of(tmp_path)
