"""Tests, one folder per room. A helper has one name: ``from tests.train.tiny_packs import tiny_model``."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
