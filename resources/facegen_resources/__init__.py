"""Data files that ship with FaceGen: models, atlas, tables, icons.  No code."""
