"""VTK: from meshes to pictures, on screen and on paper.  No Qt."""
