"""What a training step costs beside open_clip's own: ``python -m train.bench``."""
