"""Tests of the readers of images, on images they make: with pycriu, without a host."""
