from .film import augment as augment
