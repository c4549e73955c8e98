from cleverdistiller.models import (
    auxiliaries,
    data_preprocessors,
    distillers,
    heads,
    losses,
    students,
    teachers,
)

__all__ = ['auxiliaries', 'data_preprocessors', 'distillers', 'heads', 'losses', 'students', 'teachers']
