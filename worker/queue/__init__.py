"""The light half of the workers, which the doors may import: settings, broker, messages, processes.

Nothing here imports torch, monai, the pipeline or the rest of ``worker``.
"""
