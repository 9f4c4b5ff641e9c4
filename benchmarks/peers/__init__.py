"""The same work by other libraries, each in an environment of its own. Nothing here but ``ours`` needs the plugin."""
