from cleverdistiller.models.auxiliaries.another_teacher import AnotherTeacher
from cleverdistiller.models.auxiliaries.auxiliary import Auxiliary
from cleverdistiller.models.auxiliaries.block_matching import BlockMatching
from cleverdistiller.models.auxiliaries.class_token_matching import ClassTokenMatching
from cleverdistiller.models.auxiliaries.temporal_consistency import TemporalConsistency

__all__ = ['AnotherTeacher', 'Auxiliary', 'BlockMatching', 'ClassTokenMatching', 'TemporalConsistency']
