"""Fitting the template method: dense registration, shape and thickness, PCR or PLSR."""
