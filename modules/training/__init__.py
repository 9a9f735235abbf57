"""What a training run is made of: trainer, folder, curves, progress."""
