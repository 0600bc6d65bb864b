"""datatrove's DocumentTokenizer over Parquet files, documents shuffled in each file; prints the ids it wrote.

Runs in the peers' environment.
"""

import sys
import tempfile
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.tokens import DocumentTokenizer

if __name__ == "__main__":
    folder, tokenizer, mark, id_bytes, workers = sys.argv[1:]
    with tempfile.TemporaryDirectory() as output:
        LocalPipelineExecutor(
            pipeline=[
                ParquetReader(folder, text_key="text", id_key="id"),
                DocumentTokenizer(
                    f"{output}/ids",
                    tokenizer,
                    local_working_dir=f"{output}/work",
                    eos_token=mark,
                    seed=1,
                ),
            ],
            tasks=int(workers),
            workers=int(workers),
            logging_dir=f"{output}/logs",
        ).run()
        print(sum(file.stat().st_size for file in Path(output, "ids").rglob("*.ds")) // int(id_bytes))
