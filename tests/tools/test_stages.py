"""tools/_stages.py with small scripts in place of the tools."""

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools'))

import _stages
from _stages import Stage, StageRunner
from cleverdistiller.errors import InputError

# Appends to a file what it was told, and copies its input.
COPY = """
import pathlib, sys
source, target, *_ = sys.argv[1:]
text = pathlib.Path(source).read_text()
if text == 'bad':
    raise ValueError('a bad input')
pathlib.Path(target).write_text(text.upper())
with open('calls', 'a') as calls:
    calls.write(target + '\\n')
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools/copy.py').write_text(COPY)
    (tmp_path / 'a').write_text('text')
    monkeypatch.setattr(_stages, 'ROOT', tmp_path)
    monkeypatch.setattr(_stages, 'LOOK_EVERY_S', 0.01)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copy(source: str, target: str, after=(), *arguments) -> Stage:
    command = shlex.join(('tools/copy.py', source, target, *arguments))
    reads = () if after else (Path(source),)
    return Stage(target, target, command, (Path(target),), 1, after, reads)


def chain() -> list[Stage]:
    return [copy('a', 'b'), copy('a', 'c'), copy('b', 'd', ('b',))]


def calls() -> list[str]:
    return sorted(Path('calls').read_text().split())


def run(stages) -> dict:
    runner = StageRunner(Path('out'), 2)
    runner.run(stages)
    return runner.records


def test_each_stage_runs_once_after_what_it_reads(place):
    records = run(chain())
    assert Path('d').read_text() == 'TEXT' and calls() == ['b', 'c', 'd']
    assert run(chain()) == records and calls() == ['b', 'c', 'd']


@pytest.mark.parametrize(
    'change, again',
    [
        (lambda: Path('d').unlink(), ['d']),
        (lambda: Path('c').write_text('other'), ['c']),
        (lambda: Path('a').write_text('other'), ['b', 'c', 'd']),
    ],
)
def test_what_is_gone_or_changed_is_done_again_with_what_follows(place, change, again):
    run(chain())
    change()
    Path('calls').unlink()
    run(chain())
    assert calls() == again


def test_another_command_or_config_is_another_stage(place):
    (place / 'configs').mkdir()
    (place / 'configs/a.py').write_text('value = 1')
    run([copy('a', 'b')])
    stages = [copy('a', 'b', (), 'configs/a.py')]
    run(stages)
    assert calls() == ['b', 'b']
    (place / 'configs/a.py').write_text('value = 2')
    run(stages)
    assert calls() == ['b', 'b', 'b']


def test_a_failure_names_the_log_and_keeps_the_rest(place):
    (place / 'e').write_text('bad')
    stages = [copy('a', 'b'), copy('e', 'f', ('b',)), copy('f', 'g', ('f',))]
    with pytest.raises(InputError, match=r'f, which .* status 1: ValueError: a bad input(.|\n)*out/logs/f\.log'):
        run(stages)
    assert calls() == ['b']
    (place / 'e').write_text('good')
    run(stages)
    assert calls() == ['b', 'f', 'g']


def test_a_command_that_leaves_nothing_has_failed(place):
    (place / 'tools/copy.py').write_text('print("nothing")')
    with pytest.raises(InputError, match='no b: nothing'):
        run([copy('a', 'b')])


# Trains three epochs of a second unless told to resume.
TRAIN = """
import pathlib, sys, time
work = pathlib.Path(sys.argv[1])
work.mkdir(exist_ok=True)
done = len(list(work.glob('*.pth'))) if '--resume' in sys.argv else 0
with open('calls', 'a') as calls:
    calls.write(f'from_{done}\\n')
for epoch in range(done, 3):
    (work / f'epoch_{epoch + 1}.pth').touch()
    print(f'Epoch(train) [{epoch + 1}][10/10]', flush=True)
    time.sleep(WAIT)
if done < 3:
    (work / 'results').write_text('3 epochs')
"""


def training(work: str = 'work') -> Stage:
    return Stage('train', 'train', f'tools/train.py {work}', (Path(work) / 'results',), 3, work_dir=Path(work))


def test_a_killed_training_goes_on_and_leaves_no_process(place):
    (place / 'tools/train.py').write_text(TRAIN.replace('WAIT', '0.5'))
    script = f"""
    import sys
    sys.path[:0] = [{str(Path(__file__).parent)!r}]
    import test_stages, _stages
    from pathlib import Path
    _stages.ROOT = Path()
    _stages._epochs = lambda stage: 3
    test_stages.run([test_stages.training()])
    """
    killed = subprocess.Popen([sys.executable, '-c', textwrap.dedent(script)], start_new_session=True)
    while not Path('work/epoch_1.pth').exists():
        assert killed.poll() is None
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    made = sorted(path.name for path in Path('work').iterdir())
    time.sleep(1)
    assert sorted(path.name for path in Path('work').iterdir()) == made and 'results' not in made
    assert calls() == ['from_0']


def test_nothing_left_to_resume_is_started_anew(place, monkeypatch):
    monkeypatch.setattr(_stages, '_epochs', lambda stage: 3)
    (place / 'tools/train.py').write_text(TRAIN.replace('WAIT', '0'))
    stage = training()
    run([stage])
    assert calls() == ['from_0']
    Path('work/results').unlink()  # as if the kill had come after the last checkpoint
    run([stage])
    assert calls() == ['from_0', 'from_0', 'from_3'] and Path('work/results').is_file()


def test_a_stopped_training_goes_on(place, monkeypatch):
    monkeypatch.setattr(_stages, '_epochs', lambda stage: 3)
    (place / 'tools/train.py').write_text(
        TRAIN.replace('WAIT', '0').replace('(done, 3)', '(done, 1)').replace('done < 3', 'done')
    )
    with pytest.raises(InputError, match='no work/results'):
        run([training()])
    (place / 'tools/train.py').write_text(TRAIN.replace('WAIT', '0'))
    run([training()])
    assert calls() == ['from_0', 'from_1'] and Path('work/results').is_file()


def test_a_training_with_other_settings_does_not_go_on_from_the_old_one(place, monkeypatch):
    monkeypatch.setattr(_stages, '_epochs', lambda stage: 3)
    (place / 'tools/train.py').write_text(TRAIN.replace('WAIT', '0'))
    run([training()])
    changed = training()
    run([Stage(**{**vars(changed), 'command': f'{changed.command} --seed=1'})])
    assert calls() == ['from_0', 'from_0']


def test_records_tell_how_long_and_what(place):
    run([copy('a', 'b')])
    record = json.loads(Path('out/stages/b.json').read_text())
    assert record['seconds'] >= 0 and list(record['outputs']) == ['b'] and len(record['fingerprint']) == 64
