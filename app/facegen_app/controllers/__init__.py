"""What happens on a wish: decides, starts jobs, changes the model."""
