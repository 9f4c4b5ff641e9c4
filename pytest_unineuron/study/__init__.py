"""Models and saved reports for notebooks and the command line, as tables. Nothing here knows pytest."""
