"""What users do to a container while guardian saves or resumes it: acts at steps, as data, and one runner."""
