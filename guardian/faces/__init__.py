"""Floor 4: faces. How a person, systemd and D-Bus reach the use cases."""
