from cleverdistiller.engine.hooks.export_student_hook import ExportStudentHook
from cleverdistiller.engine.hooks.export_teacher_hook import ExportTeacherHook
from cleverdistiller.engine.hooks.finite_loss_hook import FiniteLossHook
from cleverdistiller.engine.hooks.frozen_backbone_hook import FrozenBackboneHook
from cleverdistiller.engine.hooks.nothing_to_learn_hook import NothingToLearnHook
from cleverdistiller.engine.hooks.resumed_settings_hook import ResumedSettingsHook
from cleverdistiller.engine.hooks.safe_checkpoint_hook import SafeCheckpointHook
from cleverdistiller.engine.hooks.seed_hook import SeedHook
from cleverdistiller.engine.hooks.write_results_hook import WriteResultsHook

__all__ = [
    'ExportStudentHook',
    'ExportTeacherHook',
    'FiniteLossHook',
    'FrozenBackboneHook',
    'NothingToLearnHook',
    'ResumedSettingsHook',
    'SafeCheckpointHook',
    'SeedHook',
    'WriteResultsHook',
]
