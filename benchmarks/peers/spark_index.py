"""Spark SQL with two cores: the postings of each word, by a regular expression and two group-bys, to Parquet.

spark_index.py SOURCE OUTPUT. Prints terms and postings.
"""

import sys

from pyspark.sql import SparkSession

QUERY = r"""
select term, sort_array(collect_list(struct(document, frequency))) as postings from (
    select term, document, count(*) as frequency from (
        select document, explode(regexp_extract_all(lower(text), '(?U)\\w+', 0)) as term from documents
    ) group by term, document
) group by term
"""

if __name__ == "__main__":
    source, output = sys.argv[1:]
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", "8g")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "8")
        .getOrCreate()
    )
    texts = spark.read.parquet(source).selectExpr("monotonically_increasing_id() as document", "text")
    texts.createOrReplaceTempView("documents")
    spark.sql(QUERY).write.mode("overwrite").option("compression", "zstd").parquet(f"{output}/index")
    index = spark.read.parquet(f"{output}/index").selectExpr("count(*)", "sum(size(postings))")
    print(*index.first())
    spark.stop()
