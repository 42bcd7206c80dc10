"""What the examiner sees: shows state, emits wishes."""
