"""Films: read, drawn, augmented, and fed to workers."""
