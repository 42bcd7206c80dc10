"""FaceGen, the application: the window, the command line, pictures and reports."""
