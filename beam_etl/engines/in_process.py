"""Beam's runner in this process, which gives a worker no bundle without elements."""

from collections.abc import Mapping
from typing import Any

from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.utils import thread_pool_executor


class FnApiRunner(fn_runner.FnApiRunner):
    """As Beam's, which makes each stage as often as there are workers, for however few elements.

    Making one, with all its DoFns, takes some milliseconds; and most stages of a job have an element or none.
    """

    def _get_bundle_manager(self, bundle_context_manager: Any) -> Any:
        made = super()._get_bundle_manager(bundle_context_manager)
        if type(made) is not fn_runner.ParallelBundleManager:
            return made
        return _FewBundles(
            bundle_context_manager,
            self._progress_frequency,
            cache_token_generator=made._cache_token_generator,
        )


class _FewBundles(fn_runner.ParallelBundleManager):
    """Where all elements are in the first worker's share, the others get no bundle."""

    def process_bundle(self, inputs: Mapping[str, Any], *others: Any, **named: Any) -> Any:
        shares = {name: buffer.partition(self._num_workers) for name, buffer in inputs.items()}
        if any(any(share) for name in shares for share in shares[name][1:]):
            return super().process_bundle(inputs, *others, **named)
        first = {name: share[0] for name, share in shares.items()}
        alone = super(fn_runner.ParallelBundleManager, self).process_bundle
        with thread_pool_executor.shared_unbounded_instance() as workers:  # the caller waits for signals
            return workers.submit(alone, first, *others, **named).result()
