"""The commands of ``facegen-train``, one module each."""
