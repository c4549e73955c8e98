"""What a demo leaves behind, in the smallest form; every number is an obvious test value."""

import json
from pathlib import Path

from PIL import Image


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_demo(folder: Path, scores: dict[str, list[float] | None] | None = None, **changes) -> dict:
    """Write ``demo.json`` and all that it names.

    Args:
        folder (Path): For the files.
        scores (dict[str, list[float] | None] | None): Method to the score of each run; None for 0.25 and 0.5 against
            0.75 and 1.
        **changes: Keys of ``demo.json``.

    Returns:
        dict: The content of ``demo.json``.
    """
    scores = scores or dict(random=[0.25, 0.5], taught=[0.75, 1.0])
    methods = []
    for method, values in scores.items():
        files = None if values is None else [f'lp/{method}_seed{seed}.json' for seed in range(len(values))]
        for seed, (file, value) in enumerate(zip(files or (), values or ())):
            made_from = dict(seed=seed, simulated=True, versions=dict(torch='0.test'))
            write_json(folder / file, {'seg/miou': value, 'seg/iou/bus': None, 'made_from': made_from})
        methods.append(dict(name=method, label=f'the {method} one', results=dict(lp=files)))
    write_json(folder / 'teacher.json', {'accuracy': 0.5, 'made_from': {}})
    log = folder / 'train' / '20000101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n{"step": 3, "lo')
    Image.new('RGB', (40, 20), 'red').save(folder / 'picture.png')
    content = dict(
        seed=0,
        simulated=True,
        teacher=dict(kind='stand-in', name='a test', text='Made up.', numbers='teacher.json'),
        baseline='random',
        main='taught',
        columns=[dict(key='lp', title='probing', quantity='mIoU', metric='seg/miou', higher_is_better=True, unit='%')],
        methods=methods,
        curves=[dict(label='taught', file_glob='train/*/vis_data/scalars.json', keys=['loss'], panel='training')],
        pictures=[dict(file='picture.png', title='A red picture', caption='Nothing but red.')],
        stages=[
            dict(name='train', title='Train', command='train it', seconds=2),
            dict(name='test', title='Test', command='test it', seconds=None),
        ],
        next_steps=[dict(title='Go on', command='train more')],
    )
    content |= changes
    write_json(folder / 'demo.json', content)
    return content
