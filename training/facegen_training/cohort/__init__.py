"""The people: who they are, where they come from, how their scans are prepared."""
