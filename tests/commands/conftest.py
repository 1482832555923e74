"""Running the program in this process."""

import pytest

from neid_tf.commands import main as program


@pytest.fixture
def neid(capfd):
    """Run ``neid`` in this process, with the flags as they were before: code, stdout, stderr."""
    from absl import flags

    def run(*arguments):
        capfd.readouterr()
        code = program.main(["neid", *map(str, arguments)])
        if flags.FLAGS.is_parsed():
            flags.FLAGS.unparse_flags()
            for name in list(flags.FLAGS):
                flags.FLAGS[name].unparse()
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run
