from .command import Parser as Parser
from .command import run_command as run_command
