"""The whole story on a CPU, on made-up data: images teach a LiDAR network, which then needs fewer labels.

python tools/demo.py [--seed 0] [--teacher stand-in|dinov2|FILE] [--processes N] [--clean]

`make demo`, `make demo SEED=1`, `make demo TEACHER=dinov2` and `make demo CHECKPOINT=FILE` call it. It simulates a
nuScenes and a KITTI set, takes a teacher, pretrains three students, and transfers them and random weights to
segmentation and detection. Everything goes to work_dirs/demo, whose report.html tells what came out; another seed or
teacher has a folder of its own, such as work_dirs/demo_seed1. --clean removes what the demo made there.

The teacher is a stand-in by default: a small vision transformer trained on the masks of other simulated images. dinov2
is the real ViT-S from timm's hub, FILE its weights on disk. None of them is ever taken in another's place.

Each stage is a command that the report prints. A stage whose outputs are there and unchanged is skipped; one that was
stopped, even by a kill, goes on with the same command and ends with the same numbers. Several stages run at a time,
each on one thread, so that the numbers do not depend on how many processors there are.
"""

import os

# Before numpy and torch read them: no thread may run when a stage starts as a copy of this process.
os.environ.update(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1')

import argparse
import json
import shutil
from pathlib import Path

import cleverdistiller  # noqa: F401  (once, for every stage)
from _demo_plan import DemoPlan
from _packaged import clear_errors
from _stages import StageRunner, processes
from _transfer_runs import locked
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete


def run(plan: DemoPlan, processes: int) -> None:
    """Do what is not done, and write the report.

    Args:
        plan (DemoPlan): What to do.
        processes (int): Stages at a time.

    Raises:
        InputError: If a stage fails, or another process is at work in the folder.
    """
    os.environ['DEMO'] = str(plan.out)  # for the configs
    with locked(plan.out):
        runner = StageRunner(plan.out, processes)
        runner.run(plan.stages())
        told = plan.told({name: record['seconds'] for name, record in runner.records.items()})
        with replace_when_complete(plan.out / 'demo.json') as temporary:
            temporary.write_text(json.dumps(told, indent=2) + '\n')
        runner.run([plan.report()])


def clean(plan: DemoPlan) -> None:
    """Remove what the demo made, and its folder if nothing else lies there.

    Args:
        plan (DemoPlan): Of the demo.

    Raises:
        InputError: If the demo is at work there.
    """
    outputs = [path for stage in (*plan.stages(), plan.report()) for path in stage.outputs]
    made = {plan.out / path.relative_to(plan.out).parts[0] for path in outputs}
    with locked(plan.out):
        for path in made | {plan.out / name for name in ('stages', 'logs', 'demo.json')}:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        (plan.out / '.lock').unlink()
    left = sorted(path.name for path in plan.out.iterdir())
    if left:
        print(f'removed: what the demo made in {plan.out}; not its own, and left: {", ".join(left)}')
    else:
        plan.out.rmdir()
        print(f'removed: {plan.out}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--teacher', default='stand-in', help='stand-in, dinov2, or a file with its weights')
    parser.add_argument('--processes', type=int, default=processes(), help='stages at a time')
    parser.add_argument('--clean', action='store_true', help='remove what this demo made')
    args = parser.parse_args()
    with clear_errors():
        plan = DemoPlan(args.seed, args.teacher)
        if args.clean:
            clean(plan)
            return
        if plan.kind == 'file' and not Path(args.teacher).is_file():
            raise InputError(
                f'--teacher {args.teacher}, which is no file',
                'stand-in, dinov2, or a file with weights of DINOv2 ViT-S/14',
                'correct the path, or download the weights first',
            )
        run(plan, args.processes)
    print(f'{plan.out / "report.html"}: open it in a browser')


if __name__ == '__main__':
    main()
