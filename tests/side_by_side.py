"""A test file in several processes at once: nearly all of its time is waiting for boards, by real clocks.

  sys.exit(side_by_side.run(PROGRAM))     # in the file's own main, when no test was named
"""
import concurrent.futures
import subprocess
import sys
import unittest

SKIPPED = 77


def names_in(tests):
    """`Class.test` of each, in unittest's order."""
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from names_in(test)
        else:
            yield test.id().split(".", 1)[1]


def run(program, processes=4, tests_each=None):
    """The file that was started, once more in each process with a share of its tests: a fourth, or `tests_each` where a
    start costs little, so that nobody waits for the slowest share. The exit code for all."""
    main = sys.modules["__main__"]
    names = list(names_in(unittest.defaultTestLoader.loadTestsFromModule(main)))
    # Neighbours are alike, also in time: dealt out like cards.
    count = min(len(names), -(-len(names) // tests_each) if tests_each else processes)
    shares = [names[n::count] for n in range(count)]

    def run_share(share):
        return subprocess.run([sys.executable, "-B", main.__file__, program, *share], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)

    codes = []
    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        for share, done in zip(shares, pool.map(run_share, shares)):
            print("== %s\n%s" % (" ".join(share), done.stdout), flush=True)
            all_ran = "Ran %d test" % len(share) in done.stdout
            codes.append(done.returncode if done.returncode != 0 or all_ran else 1)
    return SKIPPED if set(codes) == {SKIPPED} else int(any(codes))
