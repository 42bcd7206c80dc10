"""How it is trained: settings, augmentation, the loop, checkpoints."""
