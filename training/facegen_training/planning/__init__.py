"""What training costs before it is run: operations, memory, hours, jobs."""
