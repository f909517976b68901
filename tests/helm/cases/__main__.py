"""Runs all cases; the last line is their count."""

import sys
import unittest

from . import deploy, install, presets, refusals

suite = unittest.TestSuite()
for module in (presets, refusals, deploy, install):
    suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
result = unittest.TextTestRunner(stream=sys.stdout, verbosity=1).run(suite)
broke = len(result.failures) + len(result.errors)
print(f"{result.testsRun - broke} passed, {broke} failed")
sys.exit(0 if result.wasSuccessful() else 1)
