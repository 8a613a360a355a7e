"""An agent that is to start, or to say why it does not, for tests."""

import os
import subprocess
import tempfile


class Starts:
    """Beside unittest.TestCase, which brings `programs` and the `password` that nobody is to see."""

    def agent(self, url, *flags, **environment):
        """Started until it is ready or has ended: (whether it got ready, what it said)"""
        with tempfile.TemporaryDirectory(prefix="assent-preflight-") as scratch:
            words = [os.path.join(self.programs, "assent-agent"), url, "--name", "east", "--listen",
                     "127.0.0.1:0", *flags]
            process = subprocess.Popen(words, cwd=scratch, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       encoding="utf-8", env=dict(os.environ, **environment))
            said = ""
            for line in process.stdout:
                said += line
                if "evt=daemon.ready" in line:
                    process.terminate()
            ready = process.wait(60) == 0
            process.stdout.close()
            self.assertNotIn(self.password, said)
            return ready, said
