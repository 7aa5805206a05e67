"""Programs that tests run in containers and outside of hosts; they need the standard library only."""
