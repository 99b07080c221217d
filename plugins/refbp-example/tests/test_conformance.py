from refbp.testing.suite import *  # noqa: F403  # every check of refbp, on every case of this plugin
