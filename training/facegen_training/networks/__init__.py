"""What is trained: each network and how it learns, one file each."""
