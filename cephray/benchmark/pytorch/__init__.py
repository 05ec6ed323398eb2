"""Programs for a Python that has PyTorch, which need not be cephray's own.

Each is started as a file. It imports nothing of cephray, and answers in JSON on stdout.
"""
