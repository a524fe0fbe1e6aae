"""Writing TFLite graphs in integers."""
