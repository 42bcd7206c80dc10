"""How good it is: every method scored on people left out, through the workstation's own path."""
