from beam_etl.transforms.partition_index import PartitionIndex


def test_the_sample_of_a_large_index_has_more_partitions() -> None:
    terabyte = 1 << 40
    assert PartitionIndex(expected_bytes=0).sample_partitions == 8
    partitions = PartitionIndex(expected_bytes=terabyte * 15 // 100).sample_partitions
    assert terabyte * 3 // 1000 / partitions < 8 << 20
