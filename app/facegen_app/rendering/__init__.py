"""VTK: from meshes and volumes to pictures.  No Qt."""
