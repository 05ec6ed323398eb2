from .address import address_told as address_told
from .connection import connected as connected
from .resources import cluster_nodes as cluster_nodes
from .resources import cpus_per_worker as cpus_per_worker
from .resources import describe_workers as describe_workers
from .resources import fits as fits
from .signals import StopRequest as StopRequest
from .signals import stop_signals as stop_signals
