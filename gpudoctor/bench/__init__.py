"""The smoke benchmark: a small convolutional net, written out by hand, that shows whether a device trains.

Nothing that `gpudoctor check` imports may import this package: it brings NumPy.
"""
