"""The worked case studies: each trains a real model and leaves a page that explains it; and what their models are used with."""

from ..bench.page import Page
from . import lecture
from .catalog import STUDIES
from .predictor import Predictor
from .rebuild import Rebuilt, rebuild
from .server import Server
from .study import Result, Settings, Study, save

__all__ = ["STUDIES", "Page", "Predictor", "Rebuilt", "Result", "Server", "Settings", "Study", "lecture", "rebuild", "save"]
