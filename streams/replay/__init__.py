"""The past as if it had been watched: events, the engine under a virtual clock, readings to sinks."""
