"""FaceGen, the shared core: from a head CT to a face.  Knows no window and no training."""
