"""What people and programs read over HTTP: metrics, API, board."""
