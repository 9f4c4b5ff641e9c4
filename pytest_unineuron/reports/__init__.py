"""The evidence of a run as text: terminal, Markdown, GitHub, JUnit and files."""
