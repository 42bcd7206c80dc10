"""The mean head: averages over many prepared people, and the landmarks on it."""
