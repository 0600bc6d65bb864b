"""Beam's options as jobs give them: views are made once and share what they hold, copies don't."""

import copy
import pickle

from apache_beam.options.pipeline_options import DebugOptions, DirectOptions, StandardOptions

from beam_etl.pipelines.runners import make_options


def test_views_share_what_they_hold_and_copies_do_not() -> None:
    options = make_options("direct", ["--direct_num_workers=3"])
    assert options.view_as(DirectOptions) is options.view_as(DirectOptions)
    options.view_as(DebugOptions).experiments = ["one"]
    other = copy.deepcopy(options)
    other.view_as(DebugOptions).experiments.append("two")
    other.view_as(StandardOptions).streaming = True
    assert options.view_as(DebugOptions).experiments == ["one"]
    assert not options.view_as(StandardOptions).streaming
    assert other.get_all_options()["streaming"]
    assert other.get_all_options()["direct_num_workers"] == 3


def test_options_travel_without_their_views() -> None:
    options = make_options("direct", [])
    options.view_as(DirectOptions).direct_num_workers = 5
    travelled = pickle.loads(pickle.dumps(options))  # noqa: S301
    assert travelled.view_as(DirectOptions).direct_num_workers == 5
