"""Files, times and memory of the process: what every room of streams needs of the operating system."""
