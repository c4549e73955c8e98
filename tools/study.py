"""A comparison study: methods x seeds x tasks under one protocol, a JSON file for each cell of its table.

python tools/study.py STUDY.yaml [--work-dir DIR] [--processes N | --gpus N | --sbatch 'OPTIONS' [--gpus N]]
                      [--only STAGE]

Each method is pretrained with each seed, then measured by each task (linear probing, few labels, detection, the rank
of its features). DIR (work_dirs/NAME) gets

    study.json                        what was planned
    cells/METHOD_TASK_seedN.json      the metrics of one cell, with the commands, configs' hashes, seed and versions
    pretrain/, TASK/, logs/, stages/  what the commands made

and tools/results.py DIR makes the tables and pictures of it, at any time. The same command again skips what is done and
goes on where a run was interrupted, even by a kill, with the same numbers.

On a CPU several stages run at a time, each on one thread, so that the numbers do not depend on the machine's
processors. --gpus N runs one at a time, each training on N GPUs through torchrun. --sbatch hands all that is left to
SLURM at once, each stage a job that waits for those that it reads from, and returns; OPTIONS go to sbatch. Say it again
when the jobs have ended, and only what failed is handed over again. --only is what such a job runs.

STUDY.yaml (configs/study has some): `name`, `title`, `seeds`; `methods`, each with `name`, `label` and the pretraining
`config` and `options` (or an exported `student`; neither: random weights), and the `paper`'s numbers; `tasks`, each
with `name`, `columns` and the `config` and `options` of a transfer (or `rank`: a pretraining config for
tools/rankme.py); `orders` of methods that the table shall judge. `before` holds commands that come first, by name,
`environment` variables for the configs; `_base_` names another YAML file to start from, as in configs. `{out}` stands
for DIR, `{seed}` for the seed.
"""

import os

# Before numpy and torch read them: no thread may run when a stage starts as a copy of this process.
os.environ.update(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1')

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.registry import init_default_scope

import cleverdistiller  # noqa: F401  (once, for every stage)
from _packaged import clear_errors
from _stages import ROOT, StageRunner, processes
from _study_plan import StudyPlan
from _transfer_runs import locked
from cleverdistiller.errors import InputError


def run(plan: StudyPlan, runner: StageRunner, only: str | None = None) -> None:
    """Do what is not done, and write the cells.

    Args:
        plan (StudyPlan): What to do.
        runner (StageRunner): How.
        only (str | None): The one stage to do.

    Raises:
        InputError: If a stage fails, or there is none of that name, or what it reads is not there.
    """
    stages = plan.stages
    if only is not None:
        left = {stage.name: stage for stage in runner.look(stages)}
        stages = [stage for stage in stages if stage.name == only]
        missing = [name for stage in stages for name in stage.after if name in left]
        if not stages or missing:
            raise InputError(
                f'--only {only}' + f', for which {", ".join(missing)} is missing' * bool(missing),
                'a stage of this study, after those that it reads from',
                f'see {plan.out / "stages"}',
            )
    runner.run(stages, done=lambda stage: plan.publish_cell(stage, runner))


def hand_over(plan: StudyPlan, runner: StageRunner, options: Sequence[str], gpus: int) -> dict[str, str]:
    """Give SLURM a job for each stage that is left.

    Args:
        plan (StudyPlan): What to do.
        runner (StageRunner): Knows what is done.
        options (Sequence[str]): For sbatch.
        gpus (int): Of each training.

    Returns:
        dict[str, str]: The job's number by stage.

    Raises:
        InputError: If sbatch is not there or refuses.
    """
    jobs: dict[str, str] = {}
    for stage in runner.look(plan.stages):
        log = plan.out / 'logs' / f'{stage.name}.slurm'
        log.parent.mkdir(parents=True, exist_ok=True)
        waits = [jobs[name] for name in stage.after if name in jobs]
        command = [sys.executable, str(ROOT / 'tools/study.py'), plan.path, '--work-dir', str(plan.out)]
        command += ['--only', stage.name, '--gpus', str(gpus)]
        sbatch = ['sbatch', '--parsable', f'--job-name={stage.name}', f'--output={log}', f'--chdir={Path.cwd()}']
        sbatch += [f'--dependency=afterok:{":".join(waits)}', '--kill-on-invalid-dep=yes'] if waits else []
        try:
            answer = subprocess.run(
                [*sbatch, *options, f'--wrap={shlex.join(command)}'], check=True, capture_output=True, text=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, 'stderr', None) or error
            raise InputError(f'sbatch for {stage.name}: {reason}', 'a job number', 'correct --sbatch') from error
        jobs[stage.name] = answer.stdout.strip().split(';')[0]
    return jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study')
    parser.add_argument('--work-dir', type=Path, metavar='DIR')
    parser.add_argument('--processes', type=int, default=processes(), help='stages at a time, on a CPU')
    parser.add_argument('--gpus', type=int, default=0, help='for each training')
    parser.add_argument('--sbatch', metavar='OPTIONS', help="such as '--partition=long --gpus=4 --time=24:00:00'")
    parser.add_argument('--only', metavar='STAGE', help='such as pretrain/scalr_seed0')
    args = parser.parse_args()
    with clear_errors():
        init_default_scope('mmdet3d')
        out = args.work_dir or Path('work_dirs') / Path(args.study).stem
        plan = StudyPlan(args.study, out)
        os.environ.update(plan.environment)  # for the configs
        runner = StageRunner(out, 1 if args.gpus else args.processes, args.gpus)
        if args.only is not None:
            with locked(out / 'locks' / args.only):
                run(plan, runner, args.only)
            return
        with locked(out):
            plan.publish(runner)
            if args.sbatch is not None:
                for name, job in hand_over(plan, runner, shlex.split(args.sbatch), args.gpus).items():
                    print(f'job {job}: {name}')
                return
            run(plan, runner)
    print(f'{len(plan.cells)} cells in {out / "cells"}; tables: python tools/results.py {shlex.quote(str(out))}')


if __name__ == '__main__':
    main()
