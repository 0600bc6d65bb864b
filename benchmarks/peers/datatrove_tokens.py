"""datatrove's TokensCounter over Parquet files; prints the sum of all tokens. Runs in the peers' environment."""

import json
import sys
import tempfile
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.tokens import TokensCounter

if __name__ == "__main__":
    folder, tokenizer, workers = sys.argv[1:]
    with tempfile.TemporaryDirectory() as logs:
        LocalPipelineExecutor(
            pipeline=[ParquetReader(folder, text_key="text", id_key="id"), TokensCounter(tokenizer)],
            tasks=int(workers),
            workers=int(workers),
            logging_dir=logs,
        ).run()
        stats = json.loads((Path(logs) / "stats.json").read_text())
    print(sum(step["stats"]["tokens"]["total"] for step in stats if "tokens" in step.get("stats", {})))
