"""The report of a demo: ``report.html``, one file that opens without a network, and ``report.json``.

python tools/report.py OUT

Reads OUT/demo.json and the files it names, all relative to OUT, and writes OUT/report.html and OUT/report.json.
report.json has "numbers" (METHOD/COLUMN/mean, std, n, gain over the baseline, and runs, in the metric's own unit;
teacher/NAME), "made_from" and, apart, "seconds": two demos of one seed differ in "seconds" alone.

demo.json, as tools/demo.py writes it (a key marked * may be left out):

{
 "seed": 0, "simulated": true,
 "teacher": {"kind": "stand-in" | "dinov2" | "file", "name": "ViT, patch 14",
             "text": "A sentence or two: what it is and what it was trained on.",
             "numbers"*: "teacher/val_results.json" | null},
 "baseline": "random", "main": "cleverdistiller",          the summary compares main, then the others, with baseline
 "columns": [{"key": "lp", "title": "linear probing", "quantity": "mIoU", "metric": "seg/miou",
              "higher_is_better": true | false | null,     null: neither end is better; no bold, not in the summary
              "unit"*: "%" | "",                           "%": the metric is from 0 to 1
              "note"*: "a footnote"}],
 "methods": [{"name": "random", "label": "random weights",
              "results": {"lp": ["lp/random_seed0/test_results.json", ...]}}],     of each column; null: was not run
 "curves": [{"label": "scalr", "file_glob": "pretrain/scalr/*/vis_data/scalars.json", "keys": ["loss_distill"],
             "panel": "pretraining"}],                     label: a method's name, or free text
 "pictures": [{"file": "pictures/pairs.png", "title": "...", "caption": "what there is to see", "command"*: "..."}],
 "stages": [{"name": "pretrain/scalr", "title": "...", "command": "python tools/train.py ...", "seconds": 71.3 | null}],
 "next_steps": [{"title": "what it does", "command": "..."}]
}

A file that is named must be there, with its metric; only null stands for a method that was not run.
"""

import argparse
import json
from pathlib import Path

from _packaged import clear_errors
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.provenance import versions
from cleverdistiller.visualization.demo_report import (
    DemoRecord,
    demo_numbers,
    demo_page,
    read_results,
    summarise,
)


def write(path: Path, text: str) -> None:
    with replace_when_complete(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='OUT', help="the demo's folder, with demo.json in it")
    out = parser.parse_args().out
    with clear_errors():
        record = DemoRecord.read(out / 'demo.json')
        results = read_results(out, record)
        page = demo_page(out, record, results)
        made_from = dict(
            seed=record.seed,
            simulated=record.simulated,
            teacher=dict(kind=record.teacher.kind, name=record.teacher.name, text=record.teacher.text),
            baseline=record.baseline,
            metrics={column.key: column.metric for column in record.columns},
            commands={stage.name: stage.command for stage in record.stages},
            versions=versions(),
        )
        seconds = {stage.name: stage.seconds for stage in record.stages}
        told = dict(numbers=demo_numbers(record, results), made_from=made_from, seconds=seconds)
        write(out / 'report.html', page)
        write(out / 'report.json', json.dumps(told, indent=2, allow_nan=False) + '\n')
    for task, sentence in summarise(record, results).items():
        print(f'{task}: {sentence}')
    print(f'written to {out / "report.html"} and {out / "report.json"}')


if __name__ == '__main__':
    main()
