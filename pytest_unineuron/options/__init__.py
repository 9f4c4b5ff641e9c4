"""Options of the plugin: declared in ``settings``, read from the command line, environment and ini in ``sources``."""
