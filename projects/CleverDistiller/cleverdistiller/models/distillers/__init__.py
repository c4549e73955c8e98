from cleverdistiller.models.distillers.clever_distiller import CleverDistiller
from cleverdistiller.models.distillers.contrastive_distiller import ContrastiveDistiller
from cleverdistiller.models.distillers.distiller import Distiller
from cleverdistiller.models.distillers.ppkt import PPKT
from cleverdistiller.models.distillers.slidr import SLidR

__all__ = ['PPKT', 'CleverDistiller', 'ContrastiveDistiller', 'Distiller', 'SLidR']
