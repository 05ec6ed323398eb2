from .data import read_film as read_film
from .evaluation import evaluate as evaluate
from .ops import roi_crop as roi_crop
from .prediction import load as load
from .training import train as train

__version__: str
