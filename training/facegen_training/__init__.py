"""FaceGen, training: from a cohort of head CTs to one model file."""
