from cleverdistiller.models.distillers.clever_distiller import CleverDistiller
from cleverdistiller.models.distillers.distiller import Distiller

__all__ = ['CleverDistiller', 'Distiller']
