"""Packs as a stream of optimiser steps: loading, prefetching, held-out documents."""
