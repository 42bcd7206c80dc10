"""People who never were: CT heads from a statistical model, with no patient in them."""
