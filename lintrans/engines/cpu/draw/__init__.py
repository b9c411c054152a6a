"""Random draws inside compiled loops: normal, Gamma, sphere, and whole prompts."""
