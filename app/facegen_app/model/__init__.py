"""What the application knows; no widget, no VTK."""
