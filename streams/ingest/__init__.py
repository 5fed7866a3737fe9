"""Foreign data comes in: receivers, topic readers and pollers write raw records; a source's mapping makes events."""
